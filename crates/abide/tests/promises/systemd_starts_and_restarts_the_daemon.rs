//! With the unit installed, systemd starts and restarts the daemon, which tells it when it serves. Another program stands
//! for `systemctl` and `loginctl` here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use abide_drive::Key;

use crate::harness::{ABIDE, Place, SOON};

/// Notes what it is asked, and starts the daemon as the unit does. A restart waits for the end of the one before.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$(basename "$0") $*" >> "$HOME/asked"
[ -e "$HOME/refuses" ] && exit 1
export NOTIFY_SOCKET="$HOME/notify"
case "$*" in
*" start "*) "$ABIDE" up --foreground > /dev/null 2>&1 &
    [ ! -S "$HOME/notify" ] || read line < "$HOME/ready" ;;
*" restart "*)
    old=$(sed 's/.*"pid":\([0-9]*\).*/\1/' "$XDG_STATE_HOME/abide/run/daemon.lock")
    { while kill -0 "$old"; do sleep 0.01; done; exec "$ABIDE" up --foreground; } > /dev/null 2>&1 & ;;
esac
exit 0
"#;

/// A user whose systemd is that program.
struct User {
    place: Place,
    home: PathBuf,
}

impl User {
    fn new() -> Self {
        let place = Place::new();
        let home = place.work().parent().unwrap().to_owned();
        let bin = home.join("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["systemctl", "loginctl"] {
            fs::write(bin.join(name), SYSTEMCTL).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        rustix::fs::mknodat(
            rustix::fs::CWD,
            home.join("ready"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Self { place: place.with("PATH", &path).with("ABIDE", ABIDE), home }
    }

    /// What systemd was asked since the last look.
    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.home.join("asked")).unwrap_or_default();
        let _ = fs::remove_file(self.home.join("asked"));
        asked.lines().map(str::to_owned).collect()
    }

    /// Listens where the daemon says that it serves; each word is passed on to the `systemctl` that waits for it.
    fn manager(&self) -> std::thread::JoinHandle<Vec<u8>> {
        let socket = UnixDatagram::bind(self.home.join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let ready = self.home.join("ready");
        std::thread::spawn(move || {
            let mut word = vec![0; 64];
            let length = socket.recv(&mut word).unwrap();
            word.truncate(length);
            fs::write(ready, "ready\n").unwrap();
            word
        })
    }
}

#[test]
fn the_unit_is_installed_and_starts_what_commands_need() {
    let user = User::new();
    let unit = user.home.join("config/systemd/user/abide.service");
    let installed = user.place.ok(&["service", "install"]);
    assert!(installed.starts_with(&format!("installed {}\n", unit.display())), "{installed}");
    let expected =
        ["systemctl --user daemon-reload", "systemctl --user enable abide.service", "loginctl enable-linger"];
    assert_eq!(user.asked(), expected);
    let text = fs::read_to_string(&unit).unwrap();
    assert!(
        text.contains(&format!("ExecStart={ABIDE} up --foreground\n")) && text.contains("KillMode=process\n"),
        "{text}"
    );

    let manager = user.manager();
    user.place.session("s", "echo notify: $NOTIFY_SOCKET.; exec cat");
    assert_eq!(manager.join().unwrap(), b"READY=1");
    assert_eq!(user.asked(), ["systemctl --user start abide.service"]);
    user.place.wait_printed("s", "no socket of the manager", |text| text.contains("notify: .").then_some(()));
    assert_eq!(user.place.daemons().len(), 1);
    user.place.ok(&["ls"]);
    assert_eq!(user.asked(), Vec::<String>::new(), "it runs");
}

#[test]
fn a_restart_is_the_managers_and_programs_live_on() {
    let user = User::new();
    user.place.ok(&["service", "install", "--quiet", "--no-linger"]);
    assert!(!user.asked().iter().any(|asked| asked.contains("linger")));
    let manager = user.manager();
    let mut window = user.place.abide_window(&["run", "--name", "s", "--", "cat"]);
    window.type_text("one\r").unwrap();
    window.wait_for("one\none", SOON).unwrap();
    manager.join().unwrap();
    let (before, daemon) = (user.place.record("s"), user.place.daemon().unwrap());
    user.asked();

    // Another program is the unit's business, and a failed check leaves everything as it is.
    let refused = user.place.run(&["restart", "--binary", "/bin/false"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("(UPGRADE_FAILED)"), "{refused:?}");
    fs::write(user.home.join("refuses"), "").unwrap();
    let refused = user.place.run(&["restart"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("systemctl ended with"), "{refused:?}");
    fs::remove_file(user.home.join("refuses")).unwrap();
    assert_eq!((user.place.daemon(), user.asked().len()), (Some(daemon), 1));

    fs::remove_file(user.home.join("notify")).unwrap();
    user.place.ok(&["restart"]);
    assert_eq!(user.asked().first().map(String::as_str), Some("systemctl --user --no-block restart abide.service"));
    let after = user.place.record("s");
    assert_eq!((after.pid, after.owner), (before.pid, before.owner));
    assert_ne!(user.place.daemon(), Some(daemon));
    window.type_text("two\r").unwrap();
    window.wait_for("two\ntwo", SOON).unwrap();
    window.key(Key::Control(b'\\')).unwrap();
    window.wait_for("detached from s", SOON).unwrap();
}

#[test]
fn without_a_manager_that_works_the_daemon_is_started_all_the_same() {
    let user = User::new();
    fs::write(user.home.join("refuses"), "").unwrap();
    let failed = user.place.run(&["service", "install"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("the unit is written"), "{failed:?}");
    user.asked();
    assert_eq!(user.place.ok(&["run", "-d", "--name", "s", "--", "cat"]), "s\n");
    assert_eq!(user.asked(), ["systemctl --user start abide.service"]);
    assert_eq!(user.place.record("s").state, abide_terminal::State::Running);
}

#[test]
fn a_daemon_that_is_started_within_another_service_is_none_itself() {
    let place = Place::new();
    let mut run = place.command(["run", "-d", "--name", "s", "--", "cat"]);
    assert!(run.env("NOTIFY_SOCKET", place.work().join("anothers")).status().unwrap().success());
    let daemon = place.daemon();
    place.ok(&["restart"]);
    assert!(place.daemon().is_some() && place.daemon() != daemon);
}
