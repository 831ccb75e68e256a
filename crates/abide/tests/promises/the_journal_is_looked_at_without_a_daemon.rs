//! `abide journal` shows what lies in the store: logs, their records, their bytes, and what is damaged; while a daemon has
//! the store it says so.

use std::fs;

use serde_json::Value;

use crate::harness::Place;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_journal_is_looked_at_without_a_daemon() {
    let place = Place::new();
    place.session("s", "seq 1 400");
    place.wait_end("s");
    let refused = place.run(&["journal", "ls"]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && errors.contains("locked by process"), "{errors}");
    assert!(errors.contains("abide stop"), "{errors}");
    place.ok(&["stop"]);

    let all: Vec<Value> = serde_json::from_str(&place.ok(&["journal", "ls", "-o", "json"])).expect("JSON");
    let of_session = |log: &&Value| log["end_offset"].as_u64() > Some(1_000);
    let log = all.iter().find(of_session).expect("the session's log")["name"].as_str().expect("a name").to_owned();
    assert!(place.ok(&["journal", "ls"]).contains(&log));
    let printed = place.ok(&["journal", "read", &log, "--bytes"]);
    assert!(printed.starts_with("1\r\n2\r\n") && printed.ends_with("400\r\n"), "{printed:?}");
    let records = lines(&place.ok(&["journal", "read", &log]));
    let data = records.iter().filter(|record| record["kind"] == "data").filter_map(|record| record["text"].as_str());
    assert_eq!(data.collect::<String>(), printed);
    let later = lines(&place.ok(&["journal", "read", &log, "--from", "2"]));
    assert_eq!(later[..], records[1..]);
    let inspected: Value = serde_json::from_str(&place.ok(&["journal", "inspect", &log])).expect("JSON");
    assert_eq!(inspected["head"].as_u64(), Some(records.len() as u64));
    assert!(inspected["epochs"][0]["epoch"].as_u64() >= Some(1));
    let missing = place.run(&["journal", "inspect", "nobody"]);
    assert_eq!(missing.status.code(), Some(5));
    place.ok(&["journal", "verify", "--deep"]);
    place.ok(&["journal", "scrub"]);

    // A byte of the output rots, also in copies that upkeep has left behind: it is found, named, and the rest is shown.
    let needle = b"\r\n200\r\n201\r\n";
    let segments = place.state().join("journal/segments");
    let mut hits = 0;
    for entry in fs::read_dir(&segments).expect("a directory").flatten() {
        let mut bytes = fs::read(entry.path()).expect("read");
        let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) else { continue };
        bytes[at + 3] ^= 1;
        fs::write(entry.path(), bytes).expect("written");
        hits += 1;
    }
    assert!(hits > 0, "the output lies in a segment");
    place.ok(&["journal", "verify"]);
    let damaged = place.run(&["journal", "verify", "--deep", "-o", "json"]);
    assert_eq!(damaged.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&damaged.stdout).expect("JSON");
    assert_eq!(told["damage"][0]["log"].as_str(), Some(log.as_str()), "{told}");
    let scrubbed = place.run(&["journal", "scrub"]);
    assert_eq!(scrubbed.status.code(), Some(1));
    let inspected: Value = serde_json::from_str(&place.ok(&["journal", "inspect", &log])).expect("JSON");
    let damage = &inspected["damage"][0];
    assert_eq!(damage["state"], "found");
    let range = format!("{}-{}", damage["from"], damage["to"]);
    place.ok(&["journal", "accept-loss", &log, &range]);
    let inspected: Value = serde_json::from_str(&place.ok(&["journal", "inspect", &log])).expect("JSON");
    assert_eq!(inspected["damage"][0]["state"], "accepted");
    let rest = place.run(&["journal", "read", &log]);
    assert_eq!(rest.status.code(), Some(1), "something is missing");
    assert!(String::from_utf8_lossy(&rest.stderr).contains("records"));
}
