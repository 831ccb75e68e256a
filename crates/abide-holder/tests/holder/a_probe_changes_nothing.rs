//! A connection is a probe until it says `adopt`: connecting, pinging, and closing leave everything as it was. What is no
//! frame of version 1 closes its own connection, and no other.

use abide_holder::{FromHolder, ProbeError, State, ToHolder, frames};
use rustix::net::{SendFlags, send};

use crate::daemon::{Conversation, Session, until};

#[test]
fn pings_say_who_is_there() {
    let session = Session::new("read a");
    session.launch().unwrap();
    let before = session.probe().unwrap();
    assert_eq!((before.session, before.incarnation, before.state), (session.spec.session, 1, Some(State::Waiting)));
    assert_eq!((before.boot_id, before.daemon_epoch, before.version), (session.spec.boot_id.0, 0, 1));
    assert_eq!(before.start_time, abide_holder::start_time(before.pid).unwrap());
    let mut daemon = session.adopt(5);
    let (child, _) = daemon.start();
    let after = session.probe().unwrap();
    assert_eq!((after.daemon_epoch, after.state, after.child_pid), (5, Some(State::Running), child));
    assert!(matches!(daemon.ask(&ToHolder::Ping), FromHolder::Pong(pong) if pong == after));
}

#[test]
fn a_hundred_probes_do_not_disturb_the_daemon() {
    let session = Session::new("stty -echo; echo ready; cat");
    let mut daemon = session.run();
    daemon.take_text("ready");
    let mut idle = Vec::new();
    for n in 0..100_u64 {
        if n % 2 == 0 {
            idle.push(Conversation::begin(&session));
        }
        assert_eq!(session.probe().unwrap().daemon_epoch, 1);
        daemon.input(1, n * 2, b"x\n");
    }
    daemon.wait_applied(200);
    daemon.take_until("100 lines", |daemon| daemon.text().matches("x\n").count() == 100);
}

#[test]
fn only_frames_of_a_probe_are_taken_from_a_probe() {
    let session = Session::new("read a");
    session.launch().unwrap();
    let too_long = [0x01, 0x10, 0x01, 0x00, 4];
    let refused: &[&[u8]] = &[
        &[1, 0, 0, 0, 3],                         // start without fields
        &[9, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0], // start by a probe
        &[1, 0, 0, 0, 200],                       // an unknown kind
        &[1, 0, 0, 0, 129],                       // a kind of the other direction
        &[0, 0, 0, 0],                            // no kind
        &[2, 0, 0, 0, 1, 0],                      // ping with a field
        &[2, 0, 0, 0, 9, 1],                      // hangup with another field
        &too_long,
    ];
    for bytes in refused {
        let mut conversation = Conversation::begin(&session);
        send(&conversation.stream, bytes, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(conversation.next_or_closed(), None, "{bytes:?}");
    }
    assert_eq!(session.probe().unwrap().state, Some(State::Waiting));
}

#[test]
fn a_frame_cut_at_every_byte_is_still_one() {
    let session = Session::new("read a");
    session.launch().unwrap();
    let mut frame = Vec::new();
    ToHolder::Ping.encode(&mut frame);
    for cut in 0..=frame.len() {
        let mut conversation = Conversation::begin(&session);
        send(&conversation.stream, &frame[..cut], SendFlags::NOSIGNAL).unwrap();
        session.probe().unwrap();
        send(&conversation.stream, &frame[cut..], SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(conversation.next(), FromHolder::Pong(_)), "cut at {cut}");
    }
}

#[test]
fn another_session_or_version_is_not_adopted() {
    let session = Session::new("read a");
    session.launch().unwrap();
    let right = session.spec.session;
    for (asked, version) in [([1; 16], 1), (right, 0), (right, 2)] {
        let mut conversation = Conversation::begin(&session);
        conversation.send(&ToHolder::Adopt { daemon_epoch: 1, session: asked, version });
        assert_eq!(conversation.next_or_closed(), None);
    }
    assert_eq!(session.probe().unwrap().daemon_epoch, 0);
}

#[test]
fn a_stranger_is_not_heard() {
    let session = Session::new("read a").with_faults("peer=1,unstarted_ms=300");
    session.launch().unwrap();
    assert!(matches!(session.probe(), Err(ProbeError::Foreign(_))));
    session.wait_for_end();
}

#[test]
fn who_is_not_there_is_named() {
    let session = Session::new("true");
    assert!(matches!(session.probe(), Err(ProbeError::Absent)));
    drop(std::os::unix::net::UnixListener::bind(&session.spec.paths.socket).unwrap());
    assert!(matches!(session.probe(), Err(ProbeError::Stale)));
    std::fs::remove_file(&session.spec.paths.socket).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&session.spec.paths.socket).unwrap();
    let timeouts = abide_holder::ProbeTimeouts { pong: std::time::Duration::from_millis(50), ..Default::default() };
    assert!(matches!(abide_holder::probe(&session.spec.paths.socket, timeouts), Err(ProbeError::Silent)));
}

#[test]
fn a_daemon_that_never_reads_its_answers_costs_itself_only() {
    let session = Session::new("echo ready; read a; echo done");
    let mut deaf = session.run();
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        ToHolder::Ping.encode(&mut bytes);
    }
    let mut sent = 0;
    until("the holder stops reading", || match send(&deaf.stream, &bytes, SendFlags::NOSIGNAL) {
        Ok(more) => {
            sent += more;
            false
        }
        Err(errno) => errno == rustix::io::Errno::AGAIN,
    });
    assert!(sent > frames::FRAME_BYTES_MAX, "{sent}");
    deaf.take_text("ready");
    let mut daemon = session.adopt(2);
    daemon.input(1, 0, b"\n");
    daemon.take_all();
    assert!(daemon.text().contains("done"));
}
