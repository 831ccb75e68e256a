//! The command `abide hold` as a program of its own: what tests of this crate launch.

fn main() -> std::process::ExitCode {
    abide_holder::hold_from_fd_3()
}
