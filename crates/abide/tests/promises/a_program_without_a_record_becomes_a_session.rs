//! Programs whose records are gone live on: a start finds their holders and makes sessions of them, or ends them where
//! the configuration says so.

use std::fs;

use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::{EntryOutcome, Mode, RecoveryReport};
use abide_terminal::{Record, State};
use abide_wire::Code;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Place, SOON, ends_within, is_alive};

fn report(place: &Place) -> RecoveryReport {
    serde_json::from_str(&place.ok(&["recover", "-o", "json"])).unwrap()
}

/// The name that a session has without its record.
fn orphan(record: &Record) -> String {
    format!("orphan-{}", record.id.to_string().to_lowercase().split_off(18))
}

/// The daemon dies, and its journal with it.
fn lose_the_journal(place: &Place) {
    place.kill_daemon();
    fs::rename(place.state().join("journal"), place.work().join("journal")).unwrap();
}

#[test]
fn programs_live_on_without_their_journal() {
    let place = Place::new();
    let scripts = ["cat", "cat > /dev/null", "while read -r line; do echo \"got $line\"; done"];
    for (number, script) in scripts.iter().enumerate() {
        place.session(&format!("s{number}"), &format!("echo begins; exec 3>&1; {script}"));
    }
    for number in 0..scripts.len() {
        place.wait_output(&format!("s{number}"), 0);
    }
    let before: Vec<Record> = place.records();
    lose_the_journal(&place);
    place.ok(&["up"]);
    for record in &before {
        let name = orphan(record);
        // An attach waits until it runs.
        place.wait_output(&name, 0);
        let found = place.record(&name);
        assert_eq!(found.state, State::Running);
        assert_eq!((found.id, found.pid, found.command.as_str()), (record.id, record.pid, "sh"));
        assert_eq!(found.cwd, place.work());
        let told = report(&place).sessions.into_iter().find(|entry| entry.session == record.id).unwrap();
        assert_eq!((told.outcome, told.code, told.name), (EntryOutcome::Orphan, Some(Code::JournalMissing), name));
    }
    // It can be typed into, its past is a named hole, and its end is known.
    let reader = orphan(&before[2]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hole = runtime.block_on(async {
        let mut stream = place.stream("typist", &reader, Mode::Owner, BEGINNING);
        let (mut seen, mut holes, mut typed) = (Vec::new(), Vec::new(), false);
        loop {
            match timeout(SOON, stream.next()).await.expect("the stream goes on") {
                Ok(StreamEvent::Output { bytes, .. }) => seen.extend_from_slice(&bytes),
                Ok(StreamEvent::Hole(hole)) => holes.push(hole),
                Ok(StreamEvent::Attached(_)) if !typed => {
                    typed = true;
                    assert_eq!(stream.write(b"it\n\x04"), 4);
                }
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => break,
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
        assert!(String::from_utf8_lossy(&seen).contains("got it"), "{seen:?}");
        assert_eq!(holes.len(), 1, "{holes:?}");
        holes.remove(0)
    });
    assert_eq!((hole.code, hole.lost_bytes), (Code::JournalMissing, Some("begins\r\n".len() as u64)));
    // A session like any other: the next daemon finds its record.
    place.renew_daemon();
    assert!(report(&place).sessions.iter().all(|entry| entry.outcome == EntryOutcome::Alive), "{:?}", report(&place));
    println!("{} programs adopted", before.len());
}

#[test]
fn programs_without_a_record_are_ended_where_the_configuration_says_so() {
    let place = Place::new().with("ABIDE_TERMINAL_ORPHANS", "end");
    place.session("gone", "exec cat");
    let program = place.record("gone").pid.unwrap();
    lose_the_journal(&place);
    assert!(is_alive(program));
    place.ok(&["up"]);
    assert!(ends_within(program, SOON), "it is ended");
    place.wait_without_holders();
    let told = report(&place).sessions;
    assert_eq!(told.iter().map(|entry| entry.outcome).collect::<Vec<_>>(), [EntryOutcome::Orphan]);
    assert_eq!(place.records(), []);
}
