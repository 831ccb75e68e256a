//! Viewers that stop reading while a program floods: everybody else gets every byte, the daemon's memory stays where it
//! was, and each of the slow ones gets what it asked for. What it was sent and what it was told to be skipped is all that
//! was printed, and the warnings that it got are the levels of its queue.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use abide_screen::{Model, Size, What};
use abide_terminal::level::Gauge;
use serde_json::{Value, json};

use crate::harness::{Numbers, Peer, Place, hello, size};

/// Those that read.
const FAST: usize = 9;

/// Memory that the daemon may take between the first half of the output and its end, in KiB.
const GROWTH_KIB_MAX: u64 = 16 << 10;

/// What is asked of a stream that lags.
const POLICIES: [&str; 3] = ["resync", "disconnect", "follow"];

fn attach(place: &Place, client: &str, session: &str, fields: &Value) -> (Peer, Value) {
    let mut peer = Peer::greeted(place, &hello(client, "stream"));
    let mut attach = json!({
        "type": "attach", "id": "1", "session": session, "mode": "observer", "from": { "offset": 0 },
    });
    attach.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let attached = peer.ask(&attach.to_string());
    assert_eq!(attached["type"], "attached", "{attached}");
    (peer, attached)
}

fn offset_of(payload: &[u8]) -> (u64, &[u8]) {
    let (offset, bytes) = payload.split_at(8);
    (u64::from_le_bytes(offset.try_into().unwrap()), bytes)
}

/// Reads all that was printed.
fn read_all(mut peer: Peer, numbers: &Numbers, passed: &Sender<u64>) {
    let mut next = 0;
    while next < numbers.len() {
        let frame = peer.frame().expect("the stream goes on");
        if frame.kind == 2 {
            let (offset, bytes) = offset_of(&frame.payload);
            assert_eq!(offset, next, "gapless");
            numbers.check(offset, bytes);
            next += bytes.len() as u64;
            let _ = passed.send(next);
        }
    }
}

fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Looks at the daemon's memory at each MiB that somebody has read: before the second half, and the most after.
fn watch_memory(pid: u32, half: u64, passed: &Receiver<u64>) -> (u64, u64) {
    let (mut seen, mut before, mut most, mut looks) = (0, 0, 0, 0);
    while let Ok(next) = passed.recv() {
        if next < seen + (1 << 20) {
            continue;
        }
        seen = next;
        let now = memory_kib(pid);
        if next <= half {
            before = now;
        } else {
            most = now.max(most);
            looks += 1;
        }
    }
    assert!(looks > 20 && before > 0, "{looks} looks");
    (before, most)
}

/// What a slow stream got, once it read again.
#[derive(Default)]
struct Got {
    sent: u64,
    skipped: u64,
    /// Where output would go on.
    next: u64,
    snapshot: Vec<u8>,
    /// Output behind the snapshot.
    rest: Vec<u8>,
    lagged: Vec<Value>,
    warnings: Vec<Value>,
    detached: Option<Value>,
}

/// Reads on until everything that was printed was sent or skipped and, where it is told of that, its queue is normal
/// again; or until the stream ends.
fn read_on(peer: &mut Peer, numbers: &Numbers, is_told: bool) -> Got {
    let mut got = Got::default();
    let is_normal = |got: &Got| got.warnings.last().is_none_or(|warning| warning["level"] == "normal");
    let mut snapshot_bytes = 0;
    while got.next < numbers.len() || got.snapshot.len() < snapshot_bytes || (is_told && !is_normal(&got)) {
        let Some(frame) = peer.frame() else { break };
        match frame.kind {
            2 => {
                let (offset, bytes) = offset_of(&frame.payload);
                assert_eq!(offset, got.next, "gapless but for what was named");
                numbers.check(offset, bytes);
                got.next += bytes.len() as u64;
                got.sent += bytes.len() as u64;
                if !got.snapshot.is_empty() {
                    got.rest.extend_from_slice(bytes);
                }
            }
            4 => {
                let (position, bytes) = offset_of(&frame.payload);
                assert_eq!(position, got.snapshot.len() as u64);
                got.snapshot.extend_from_slice(bytes);
            }
            _ => {
                let message: Value = serde_json::from_slice(&frame.payload).unwrap();
                match message["type"].as_str().unwrap() {
                    "lagged" => {
                        let [from, to] = ["from", "to"].map(|field| message[field].as_u64().unwrap());
                        assert_eq!(from, got.next, "it names what it skips");
                        got.skipped += to - from;
                        got.next = to;
                        snapshot_bytes = usize::try_from(message["snapshot_bytes"].as_u64().unwrap()).unwrap();
                        got.snapshot.clear();
                        got.rest.clear();
                        got.lagged.push(message);
                    }
                    "backpressure_warning" => got.warnings.push(message),
                    "detached" => got.detached = Some(message),
                    other => panic!("{other}"),
                }
            }
        }
    }
    got
}

