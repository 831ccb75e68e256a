//! `hangup` ends holder and program, on any connection; `abandon` ends the output only.

use std::time::{Duration, Instant};

use abide_holder::{FromHolder, NO_EOF, State, ToHolder, start_time};

use crate::daemon::{Conversation, Session, until};

fn hang_up(session: &Session) {
    let mut conversation = Conversation::begin(session);
    conversation.send(&ToHolder::Hangup);
    session.wait_for_end();
    assert!(!session.spec.paths.socket.exists() && !session.spec.paths.exit_file.exists());
}

#[test]
fn a_holder_that_waits_ends_at_once() {
    let session = Session::new("true");
    session.launch().unwrap();
    hang_up(&session);
}

#[test]
fn a_program_that_heeds_the_hangup_ends_by_it() {
    let session = Session::new("trap 'echo > heard; exit' HUP; echo ready; while :; do sleep 100 & wait; done");
    let mut daemon = session.run();
    daemon.take_text("ready");
    let child = daemon.header_now().child_pid;
    hang_up(&session);
    until("the program ends", || start_time(child).is_err());
    assert!(session.dir.join("heard").exists());
    assert_eq!(daemon.next_or_closed(), None);
}

#[test]
fn a_program_that_ignores_it_is_killed_after_a_second() {
    let session = Session::new("trap '' HUP TERM; echo ready; while :; do sleep 1; done");
    let mut daemon = session.run();
    daemon.take_text("ready");
    let child = daemon.header_now().child_pid;
    let asked = Instant::now();
    hang_up(&session);
    assert!(asked.elapsed() >= Duration::from_secs(1), "not before its time");
    until("the program ends", || start_time(child).is_err());
}

#[test]
fn a_holder_whose_program_has_ended_ends_at_once() {
    let session = Session::new("echo out");
    let mut daemon = session.run();
    daemon.take_all();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 0 });
    hang_up(&session);
}

#[test]
fn one_that_is_leaving_is_not_adopted() {
    let session = Session::new("trap '' HUP; echo ready; while :; do sleep 1; done");
    let mut daemon = session.run();
    daemon.take_text("ready");
    daemon.send(&ToHolder::Hangup);
    until("it is leaving", || daemon.header_now().eof_offset != NO_EOF);
    let mut other = Conversation::begin(&session);
    other.send(&ToHolder::Adopt { daemon_epoch: 2, session: session.spec.session, version: 1 });
    assert_eq!(other.next_or_closed(), None);
    session.wait_for_end();
}

#[test]
fn abandon_ends_output_that_a_background_process_holds_open() {
    let session = Session::new("trap '' HUP; sleep 1000 & echo $! > background; echo out; exit 5");
    let mut daemon = session.run();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 5 << 8 });
    daemon.take_text("out");
    assert_eq!(daemon.header_now().eof_offset, NO_EOF, "somebody could still print");
    daemon.send(&ToHolder::Abandon);
    daemon.take_all();
    let background = std::fs::read_to_string(session.dir.join("background")).unwrap().trim().parse().unwrap();
    start_time(background).expect("not killed by us");
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from });
    assert_eq!(daemon.next_or_closed(), None);
    session.wait_for_end();
    let background = rustix::process::Pid::from_raw(i32::try_from(background).unwrap()).unwrap();
    rustix::process::kill_process(background, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn after_abandon_a_holder_is_collected_though_its_program_lives() {
    let session = Session::new("trap '' HUP; echo out; while :; do sleep 1; done");
    let mut daemon = session.run();
    daemon.take_text("out");
    let child = daemon.header_now().child_pid;
    daemon.send(&ToHolder::Abandon);
    daemon.take_all();
    assert_eq!(daemon.header_now().state, State::Running);
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from });
    session.wait_for_end();
    start_time(child).expect("unreaped, and left alone");
    let child = rustix::process::Pid::from_raw(i32::try_from(child).unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
}
