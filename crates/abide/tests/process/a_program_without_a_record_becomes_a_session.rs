//! Programs whose records are gone live on: a start finds their holders and makes sessions of them, or ends them where
//! the configuration says so.

use std::fs;

use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::{EntryOutcome, Mode, RecoveryReport};
use abide_terminal::{Record, State};
use abide_wire::Code;
use tokio::time::timeout;

use crate::house::{BEGINNING, House, SOON, is_alive, wait_for};

fn all(house: &House) -> Vec<Record> {
    serde_json::from_str(&house.ok(&["ls", "-a", "-o", "json"])).unwrap()
}

fn report(house: &House) -> RecoveryReport {
    serde_json::from_str(&house.ok(&["recover", "-o", "json"])).unwrap()
}

/// The daemon dies, and its journal with it.
fn lose_the_journal(house: &House) {
    house.kill_daemon();
    fs::rename(house.state().join("journal"), house.work().join("journal")).unwrap();
}

#[test]
fn programs_live_on_without_their_journal() {
    let house = House::new();
    let scripts = ["cat", "cat > /dev/null", "while read -r line; do echo \"got $line\"; done"];
    for (number, script) in scripts.iter().enumerate() {
        house.session(&format!("s{number}"), &format!("echo begins; exec 3>&1; {script}"));
    }
    let before: Vec<Record> = all(&house);
    wait_for("output", || all(&house).iter().all(|record| record.end_offset.0 > 0).then_some(()));
    lose_the_journal(&house);
    house.ok(&["up"]);
    for record in &before {
        let name = format!("orphan-{}", &record.id.to_string().to_lowercase()[18..]);
        let found = wait_for("it runs as a session", || {
            let found = house.record(&name);
            (found.state == State::Running).then_some(found)
        });
        assert_eq!((found.id, found.pid, found.command.as_str()), (record.id, record.pid, "sh"));
        assert_eq!(found.cwd, house.work());
        let told = report(&house).sessions.into_iter().find(|entry| entry.session == record.id).unwrap();
        assert_eq!((told.outcome, told.code, told.name), (EntryOutcome::Orphan, Some(Code::JournalMissing), name));
    }
    // It can be typed into, its past is a named hole, and its end is known.
    let reader = format!("orphan-{}", &before[2].id.to_string().to_lowercase()[18..]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hole = runtime.block_on(async {
        let mut stream = house.stream("typist", &reader, Mode::Owner, BEGINNING);
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
    house.renew_daemon();
    assert!(report(&house).sessions.iter().all(|entry| entry.outcome == EntryOutcome::Alive), "{:?}", report(&house));
    println!("{} programs adopted", before.len());
}

#[test]
fn programs_without_a_record_are_ended_where_the_configuration_says_so() {
    let house = House::new().with("ABIDE_TERMINAL_ORPHANS", "end");
    house.session("gone", "exec cat");
    let program = house.record("gone").pid.unwrap();
    lose_the_journal(&house);
    assert!(is_alive(program));
    house.ok(&["up"]);
    wait_for("it is ended", || (!is_alive(program)).then_some(()));
    wait_for("its holder is gone", || (house.holders() == 0).then_some(()));
    let told = report(&house).sessions;
    assert_eq!(told.iter().map(|entry| entry.outcome).collect::<Vec<_>>(), [EntryOutcome::Orphan]);
    assert_eq!(all(&house), []);
}
