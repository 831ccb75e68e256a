//! Who may do what: every operation by the owner, by an observer, by a client that only connected, by the one that owned the
//! session before, and on the wrong kind of connection. The table in `docs/terminals.md` is what this test has seen;
//! `ABIDE_BLESS=1` writes it.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::harness::{Peer, Place, hello};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/terminals.md");
const BEGIN: &str = "<!-- the table that a test has seen begins here -->\n";
const END: &str = "<!-- and ends here -->\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Owner,
    Observer,
    /// Greeted, and nothing else.
    Nobody,
    Former,
    /// The owner, on the other kind of connection.
    Elsewhere,
}

const ROLES: [(Role, &str); 5] = [
    (Role::Owner, "owner"),
    (Role::Observer, "observer"),
    (Role::Nobody, "not attached"),
    (Role::Former, "former owner"),
    (Role::Elsewhere, "on the other kind of connection"),
];

/// Requests of a control connection, in the order of the page. `S` is the session.
const REQUESTS: &[(&str, &str)] = &[
    ("create", r#""cols":80,"rows":24,"command":"cat""#),
    ("list", r#""limit":1"#),
    ("inspect", r#""session":"S""#),
    ("kill", r#""session":"S""#),
    ("signal", r#""session":"S","signal":"SIGCONT""#),
    ("resize", r#""session":"S","cols":90,"rows":30"#),
    ("write", r#""session":"S","data_base64":"aGkK","input_offset":0"#),
    ("takeover", r#""session":"S""#),
    ("release", r#""session":"S""#),
    ("remove", r#""session":"S""#),
    ("recover", r#""session":"S""#),
    ("recovery_report", ""),
    ("shutdown", r#""mode":"keep""#),
];

/// Messages of a stream connection.
const MESSAGES: &[(&str, &str)] = &[
    ("attach as owner", r#""type":"attach","id":"op","session":"S","mode":"owner""#),
    ("attach as observer", r#""type":"attach","id":"op","session":"S","mode":"observer""#),
    ("input", ""),
    ("resize, on a stream", r#""type":"resize","cols":90,"rows":30"#),
    ("ack", r#""type":"ack","offset":0"#),
    ("input_state", r#""type":"input_state""#),
    ("detach", r#""type":"detach""#),
];

/// Everybody around one session.
struct Cast {
    session: String,
    /// Of the one that acts.
    control: Peer,
    stream: Peer,
    /// Those that must stay connected.
    _others: Vec<Peer>,
}

#[track_caller]
fn succeeds(answer: &Value) {
    assert_ne!(answer["type"], "error", "{answer}");
}

fn attach(stream: &mut Peer, session: &str, mode: &str) {
    let attach = format!(r#"{{"type":"attach","id":"attach","session":"{session}","mode":"{mode}"}}"#);
    assert_eq!(stream.ask(&attach)["mode"], mode);
}

impl Cast {
    /// A session that the owner has taken back from somebody else, and the client of this role. One whose stream is to
    /// attach is not attached yet.
    fn new(place: &Place, number: usize, role: Role, attaches: bool) -> Self {
        let name = |who: &str| format!("{who}-{number}");
        let session = name("s");
        let mut former = Peer::greeted(place, &hello(&name("former"), "control"));
        let create = format!(
            r#"{{"type":"create","id":"c","name":"{session}","command":"cat","cols":80,"rows":24,"restore":"offer"}}"#
        );
        succeeds(&former.ask(&create));
        let mut owner = Peer::greeted(place, &hello(&name("owner"), "control"));
        succeeds(&owner.ask(&format!(r#"{{"type":"takeover","id":"t","session":"{session}"}}"#)));
        let (who, mode) = match role {
            Role::Owner | Role::Elsewhere => ("owner", "owner"),
            Role::Observer => ("observer", "observer"),
            Role::Nobody => ("nobody", ""),
            Role::Former => ("former", "observer"),
        };
        let mut stream = Peer::greeted(place, &hello(&name(who), "stream"));
        if !mode.is_empty() && !attaches {
            attach(&mut stream, &session, mode);
        }
        let (control, others) = match role {
            Role::Owner | Role::Elsewhere => (owner, vec![former]),
            Role::Former => (former, vec![owner]),
            Role::Observer | Role::Nobody => (Peer::greeted(place, &hello(&name(who), "control")), vec![owner, former]),
        };
        Self { session, control, stream, _others: others }
    }
}

fn told(answer: &Value) -> String {
    match answer["code"].as_str() {
        Some(code) => format!("`{code}`"),
        None => "yes".to_owned(),
    }
}

/// The answer to a request of a control connection.
fn request(place: &Place, number: usize, (name, fields): (&str, &str), role: Role) -> String {
    let mut cast = Cast::new(place, number, role, false);
    let fields = fields.replace("\"S\"", &format!("\"{}\"", cast.session));
    let comma = if fields.is_empty() { "" } else { "," };
    let text = format!(r#"{{"type":"{name}","id":"op"{comma}{fields}}}"#);
    let peer = if role == Role::Elsewhere { &mut cast.stream } else { &mut cast.control };
    peer.say(&text);
    let answer = loop {
        let answer = peer.answer().expect("an answer comes");
        if answer["id"] == "op" {
            break answer;
        }
    };
    if name == "shutdown" {
        place.start_daemon();
    }
    told(&answer)
}

/// What a message of a stream leads to: its refusal, or nothing but what was asked for.
fn message(place: &Place, number: usize, (name, fields): (&str, &str), role: Role) -> String {
    let attaches = name.starts_with("attach");
    let mut cast = Cast::new(place, number, role, attaches);
    let on_control = role == Role::Elsewhere;
    let peer = if on_control { &mut cast.control } else { &mut cast.stream };
    if name == "input" {
        // Of the second owner, at its beginning.
        peer.send(3, &[&2_u32.to_le_bytes()[..], &0_u64.to_le_bytes()[..], b"x"].concat());
    } else {
        peer.say(&format!("{{{}}}", fields.replace("\"S\"", &format!("\"{}\"", cast.session))));
    }
    if attaches || on_control || role == Role::Nobody {
        return told(&peer.answer().expect("it is answered"));
    }
    // What was not refused has no answer: its stream ends behind it.
    if name != "detach" {
        peer.say(r#"{"type":"detach"}"#);
    }
    let mut refused = None;
    loop {
        let message = peer.answer().expect("the stream goes on");
        match message["type"].as_str() {
            Some("error") => refused = Some(message),
            Some("detached") => break,
            _ => {}
        }
    }
    refused.map_or("yes".to_owned(), |error| told(&error))
}

fn table(place: &Place) -> String {
    let mut table = "| operation |".to_owned();
    for (_, name) in ROLES {
        write!(table, " {name} |").unwrap();
    }
    table.push_str("\n| --- | --- | --- | --- | --- | --- |\n");
    let mut number = 0;
    for (operations, does) in
        [(REQUESTS, request as fn(&Place, usize, (&str, &str), Role) -> String), (MESSAGES, message)]
    {
        for operation in operations {
            write!(table, "| {} |", operation.0).unwrap();
            for (role, _) in ROLES {
                number += 1;
                write!(table, " {} |", does(place, number, *operation, role)).unwrap();
            }
            table.push('\n');
        }
    }
    println!("{number} pairs of operation and role");
    table
}

#[test]
fn each_role_has_its_rights() {
    let place = Place::new();
    place.start_daemon();
    let table = table(&place);
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (written, after) = rest.split_once(END).expect("and its end");
    if std::env::var_os("ABIDE_BLESS").is_some() {
        fs::write(PAGE, [before, BEGIN, &table, END, after].concat()).unwrap();
    } else {
        assert_eq!(written, table, "docs/terminals.md is another one: ABIDE_BLESS=1 writes it");
    }
}
