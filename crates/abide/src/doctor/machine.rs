//! The machine: room on the disk, limits, and what ends processes at logout.

use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;

/// Descriptors that a daemon with a thousand sessions needs: a socket, a ring and two events for each, and connections.
const DESCRIPTORS_WANTED: u64 = 8_192;
/// Of all terminals of the system, one in so many should be free.
const TERMINALS_FREE_SHARE: u64 = 10;

/// Room on the disk of the journal, in bytes: what is free, and what the journal leaves alone.
pub(crate) fn disk(free: u64, total: u64, reserve: u64) -> Finding {
    // The journal's own rule: the reserve, but no more than a fiftieth of the disk.
    let reserve = reserve.min(total / 50);
    let message = format!("{} of {} free", bytes(free), bytes(total));
    if free <= reserve {
        Finding::error("disk", format!("{message}: the journal is full, and programs wait")).mended_by("make room")
    } else if free <= reserve.saturating_mul(4) {
        Finding::warning("disk", format!("{message}: the journal is full at {}", bytes(reserve))).mended_by("make room")
    } else {
        Finding::ok("disk", message)
    }
}

/// Descriptors that a process may have. A daemon raises its own limit to the hard one.
pub(crate) fn descriptors(hard: Option<u64>) -> Finding {
    match hard {
        Some(hard) if hard < DESCRIPTORS_WANTED => {
            Finding::warning("descriptors", format!("at most {hard}: enough for about {} sessions", hard / 8))
                .mended_by("raise the hard limit of open files, or use abide service install")
        }
        Some(hard) => Finding::ok("descriptors", format!("at most {hard}")),
        None => Finding::ok("descriptors", "without limit"),
    }
}

/// Pseudo-terminals of the whole system, by `sys/kernel/pty` of `proc`.
pub(crate) fn terminals(proc: &Path) -> Option<Finding> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(proc.join("sys/kernel/pty").join(name)).ok()?.trim().parse().ok()
    };
    let (used, most) = (number("nr")?, number("max")?);
    let message = format!("{used} of {most} in use");
    Some(if most.saturating_sub(used) < most / TERMINALS_FREE_SHARE {
        Finding::warning("terminals", message).mended_by("sudo sysctl kernel.pty.max=65536")
    } else {
        Finding::ok("terminals", message)
    })
}

/// Whether the last logout ends what the user's service manager has started. `root` is `/`.
pub(crate) fn linger(root: &Path, user: &str, has_unit: bool) -> Finding {
    let check = "linger";
    if !is_systemd(root) {
        return Finding::ok(check, "no systemd: a logout ends nothing");
    }
    match (root.join("var/lib/systemd/linger").join(user).exists(), has_unit) {
        (true, _) => Finding::ok(check, "on: the last logout ends nothing"),
        (false, true) => Finding::warning(check, "off: the last logout ends the daemon and all sessions")
            .mended_by("loginctl enable-linger"),
        (false, false) => Finding::ok(check, "off, and the daemon is no service"),
    }
}

/// Whether a logout ends all processes of its login, by the configuration of logind below `root`.
pub(crate) fn kill_user_processes(root: &Path) -> Finding {
    let check = "KillUserProcesses";
    let kills =
        logind_files(root).iter().filter_map(|file| fs::read_to_string(file).ok()).fold(None, |before, text| {
            let said = text.lines().filter_map(|line| line.trim().strip_prefix("KillUserProcesses=")).next_back();
            said.map(str::trim).map(is_yes).or(before)
        });
    match kills {
        Some(true) => Finding::warning(check, "a logout ends the daemon and all sessions that it started")
            .mended_by("abide service install"),
        Some(false) | None => Finding::ok(check, "off: a logout leaves processes alone"),
    }
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1")
}

