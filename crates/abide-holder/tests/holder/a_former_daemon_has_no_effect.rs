//! The highest daemon epoch has the holder. A lower or equal one is refused by name; a higher one replaces; and what the
//! former still holds (page, eventfds, connection) reaches nobody.

use abide_holder::{FromHolder, OutputError, ReadError, ToHolder};

use crate::daemon::{Conversation, Session};

fn adopt(session: &Session, daemon_epoch: u64) -> FromHolder {
    let mut conversation = Conversation::begin(session);
    conversation.send(&ToHolder::Adopt { daemon_epoch, session: session.spec.session, version: 1 });
    conversation.next()
}

#[test]
fn a_lower_or_equal_epoch_is_refused() {
    let session = Session::new("read a");
    session.launch().unwrap();
    let mut daemon = session.adopt(7);
    daemon.start();
    for epoch in [0, 1, 6, 7] {
        assert_eq!(adopt(&session, epoch), FromHolder::Refused { daemon_epoch: 7 }, "{epoch}");
    }
    assert!(matches!(daemon.ask(&ToHolder::Ping), FromHolder::Pong(pong) if pong.daemon_epoch == 7));
    drop(daemon);
    assert_eq!(adopt(&session, 7), FromHolder::Refused { daemon_epoch: 7 }, "also when it has gone");
}

#[test]
fn a_refused_daemon_may_ask_again_on_the_same_connection() {
    let session = Session::new("read a");
    session.launch().unwrap();
    drop(session.adopt(7));
    let mut conversation = Conversation::begin(&session);
    conversation.send(&ToHolder::Adopt { daemon_epoch: 3, session: session.spec.session, version: 1 });
    assert_eq!(conversation.next(), FromHolder::Refused { daemon_epoch: 7 });
    conversation.send(&ToHolder::Adopt { daemon_epoch: 8, session: session.spec.session, version: 1 });
    assert!(matches!(conversation.next(), FromHolder::Adopted(header) if header.daemon_epoch == 8));
}

#[test]
fn a_higher_epoch_replaces_and_the_former_reaches_nobody() {
    let session = Session::new("stty -echo; while read line; do echo \"<$line>\"; done");
    let mut former = session.run();
    former.input(1, 0, b"one\n");
    former.take_text("<one>");
    let mut daemon = session.adopt(2);
    assert_eq!(former.next_or_closed(), None, "its connection is closed");
    // Looked at before the input: the program may answer at once.
    let mark = daemon.holder.ring().mark();
    daemon.input(1, 4, b"two\n");
    daemon.wait_applied(8);
    crate::daemon::until("output", || daemon.holder.ring().mark() != mark);
    // It acknowledges on its old page what it never read, sleeps there, and wakes through its old eventfd.
    let head = daemon.holder.ring().mark().head;
    former.holder.ack(head);
    assert!(former.holder.ring().sleep(former.holder.ring().mark()));
    let read = former.holder.read(head, 100, &mut Vec::new());
    assert!(matches!(read, Err(OutputError::Ring(ReadError::Stale(2)))));
    // Sent before it noticed: the connection is closed, nothing is read.
    let mut bytes = Vec::new();
    ToHolder::Input { owner_epoch: 1, input_offset: 8, bytes: b"late\n" }.encode(&mut bytes);
    assert!(rustix::net::send(&former.stream, &bytes, rustix::net::SendFlags::NOSIGNAL).is_err());
    daemon.take_text("<two>");
    daemon.input(1, 8, b"three\n");
    daemon.take_text("<three>");
    assert!(!daemon.text().contains("late"));
    let mut third = session.adopt(3);
    assert_eq!(third.from, daemon.from, "the second daemon's cursor, not the first's");
    third.take();
}

#[test]
fn a_broken_cursor_ends_the_connection_and_not_the_program() {
    let session = Session::new("stty -echo; while read line; do echo \"<$line>\"; done");
    let mut daemon = session.run();
    daemon.input(1, 0, b"one\n");
    daemon.take_text("<one>");
    daemon.break_acked();
    daemon.input(1, 4, b"two\n");
    while daemon.next_or_closed().is_some() {}
    let mut daemon = session.adopt(2);
    daemon.input(1, daemon.header.input_applied, b"three\n");
    daemon.take_text("<three>");
}