/// The changes of level of a client's stream, by what the daemon logged of its queue.
fn levels(log: &str, client: &str) -> Vec<Value> {
    let mut gauge = Gauge::new(1 << 20, 250);
    let mut changes = Vec::new();
    let queue = format!("ClientId(\"{client}\"))");
    let lines = log.lines().filter(|line| line.contains("queue=Socket(") && line.contains(&queue));
    for line in lines {
        let number = |name: &str| -> u64 {
            let (_, rest) = line.split_once(name).unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        changes.extend(gauge.set(number(" now="), number(" queued_bytes=")));
    }
    // Long after.
    changes.extend(gauge.settle(u64::MAX));
    let told = |change: &abide_terminal::level::Change| {
        json!([change.number, change.previous, change.level, change.queued_bytes])
    };
    changes.iter().map(told).collect()
}

fn told(warnings: &[Value]) -> Vec<Value> {
    let socket = warnings.iter().filter(|warning| warning["layer"] == "socket");
    let told = socket.map(|warning| {
        assert_eq!(warning["limit_bytes"], 1 << 20);
        json!([warning["change"], warning["previous"], warning["level"], warning["queued_bytes"]])
    });
    told.collect()
}

/// A screen that was fed this.
fn screen(parts: [&[u8]; 2]) -> String {
    let mut model = Model::new(Size { cols: 80, rows: 24 }, 0);
    for part in parts {
        model.feed(part).unwrap();
    }
    model.text(What::Screen, None).text
}

#[test]
fn a_slow_viewer_costs_its_own_place() {
    let numbers = Arc::new(Numbers::about(size(200 << 20, 2 << 30)));
    // However long the others take, those that do not read stay connected.
    let place = Place::new().keeping_all().with("ABIDE_TERMINAL_WRITE_STALL_MS", "3600000");
    let place = place.with("ABIDE_LOG", "info,abide_terminal::levels=trace");
    let flood = numbers.command(1, "");
    place.session("flood", &format!("while [ ! -e go ]; do sleep 0.02; done; {flood}; exec sleep 1000"));
    let daemon = place.daemon().unwrap();

    let (passed, progress) = channel();
    let (silent, _) = channel();
    let fast: Vec<thread::JoinHandle<()>> = (0..FAST)
        .map(|number| {
            let (peer, _) = attach(&place, &format!("fast-{number}"), "flood", &json!({ "on_lag": "follow" }));
            let (numbers, passed) = (Arc::clone(&numbers), if number == 0 { passed.clone() } else { silent.clone() });
            thread::spawn(move || read_all(peer, &numbers, &passed))
        })
        .collect();
    drop(passed);
    let mut control = Peer::greeted(&place, &hello("slow-resync", "control"));
    let slow = POLICIES.map(|policy| {
        let fields = json!({ "on_lag": policy, "lag_bytes_max": 1 << 20 });
        attach(&place, &format!("slow-{policy}"), "flood", &fields)
    });

    fs::write(place.work().join("go"), "").unwrap();
    let watcher = thread::spawn({
        let half = numbers.len() / 2;
        move || watch_memory(daemon, half, &progress)
    });
    for reader in fast {
        reader.join().unwrap();
    }
    let (before, most) = watcher.join().unwrap();
    println!("{} bytes to {FAST} viewers; the daemon had {before} KiB at half of it, then {most}", numbers.len());
    assert!(most < before + GROWTH_KIB_MAX, "from {before} to {most} KiB");

    let [resync, disconnect, follow] = slow;
    is_resynced(&place, resync.0, &mut control, &numbers);
    is_disconnected(&place, disconnect.0, &numbers);
    let mut follow = follow.0;
    let got = read_on(&mut follow, &numbers, true);
    assert_eq!((got.sent, got.skipped), (numbers.len(), 0));
    check_levels(&place, "slow-follow", &got, false);
    assert_eq!(got.warnings.last().unwrap()["level"], "normal");
}

/// The one that asked for it skips to the screen, and is told what it skipped.
fn is_resynced(place: &Place, mut stream: Peer, control: &mut Peer, numbers: &Numbers) {
    // Warnings have come meanwhile.
    let mut warnings = Vec::new();
    control.say(r#"{"type":"inspect","id":"levels","session":"flood"}"#);
    let inspected = loop {
        match control.answer().expect("it is answered") {
            answer if answer["id"] == "levels" => break answer,
            warning => warnings.push(warning),
        }
    };
    let level = |policy: &str| {
        let streams = inspected["result"]["streams"].as_array().unwrap();
        streams.iter().find(|stream| stream["client_id"] == format!("slow-{policy}")).unwrap()["level"].clone()
    };
    assert_eq!((level("resync"), level("follow")), (json!("high"), json!("high")), "{inspected}");

    let mut got = read_on(&mut stream, numbers, false);
    while warnings.last().is_none_or(|warning: &Value| warning["level"] != "normal" || warning["layer"] != "socket") {
        warnings.push(control.next("backpressure_warning"));
    }
    assert!(got.warnings.is_empty(), "they come on its control connection");
    got.warnings = warnings;
    println!("resync: {} bytes sent, {} skipped in {}", got.sent, got.skipped, got.lagged.len());
    assert_eq!(got.sent + got.skipped, numbers.len());
    assert!(got.skipped > numbers.len() / 2, "it was told of what it skipped");
    let lagged = got.lagged.last().unwrap();
    assert_eq!(lagged["snapshot_bytes"], got.snapshot.len());
    assert_eq!((&lagged["cols"], &lagged["rows"], &lagged["mode"]), (&json!(80), &json!(24), &json!("observer")));
    let end = &numbers.bytes[numbers.bytes.len() - (64 << 10)..];
    assert_eq!(screen([&got.snapshot, &got.rest]), screen([end, b""]), "its screen is the program's");
    check_levels(place, "slow-resync", &got, true);
}

/// The one that asked for it is let go, and comes back for the rest.
fn is_disconnected(place: &Place, mut stream: Peer, numbers: &Numbers) {
    let got = read_on(&mut stream, numbers, true);
    let detached = got.detached.as_ref().expect("it is disconnected");
    assert_eq!((&detached["code"], &detached["resume_offset"]), (&json!("SLOW_SUBSCRIBER"), &json!(got.next)));
    assert!(got.skipped == 0 && got.sent < numbers.len() / 2, "{}", got.sent);
    check_levels(place, "slow-disconnect", &got, false);
    let from = json!({ "on_lag": "follow", "from": { "offset": got.next, "epoch": detached["epoch"] } });
    let (mut again, _) = attach(place, "slow-disconnect", "flood", &from);
    let mut next = got.next;
    while next < numbers.len() {
        let frame = again.frame().expect("the stream goes on");
        if frame.kind == 2 {
            let (offset, bytes) = offset_of(&frame.payload);
            assert_eq!(offset, next);
            numbers.check(offset, bytes);
            next += bytes.len() as u64;
        }
    }
    println!("disconnect: {} bytes, then the other {}", got.sent, next - got.sent);
}

/// The warnings that a client got are what its queue's history says: all of them, or as many as came before the stream
/// had sent what it had to.
fn check_levels(place: &Place, client: &str, got: &Got, is_whole: bool) {
    let (told, expected) = (told(&got.warnings), levels(&place.log(), client));
    println!("{client}: {} changes of level", told.len());
    assert!(told.len() >= if is_whole { 3 } else { 2 }, "{told:?}");
    assert_eq!(told[..], expected[..told.len().min(expected.len())]);
    assert!(!is_whole || told.len() == expected.len(), "{told:?} {expected:?}");
    for warning in got.warnings.iter().filter(|warning| warning["layer"] == "socket") {
        assert_eq!(warning["session"].as_str().unwrap(), place.record("flood").id.to_string());
    }
}