/// In the order in which they are read: the main file, then those beside it by name, wherever they are.
fn logind_files(root: &Path) -> Vec<PathBuf> {
    let places = ["usr/lib/systemd", "run/systemd", "etc/systemd"];
    let main = places.iter().map(|place| root.join(place).join("logind.conf")).rfind(|path| path.exists());
    let mut beside: Vec<PathBuf> = places
        .iter()
        .flat_map(|place| fs::read_dir(root.join(place).join("logind.conf.d")).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    beside.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    main.into_iter().chain(beside).collect()
}

/// What groups of processes the kernel offers.
pub(crate) fn cgroup(root: &Path) -> Finding {
    let message = if root.join("sys/fs/cgroup/cgroup.controllers").exists() {
        "version 2"
    } else if root.join("sys/fs/cgroup").is_dir() {
        "version 1: a kill goes by the process table alone"
    } else {
        "none: a kill goes by the process table alone"
    };
    Finding::ok("cgroup", message)
}

fn is_systemd(root: &Path) -> bool {
    root.join("run/systemd/system").is_dir()
}

/// In the largest unit of which there is one.
fn bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1_u64 << 10, "KiB")];
    units.iter().find(|(size, _)| bytes >= *size).map_or_else(
        || format!("{bytes} B"),
        |(size, name)| format!("{}.{} {name}", bytes / size, bytes % size * 10 / size),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_disk_is_full_where_the_journal_says_so() {
        let of = |free| disk(free, 100 << 30, 256 * MIB).level;
        assert_eq!([of(50 << 30), of(1_024 * MIB), of(256 * MIB)], [Level::Ok, Level::Warning, Level::Error]);
        assert_eq!(disk(100 * MIB, 1 << 30, 256 * MIB).level, Level::Ok, "a fiftieth of a small disk");
        let warning = disk(1_024 * MIB, 100 << 30, 256 * MIB);
        assert_eq!(warning.message, "1.0 GiB of 100.0 GiB free: the journal is full at 256.0 MiB");
    }

    #[test]
    fn few_descriptors_are_named() {
        assert_eq!(descriptors(Some(1_024)).message, "at most 1024: enough for about 128 sessions");
        assert_eq!((descriptors(Some(65_536)).level, descriptors(None).level), (Level::Ok, Level::Ok));
    }

    /// A machine made of files.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("abide-doctor-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_a_logout_ends_is_named() {
        let bare = Machine::new("bare", &[]);
        assert_eq!(linger(&bare.0, "ada", true).level, Level::Ok);
        assert_eq!(kill_user_processes(&bare.0).level, Level::Ok);

        let machine = Machine::new(
            "systemd",
            &[
                ("run/systemd/system/x", ""),
                ("var/lib/systemd/linger/ada", ""),
                ("usr/lib/systemd/logind.conf", "[Login]\nKillUserProcesses=no\n"),
                ("etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=yes\n"),
                ("etc/systemd/logind.conf.d/50-kill.conf", "[Login]\nKillUserProcesses=yes\n"),
                ("run/systemd/logind.conf.d/20-keep.conf", "[Login]\nKillUserProcesses=no\n"),
                ("etc/systemd/logind.conf.d/99-other.conf~", "[Login]\nKillUserProcesses=no\n"),
            ],
        );
        assert_eq!(linger(&machine.0, "ada", true).level, Level::Ok);
        assert_eq!(linger(&machine.0, "bob", true).level, Level::Warning);
        assert_eq!(linger(&machine.0, "bob", false).level, Level::Ok, "no service that a logout could end");
        assert_eq!(kill_user_processes(&machine.0).level, Level::Warning, "the last one by name");
        fs::write(machine.0.join("etc/systemd/logind.conf.d/60-keep.conf"), "KillUserProcesses=0\n").unwrap();
        assert_eq!(kill_user_processes(&machine.0).level, Level::Ok);
    }

    #[test]
    fn terminals_that_run_out_and_groups_are_named() {
        let machine = Machine::new("pty", &[("sys/kernel/pty/nr", "4000\n"), ("sys/kernel/pty/max", "4096\n")]);
        assert_eq!(terminals(&machine.0).map(|finding| finding.level), Some(Level::Warning));
        fs::write(machine.0.join("sys/kernel/pty/nr"), "12\n").unwrap();
        assert_eq!(terminals(&machine.0).map(|finding| finding.message), Some("12 of 4096 in use".to_owned()));
        assert_eq!(terminals(&machine.0.join("nowhere")), None);
        assert!(cgroup(&machine.0).message.starts_with("none"));
        let groups = Machine::new("cgroup", &[("sys/fs/cgroup/cgroup.controllers", "")]);
        assert_eq!(cgroup(&groups.0).message, "version 2");
    }
}
