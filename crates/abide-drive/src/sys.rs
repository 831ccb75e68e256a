#![expect(unsafe_code, reason = "a child has to take its terminal between fork and exec")]
//! The pseudo-terminal and the child on it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use abide_screen::Size;

/// Opens a pseudo-terminal of `size` and starts `command` as the leader of a session on it. Returns the master, which
/// does not block.
pub(crate) fn spawn(mut command: Command, size: Size) -> io::Result<(OwnedFd, Child)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    set_size(&master, size)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?)).stderr(Stdio::from(slave));
    // SAFETY: the closure makes system calls alone (`signal` is async-signal-safe), allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| {
            // What this program was told to ignore (nohup, a shell's background) a program in a window does not.
            for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE, libc::SIGTSTP] {
                libc::signal(number, libc::SIG_DFL);
            }
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
    let child = command.spawn()?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, child))
}

/// Gives the terminal another size; the program gets SIGWINCH if it is another one.
pub(crate) fn set_size(master: &OwnedFd, size: Size) -> io::Result<()> {
    let size = Winsize { ws_col: size.cols, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}
