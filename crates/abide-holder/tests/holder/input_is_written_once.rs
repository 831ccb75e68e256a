//! Each byte of the owner's input reaches the program once, in order, or is named as not applied.

use abide_holder::{FromHolder, ToHolder, frames::INPUT_BYTES_MAX};

use crate::daemon::{Session, until};

/// A program that prints what it reads, and nothing else.
fn cat() -> Session {
    Session::new("stty raw -echo; echo ready; exec cat")
}

/// A program that reads nothing for now: what is written stays in the terminal until that is full.
fn deaf() -> Session {
    Session::new("stty raw -echo; echo ready; while [ ! -e go ]; do sleep 0.01; done; exec cat")
}

#[test]
fn resends_are_cut_and_gaps_are_dropped() {
    let session = cat();
    let mut daemon = session.run();
    daemon.take_text("ready\n");
    daemon.input(1, 0, b"abc");
    daemon.input(1, 0, b"abcd");
    daemon.input(1, 2, b"c");
    daemon.input(1, 5, b"GAP");
    daemon.input(2, 4, b"EPOCH");
    daemon.input(0, 4, b"EPOCH");
    daemon.input(1, 4, b"e.");
    daemon.take_text(".");
    assert_eq!(daemon.text(), "ready\nabcde.");
    assert_eq!(daemon.header_now().input_applied, 6);
}

#[test]
fn a_resend_to_another_daemon_is_cut_too() {
    let session = cat();
    let rounds = 50_u32;
    let mut all = String::new();
    session.launch().unwrap();
    let mut resent = 0;
    for round in 0..rounds {
        let mut daemon = session.adopt(u64::from(round) + 1);
        if round == 0 {
            daemon.start();
            daemon.take_text("ready\n");
        }
        // The former daemon was cut off right after sending: whoever sent it does not know what was applied.
        resent += all.len();
        daemon.input(1, 0, all.as_bytes());
        let next = format!("{round:04},");
        daemon.input(1, all.len() as u64, next.as_bytes());
        all.push_str(&next);
        if round % 2 == 0 {
            daemon.wait_applied(all.len() as u64);
        }
    }
    let mut daemon = session.adopt(u64::from(rounds) + 1);
    daemon.input(1, 0, all.as_bytes());
    daemon.take_until("everything", |daemon| daemon.from >= 6 + all.len() as u64);
    let mut last = session.adopt(u64::from(rounds) + 2);
    last.take();
    assert_eq!(daemon.header_now().input_applied, all.len() as u64);
    assert_eq!(daemon.text(), all);
    assert_eq!(daemon.from, 6 + all.len() as u64, "each byte once");
    println!("{rounds} daemons, {resent} bytes sent again");
}

#[test]
fn what_is_over_the_buffer_is_dropped() {
    let session = deaf();
    let mut daemon = session.run();
    daemon.take_text("ready\n");
    let block = vec![b'x'; INPUT_BYTES_MAX];
    let mut sent = 0;
    // The terminal takes some, then the holder's buffer fills; then frames are dropped whole.
    for _ in 0..8 {
        daemon.input(1, sent, &block);
        assert!(matches!(daemon.ask(&ToHolder::Ping), FromHolder::Pong(_)), "input never blocks the connection");
        sent += block.len() as u64;
    }
    let applied = daemon.header_now().input_applied;
    assert!(applied < sent, "the terminal is full");
    std::fs::write(session.dir.join("go"), "").unwrap();
    // Whole frames only were accepted.
    let whole = |bytes: u64| bytes > applied && bytes.is_multiple_of(block.len() as u64);
    daemon.take_until("what was accepted", |daemon| {
        let bytes = daemon.header_now().input_applied;
        whole(bytes) && daemon.from == bytes + 6
    });
    let accepted = daemon.header_now().input_applied;
    assert!(accepted < sent);
    daemon.input(1, accepted, b"end");
    daemon.take_text("end");
}

#[test]
fn a_new_owner_drops_what_is_unwritten_and_learns_what_was() {
    let session = deaf();
    let mut daemon = session.run();
    daemon.take_text("ready\n");
    let block = vec![b'x'; INPUT_BYTES_MAX];
    daemon.input(1, 0, &block);
    until("the terminal is full", || {
        let before = daemon.header_now().input_applied;
        matches!(daemon.ask(&ToHolder::Ping), FromHolder::Pong(_)) && daemon.header_now().input_applied == before
    });
    let answer = daemon.ask(&ToHolder::Owner { owner_epoch: 2 });
    let FromHolder::OwnerOk { owner_epoch: 2, former_epoch: 1, former_applied } = answer else { panic!("{answer:?}") };
    assert!(former_applied < block.len() as u64, "some was not written");
    assert_eq!(daemon.ask(&ToHolder::Owner { owner_epoch: 2 }), answer, "repeated");
    let header = daemon.header_now();
    assert_eq!((header.owner_epoch, header.input_applied), (2, 0));
    assert_eq!((header.former_epoch, header.former_applied), (1, former_applied));
    daemon.input(1, former_applied, b"LATE");
    daemon.input(2, 0, b"mine");
    std::fs::write(session.dir.join("go"), "").unwrap();
    daemon.take_text("mine");
    assert_eq!(daemon.from, 6 + former_applied + 4);
    assert!(!daemon.text().contains("LATE"));
    // Two more that write nothing: the last that did is named.
    let ok = FromHolder::OwnerOk { owner_epoch: 3, former_epoch: 2, former_applied: 4 };
    assert_eq!(daemon.ask(&ToHolder::Owner { owner_epoch: 3 }), ok);
    let ok = FromHolder::OwnerOk { owner_epoch: 9, former_epoch: 2, former_applied: 4 };
    assert_eq!(daemon.ask(&ToHolder::Owner { owner_epoch: 9 }), ok);
    assert_eq!(daemon.ask(&ToHolder::Owner { owner_epoch: 5 }), ok, "a lower one changes nothing");
    let header = session.adopt(2).header;
    assert_eq!((header.owner_epoch, header.former_epoch, header.former_applied), (9, 2, 4));
}

#[test]
fn injected_answers_are_written_and_not_counted() {
    let session = cat();
    let mut daemon = session.run();
    daemon.take_text("ready\n");
    daemon.send(&ToHolder::Inject { bytes: b"\x1b[0n" });
    daemon.input(1, 0, b"abc");
    daemon.take_text("abc");
    assert_eq!(daemon.text(), "ready\n\x1b[0nabc");
    assert_eq!(daemon.header_now().input_applied, 3);
}

#[test]
fn input_before_the_start_is_kept_for_it() {
    let session = Session::new("stty -echo; read line; echo \"got $line\"");
    session.launch().unwrap();
    let mut daemon = session.adopt(1);
    daemon.input(1, 0, b"early\n");
    daemon.start();
    daemon.take_text("got early");
    assert_eq!(daemon.header_now().input_applied, 6);
}
