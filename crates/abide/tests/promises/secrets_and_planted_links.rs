//! A secret of an environment or of what is typed lies in no file unless a restore needs it; and a link that somebody
//! planted is refused or replaced, never followed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use abide_terminal::ExitKind;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Place, SOON};

/// The files below a directory that hold these bytes.
fn holding(directory: &Path, secret: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&path, secret));
        } else if kind.is_file() && fs::read(&path).unwrap().windows(secret.len()).any(|window| window == secret) {
            found.push(path);
        }
    }
    found
}

/// A session with a secret in its environment, into which another one is typed without echo.
fn with_secrets(place: &Place, restore: &str) {
    let script = "stty -echo; echo ready; read -r typed; [ -n \"$TOKEN\" ] && [ -n \"$typed\" ] && exit 7";
    let run = ["run", "-d", "--name", "s", "--restore", restore, "--env", "TOKEN=in-the-environment-4711"];
    place.ok(&[&run[..], &["--", "sh", "-c", script]].concat());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = place.stream("typist", "s", Mode::Owner, BEGINNING);
        loop {
            match timeout(SOON, stream.next()).await.expect("the stream goes on") {
                Ok(StreamEvent::Output { .. }) => assert!(stream.write(b"typed-in-secret-4712\n") <= 21),
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => break,
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
    });
    assert_eq!(place.wait_end("s").exit.map(|exit| exit.kind), Some(ExitKind::Code(7)), "it had both secrets");
    place.ok(&["stop"]);
}

#[test]
fn a_secret_lies_in_no_file_unless_a_restore_needs_it() {
    let (environment, typed) = (b"in-the-environment-4711", b"typed-in-secret-4712");
    let place = Place::new().with("ABIDE_LOG", "trace");
    with_secrets(&place, "never");
    assert_eq!(holding(&place.state(), environment), [] as [PathBuf; 0]);
    assert_eq!(holding(&place.state(), typed), [] as [PathBuf; 0]);

    let place = Place::new().with("ABIDE_LOG", "trace");
    with_secrets(&place, "command");
    let stored = holding(&place.state(), environment);
    assert!(!stored.is_empty(), "what a restore needs is stored");
    assert!(stored.iter().all(|file| file.starts_with(place.state().join("journal"))), "{stored:?}");
    assert_eq!(holding(&place.state(), typed), [] as [PathBuf; 0]);
    println!("2 secrets looked for, {} files hold what a restore needs", stored.len());
}

/// `abide up` does not serve, and says why.
fn refused(place: &Place) {
    let output = place.run(&["up", "--foreground"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("UID_FORBIDDEN") || errors.contains("chmod") || errors.contains("link"), "{errors}");
}

#[test]
fn a_directory_that_is_open_to_others_or_a_link_is_refused() {
    let parent = |place: &Place| place.state().parent().unwrap().to_path_buf();
    let mode = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mut cases = 0;
    let mut case = |spoil: &dyn Fn(&Place)| {
        let place = Place::new();
        place.start_daemon();
        place.ok(&["stop"]);
        spoil(&place);
        refused(&place);
        cases += 1;
    };
    case(&|place| mode(place.state(), 0o755));
    case(&|place| mode(place.state().join("run"), 0o777));
    case(&|place| {
        fs::rename(place.state(), parent(place).join("elsewhere")).unwrap();
        symlink(parent(place).join("elsewhere"), place.state()).unwrap();
    });
    case(&|place| {
        fs::rename(place.state().join("run"), parent(place).join("elsewhere")).unwrap();
        symlink(parent(place).join("elsewhere"), place.state().join("run")).unwrap();
    });
    println!("{cases} directories refused");
}

#[test]
fn a_planted_link_is_never_followed() {
    let place = Place::new();
    let victim = place.work().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let go = place.work().join("go");
    place.session("s", &format!("while [ ! -e {} ]; do sleep 0.02; done; exit 7", go.display()));
    let id = place.record("s").id;
    place.kill_daemon();
    // In the place of the socket, and of the exit record.
    fs::remove_file(place.socket()).unwrap();
    symlink(&victim, place.socket()).unwrap();
    symlink(&victim, place.state().join(format!("holders/{id}.1.exit"))).unwrap();
    let up = place.run(&["up"]);
    if !up.status.success() {
        assert!(place.log().contains("terminal.sock"), "it says what is in its way: {}", place.log());
        fs::remove_file(place.socket()).unwrap();
        place.start_daemon();
    }
    fs::write(&go, "").unwrap();
    assert_eq!(place.wait_end("s").exit.map(|exit| exit.kind), Some(ExitKind::Code(7)));
    place.wait_without_holders();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(fs::metadata(&victim).unwrap().is_file());
}
