//! Codes that commands end with: programs that cannot be started, directories, stores and daemons that do not serve.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Instant;

use abide_terminal::protocol::{Inspect, Shutdown, ShutdownMode};
use abide_wire::Code;
use rustix::process::Signal;
use tokio::time::timeout;

use super::Met;
use crate::harness::{Peer, Place, SOON, ends_within, hello, kill, signal};

pub(super) fn meet(met: &mut Met) {
    starts(met);
    directories(met);
    daemons(met);
    unknown_outcome(met);
    full_store(met);
    damaged_store(met);
}

fn starts(met: &mut Met) {
    let place = Place::new();
    let work = place.work();
    for (name, mode) in [("plain", 0o644), ("nonsense", 0o755)] {
        fs::write(work.join(name), "\u{1}\u{2}\u{3}").unwrap();
        fs::set_permissions(work.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("loop", work.join("loop")).unwrap();
    met.by_command(Code::CwdMissing, &place, &["run", "-d", "--cwd", "missing", "--", "true"]);
    met.by_command(Code::CwdNotDirectory, &place, &["run", "-d", "--cwd", "plain", "--", "true"]);
    met.by_command(Code::SpawnFailed, &place, &["run", "-d", "--cwd", "loop", "--", "true"]);
    met.by_command(Code::CommandNotFound, &place, &["run", "-d", "--", "no-such-command"]);
    met.by_command(Code::PermissionDenied, &place, &["run", "-d", "--", "./plain"]);
    met.by_command(Code::ExecFormat, &place, &["run", "-d", "--", "./nonsense"]);
    // EAGAIN: no process left.
    let place = Place::new().with("ABIDE_TERMINAL_SHELL", "/nothing/there").with("ABIDE_TEST_HOLDER", "fork=11");
    met.by_command(Code::ShellNotFound, &place, &["run", "-d"]);
    met.by_command(Code::ResourceExhausted, &place, &["run", "-d", "--", "true"]);
}

fn directories(met: &mut Met) {
    let place = Place::new();
    met.by_command(Code::DaemonUnreachable, &place, &["ls", "--no-start"]);
    fs::create_dir_all(place.state()).unwrap();
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o777)).unwrap();
    met.by_command(Code::UidForbidden, &place, &["up", "--foreground"]);

    let place = Place::new();
    place.start_daemon();
    place.kill_daemon();
    fs::write(place.state().join("journal/store"), "no store").unwrap();
    met.by_command(Code::JournalFailed, &place, &["up", "--foreground"]);
}

fn daemons(met: &mut Met) {
    let place = Place::new();
    place.session("s", "exec sleep 1000");
    met.by_command(Code::UpgradeFailed, &place, &["restart", "--binary", "/bin/false"]);
    place.kill_daemon();
    let (old, _old_output) = place.daemon_in_foreground();
    signal(old.id(), Signal::STOP);
    fs::remove_file(place.lock()).unwrap();
    fs::remove_file(place.state().join("journal/lock")).unwrap();
    let (_new, _new_output) = place.daemon_in_foreground();
    signal(old.id(), Signal::CONT);
    assert!(ends_within(old.id(), SOON), "the old one ends");
    let log = old.wait_with_output().unwrap().stderr;
    let said = String::from_utf8_lossy(&log).contains("STALE_DAEMON").then_some("STALE_DAEMON");
    met.by(Code::StaleDaemon, &serde_json::json!({ "code": said }));
}

/// A request that must not be repeated, whose connection is lost before its answer.
fn unknown_outcome(met: &mut Met) {
    let place = Place::new();
    place.session("s", "exec cat");
    let daemon = place.daemon().expect("a daemon runs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let mut client = place.client("asker");
        client.call(Inspect { session: "s".parse().unwrap(), env: false }).await.unwrap();
        signal(daemon, Signal::STOP);
        // The first look at the call sends it; then its answer can only be lost.
        let shutdown = client.call(Shutdown { mode: ShutdownMode::Keep, restart: None });
        let (outcome, ()) = tokio::join!(timeout(SOON, shutdown), async { kill(daemon) });
        outcome.expect("it is answered")
    });
    met.by(Code::OutcomeUnknown, &serde_json::to_value(outcome.unwrap_err()).unwrap());
}

const MIB: u64 = 1 << 20;

fn full_store(met: &mut Met) {
    let place = Place::new()
        .with("ABIDE_JOURNAL_SEGMENT_BYTES", &MIB.to_string())
        .with("ABIDE_JOURNAL_RECORD_BYTES_MAX", &(MIB / 2).to_string())
        .with("ABIDE_JOURNAL_APPEND_BYTES_MAX", &(MIB / 2).to_string())
        .with("ABIDE_JOURNAL_CHECKPOINT_INLINE_BYTES_MAX", "65536")
        .with("ABIDE_JOURNAL_BYTES_MAX", &(8 * MIB).to_string());
    place.session("flood", "seq 0 9999999");
    let mut peer = Peer::greeted(&place, &hello("ada", "control"));
    let deadline = Instant::now() + SOON;
    for number in 0.. {
        // One that is accepted just before there is no room left is never answered: the next one is refused.
        let create = r#"{"type":"create","command":"true","cols":80,"rows":24,"id":"#;
        peer.say(&format!("{create}\"{number}\"}}"));
        peer.say(r#"{"type":"inspect","id":"sync","session":"flood"}"#);
        let mut refused = None;
        loop {
            let answer = peer.answer().expect("an answer comes");
            refused = (answer["type"] == "error").then(|| answer.clone()).or(refused);
            if answer["id"] == "sync" {
                break;
            }
        }
        if let Some(refused) = refused {
            return met.by(Code::JournalFull, &refused);
        }
        assert!(Instant::now() < deadline, "the store is never full");
    }
}

fn damaged_store(met: &mut Met) {
    let place = Place::new().with("ABIDE_JOURNAL_TAIL_CACHE_BYTES", "0");
    // What it is called with is in the store too, in other words.
    place.session("s", "seq 0 99999; printf '%s-it-is' here; seq 0 99999; echo end; exec cat");
    place.wait_printed("s", "its end", |printed| printed.contains("end").then_some(()));
    let segments = fs::read_dir(place.state().join("journal/segments")).unwrap();
    let mut damaged = 0;
    for segment in segments.map(|segment| segment.unwrap().path()) {
        let mut bytes = fs::read(&segment).unwrap();
        let mark = b"here-it-is";
        if let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
            bytes[at] ^= 1;
            let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at..=at], at as u64).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "what was printed is in the store as it is");
    let mut peer = Peer::greeted(&place, &hello("bob", "stream"));
    peer.say(r#"{"type":"attach","id":"1","session":"s","on_lag":"follow","from":{"offset":0},"mode":"observer"}"#);
    loop {
        let message = peer.answer().expect("the stream goes on");
        if message["type"] == "detached" {
            return met.by(Code::JournalCorrupt, &message);
        }
    }
}
