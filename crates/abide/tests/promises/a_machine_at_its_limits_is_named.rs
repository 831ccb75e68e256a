//! What the machine has no more of is named, costs nobody else anything, and is used again when it is there again; and
//! whatever many sessions took is given back.

use std::fs;
use std::path::Path;
use std::process::Command;

use abide_terminal::client::{Client, StreamEnd, StreamEvent};
use abide_terminal::protocol::{Create, Kill, Mode, Remove, SessionRef};
use abide_terminal::{Record, State};
use abide_wire::Code;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

use crate::harness::{ABIDE, BEGINNING, Place, SOON, ends_within, is_alive, size};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// Asks for a session that waits for its end; its record, or the code of the refusal.
async fn create(client: &mut Client) -> Result<Record, Code> {
    let create = Create { command: Some("sleep".into()), args: vec!["1000".into()], ..Create::new(80, 24) };
    match timeout(2 * SOON, client.call(create)).await.expect("it is answered") {
        // One that could not be started is returned to whoever asks again.
        Ok(created) if created.session.state == State::Finalized => Err(Code::HolderUnresponsive),
        Ok(created) => Ok(created.session),
        Err(error) => Err(error.code),
    }
}

#[test]
fn descriptors_that_are_used_up_are_named_and_used_again() {
    let place = Place::new();
    let mut up = Command::new("sh");
    up.args(["-c", "ulimit -n 90; exec \"$0\" up", ABIDE]).env_clear().envs(place.env()).current_dir(place.work());
    assert!(up.output().unwrap().status.success());
    let runtime = runtime();
    let lived = runtime.block_on(async {
        let mut client = place.client("maker");
        let mut sessions = Vec::new();
        let refused = loop {
            match create(&mut client).await {
                Ok(record) => sessions.push(record),
                Err(code) => break code,
            }
            assert!(sessions.len() < 90, "the limit strikes");
        };
        assert!(matches!(refused, Code::ResourceExhausted | Code::HolderUnresponsive), "{refused}");
        assert!(sessions.len() >= 2, "{} sessions", sessions.len());
        assert!(sessions.iter().all(|record| is_alive(record.pid.unwrap())), "the others live");
        // Two that end make room for another one.
        for record in sessions.drain(..2) {
            let session = SessionRef::Id(record.id);
            let kill = Kill { session, grace_ms: None, force: true, signal: None, owner_epoch: None };
            timeout(SOON, client.call(kill)).await.expect("it is answered").unwrap();
            assert!(ends_within(record.pid.unwrap(), SOON));
            let remove = Remove { session: SessionRef::Id(record.id) };
            timeout(SOON, client.call(remove)).await.expect("it is answered").ok();
        }
        // Their descriptors are given back once what they printed is on the disk.
        let deadline = Instant::now() + SOON;
        while let Err(code) = create(&mut client).await {
            assert!(Instant::now() < deadline, "it recovers when the cause goes: {code}");
        }
        sessions.len() + 2
    });
    println!("{lived} sessions within 90 descriptors");
}

#[test]
fn terminals_that_are_used_up_are_named() {
    // ENOSPC: what opening a terminal answers where all of them are in use.
    let place = Place::new().with("ABIDE_TEST_HOLDER", "pty=28");
    let refused = place.run(&["run", "-d", "--", "true"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("RESOURCE_EXHAUSTED"), "{refused:?}");
    assert!(place.ok(&["ls", "-o", "json"]).contains("[]"));
}

#[test]
fn many_sessions_outlive_their_daemon_and_end_together() {
    let count = size(200, 1_000);
    let place = Place::new();
    place.start_daemon();
    let runtime = runtime();
    let before: Vec<Record> = runtime.block_on(async {
        let mut client = place.client("maker");
        let mut sessions = Vec::new();
        for _ in 0..count {
            sessions.push(create(&mut client).await.unwrap());
        }
        sessions
    });
    place.renew_daemon();
    let after = place.records();
    assert_eq!(after.len(), count);
    for (former, record) in before.iter().zip(&after) {
        assert_eq!((former.id, former.pid, record.state), (record.id, record.pid, State::Running));
    }
    place.ok(&["stop", "--terminate"]);
    assert!(before.iter().all(|record| ends_within(record.pid.unwrap(), SOON)), "all have ended");
    assert_eq!(files(&place.state().join("run/holders")), 0);
    println!("{count} sessions over a killed daemon");
}

/// Sessions that begin together, end with what they printed, and are removed.
async fn live_and_go(place: &Place, sessions: usize) {
    let mut client = place.client("maker");
    let mut begun = Vec::new();
    for _ in 0..sessions {
        let args = vec!["-c".into(), "echo it; exit 3".into()];
        let create = Create { command: Some("sh".into()), args, ..Create::new(80, 24) };
        begun.push(timeout(SOON, client.call(create)).await.expect("it is answered").unwrap().session.id);
    }
    for id in begun {
        let mut stream = place.stream("reader", &id.to_string(), Mode::Observer, BEGINNING);
        let mut printed = Vec::new();
        loop {
            match timeout(SOON, stream.next()).await.expect("it ends") {
                Ok(StreamEvent::Output { bytes, .. }) => printed.extend_from_slice(&bytes),
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => break,
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
        assert_eq!(printed, b"it\r\n");
        timeout(SOON, client.call(Remove { session: SessionRef::Id(id) })).await.expect("it is answered").unwrap();
    }
}

#[test]
fn what_sessions_took_is_given_back() {
    let (rounds, at_once) = (100, 10);
    let place = Place::new();
    place.start_daemon();
    let runtime = runtime();
    runtime.block_on(live_and_go(&place, at_once));
    place.wait_without_holders();
    let daemon = place.daemon().unwrap();
    let taken = || {
        let state = place.state();
        (
            files(Path::new(&format!("/proc/{daemon}/fd"))),
            files(&state.join("holders")),
            files(&state.join("run/agents")),
        )
    };
    let before = taken();
    for _ in 0..rounds {
        runtime.block_on(live_and_go(&place, at_once));
    }
    place.wait_without_holders();
    let after = taken();
    assert!(after.0 <= before.0 + 4, "descriptors: {before:?}, then {after:?}");
    assert_eq!((after.1, after.2), (before.1, before.2), "files");
    assert_eq!(place.processes(), [daemon], "processes");
    println!("{} sessions, descriptors {} then {}", rounds * at_once, before.0, after.0);
}
