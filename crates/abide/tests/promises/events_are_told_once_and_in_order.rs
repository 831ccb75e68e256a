//! Subscriptions: each event of each session once, in order, over any number of daemons.

use std::collections::BTreeSet;
use std::fs;

use abide_terminal::protocol::{Happened, Transition};
use serde_json::Value;
use tokio::time::timeout;

use crate::harness::{Peer, Place, SOON, hello};

/// Kills of the daemon under a subscription.
const KILLS: usize = 5;

fn name(event: &Happened) -> String {
    serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned()
}

#[test]
fn over_killed_daemons() {
    let place = Place::new();
    place.start_daemon();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut told: Vec<Happened> = Vec::new();
    runtime.block_on(async {
        let mut events = place.events(Some(abide_terminal::EventNumber(0)));
        for kill in 0..=KILLS {
            let session = format!("s{kill}");
            tokio::task::block_in_place(|| place.session(&session, "exit 3"));
            let is_its_end = |event: &Happened| matches!(&event.what, Transition::Finalized { .. });
            loop {
                let event = timeout(SOON, events.next()).await.expect("events come").unwrap();
                let ends = is_its_end(&event);
                told.push(event);
                if ends {
                    break;
                }
            }
            if kill < KILLS {
                tokio::task::block_in_place(|| place.kill_daemon());
            }
        }
    });
    let numbers: Vec<u64> = told.iter().map(|event| event.event_number.0).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "dense from the first: {numbers:?}");
    let boots = told.iter().filter(|event| name(event) == "boot").count();
    assert_eq!(boots, KILLS + 1);
    let sessions: BTreeSet<_> = told.iter().filter_map(|event| event.session).collect();
    assert_eq!(sessions.len(), KILLS + 1);
    for session in sessions {
        let of = told.iter().filter(|event| event.session == Some(session)).map(name);
        let of: Vec<String> = of.filter(|name| name != "recovered").collect();
        assert_eq!(of, ["created", "start", "started", "exited", "finalized"]);
    }

    // The same from the command, which ends with the newest.
    let printed: Vec<Happened> = serde_json::from_str(&place.ok(&["events", "-o", "json"])).unwrap();
    assert_eq!(printed, told);
    let lines = place.ok(&["events", "s1", "--from", &numbers[3].to_string()]);
    let of_one: Vec<Happened> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = place.record("s1").id;
    assert!(!of_one.is_empty() && of_one.iter().all(|event| event.session == Some(id)));
    println!("{} events over {KILLS} kills", told.len());
}

#[test]
fn of_the_sessions_asked_for_and_until_it_is_enough() {
    let place = Place::new();
    place.session("one", "sleep 1000");
    place.session("two", "sleep 1000");
    let mut peer = Peer::greeted(&place, &hello("watcher", "control"));
    let answer = peer.ask(r#"{"type":"subscribe","id":"2","sessions":["two"],"from_event":0}"#);
    assert_eq!(answer["result"]["from"], 0);
    let mut newest = 0;
    let event = |peer: &mut Peer| peer.answer().expect("an event comes");
    let id = place.record("two").id.to_string();
    for expected in ["created", "start", "started"] {
        let event = event(&mut peer);
        assert_eq!((event["event"].as_str(), event["session"].as_str()), (Some(expected), Some(&*id)), "{event}");
        newest = event["event_number"].as_u64().unwrap();
    }
    // Another one takes its place: the events behind the newest.
    let answer = peer.ask(r#"{"type":"subscribe","id":"3"}"#);
    assert_eq!((answer["id"].as_str(), answer["result"]["from"].as_u64()), (Some("3"), Some(newest)));
    place.ok(&["rename", "one", "three"]);
    let renamed = event(&mut peer);
    assert_eq!((renamed["event"].as_str(), renamed["data"]["name"].as_str()), (Some("renamed"), Some("three")));
    let answer = peer.ask(r#"{"type":"unsubscribe","id":"4"}"#);
    assert_eq!(answer["result"]["next"].as_u64(), renamed["event_number"].as_u64().map(|number| number + 1));
    place.ok(&["rename", "three", "four"]);
    let answer = peer.ask(r#"{"type":"unsubscribe","id":"5"}"#);
    assert_eq!(answer["result"], serde_json::json!({}), "nothing between, nothing left");
    let refused = peer.ask(r#"{"type":"subscribe","id":"6","from_event":9999}"#);
    // The newest that is on disk: the last one may not be yet.
    assert_eq!(refused["code"], "OFFSET_AHEAD");
    assert!(refused["details"]["head"].as_u64() >= renamed["event_number"].as_u64(), "{refused}");
    let unknown: Value = peer.ask(r#"{"type":"subscribe","id":"7","sessions":["nobody"]}"#);
    assert_eq!(unknown["code"], "SESSION_NOT_FOUND");
}

#[test]
fn none_that_is_not_on_disk() {
    let place = Place::new();
    let switch = place.work().join("disk");
    let place = place.with("ABIDE_TEST_DISK", &switch.display().to_string());
    place.session("one", "sleep 1000");
    let mut peer = Peer::greeted(&place, &hello("watcher", "control"));
    fs::write(&switch, "hold").unwrap();
    let subscribed = peer.ask(r#"{"type":"subscribe","id":"2"}"#);
    // It is written, so it is answered; the sync that it asked for does not come back, and holds the next one up neither.
    place.ok(&["rename", "one", "three"]);
    place.ok(&["rename", "three", "two"]);
    let mut told = Vec::new();
    let mut message = peer.ask(r#"{"type":"unsubscribe","id":"3"}"#);
    while message["id"] != "3" {
        told.push(message["event"].as_str().unwrap().to_owned());
        message = peer.answer().unwrap();
    }
    assert!(!told.contains(&"renamed".to_owned()), "{told:?}");
    let next = message["result"]["next"].as_u64().unwrap();
    assert!(next > subscribed["result"]["from"].as_u64().unwrap(), "{message}");
    fs::remove_file(&switch).unwrap();
    let again = peer.ask(&format!(r#"{{"type":"subscribe","id":"4","from_event":{}}}"#, next - 1));
    assert_eq!(again["type"], "ok", "{again}");
    loop {
        let event = peer.answer().unwrap();
        if event["data"]["name"] == "two" {
            return;
        }
    }
}
