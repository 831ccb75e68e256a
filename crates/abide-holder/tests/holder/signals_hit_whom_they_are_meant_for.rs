//! Signals: to the leader, its group, the foreground group, or one process by pid and start time; to nobody else.

use abide_holder::{FromHolder, State, Target, ToHolder, start_time};
use rustix::io::Errno;

use crate::daemon::{Daemon, Session, until};

const HUP: u8 = 1;
const INT: u8 = 2;
const KILL: u8 = 9;
const USR1: u8 = 10;

fn signal(daemon: &mut Daemon, number: u8, target: Target) -> u32 {
    match daemon.ask(&ToHolder::Signal { number, target }) {
        FromHolder::Done { errno } => errno,
        other => panic!("{other:?}"),
    }
}

fn code(errno: Errno) -> u32 {
    errno.raw_os_error().unsigned_abs()
}

#[test]
fn leader_and_groups_are_told_apart() {
    // A shell with job control: its job has a group of its own, in the foreground.
    let script = "set -m; trap 'echo leader' USR1; \
        sh -c 'trap \"echo job; exit\" USR1; echo ready; while :; do sleep 0.05; done'; \
        echo back; while :; do sleep 0.05; done";
    let session = Session::new(script);
    let mut daemon = session.run();
    daemon.take_text("ready");
    assert_eq!(signal(&mut daemon, USR1, Target::Foreground), 0);
    daemon.take_text("job");
    daemon.take_text("back");
    assert!(!daemon.text().contains("leader"), "{}", daemon.text());
    assert_eq!(signal(&mut daemon, USR1, Target::Leader), 0);
    daemon.take_text("leader");
    assert_eq!(signal(&mut daemon, 200, Target::Leader), code(Errno::INVAL));
    assert_eq!(signal(&mut daemon, INT, Target::LeaderGroup), 0);
    assert!(matches!(daemon.next(), FromHolder::Ended { wait_status: 2 }));
}

#[test]
fn a_foreground_group_of_a_dead_leader_is_none() {
    let session = Session::new("trap '' HUP; sleep 1000 & echo $! > background; echo out; exit 5");
    let mut daemon = session.run();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 5 << 8 });
    let holder = session.probe().unwrap().pid;
    assert_eq!(signal(&mut daemon, KILL, Target::Foreground), code(Errno::SRCH));
    assert_eq!(signal(&mut daemon, KILL, Target::Leader), code(Errno::SRCH));
    assert_eq!(session.probe().unwrap().pid, holder, "the holder did not hit itself");
    // The background process is in the leader's group, whose number is safe as long as the leader is unreaped.
    let background: u32 = std::fs::read_to_string(session.dir.join("background")).unwrap().trim().parse().unwrap();
    start_time(background).unwrap();
    assert_eq!(signal(&mut daemon, KILL, Target::LeaderGroup), 0);
    until("it is gone", || start_time(background).is_err() || is_zombie(background));
    daemon.take_all();
    assert_eq!(daemon.text(), "out\n");
}

fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn the_leader_is_unreaped_until_it_is_collected() {
    let session = Session::new("exit 0");
    let mut daemon = session.run();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 0 });
    let child = daemon.header_now().child_pid;
    assert!(is_zombie(child), "its numbers are still its own");
    daemon.take_all();
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from });
    session.wait_for_end();
    until("it is reaped", || start_time(child).is_err());
}

#[test]
fn a_process_is_named_by_pid_and_start_time() {
    let session = Session::new("sleep 1000 & echo $! > other; echo ready; read a");
    let mut daemon = session.run();
    daemon.take_text("ready");
    let other: u32 = std::fs::read_to_string(session.dir.join("other")).unwrap().trim().parse().unwrap();
    let start = start_time(other).unwrap();
    let mut ask = |pid, start_time, number| match daemon.ask(&ToHolder::SignalProcess { pid, start_time, number }) {
        FromHolder::Done { errno } => errno,
        unexpected => panic!("{unexpected:?}"),
    };
    assert_eq!(ask(other, start + 1, KILL), code(Errno::SRCH));
    assert_eq!(ask(other, start - 1, KILL), code(Errno::SRCH));
    start_time(other).expect("not hit");
    let holder = session.probe().unwrap();
    assert_eq!(ask(holder.pid, holder.start_time, KILL), code(Errno::PERM), "not even if it is asked to");
    assert_eq!(ask(0, start, KILL), code(Errno::SRCH));
    assert_eq!(ask(u32::MAX, start, KILL), code(Errno::SRCH));
    assert_eq!(ask(other, start, KILL), 0);
    until("it is gone", || start_time(other).is_err() || is_zombie(other));
    assert_eq!(ask(0x7fff_fff0, start, HUP), code(Errno::SRCH));
}

#[test]
fn before_the_start_there_is_nobody() {
    let session = Session::new("true");
    session.launch().unwrap();
    let mut daemon = session.adopt(1);
    for target in [Target::Leader, Target::LeaderGroup, Target::Foreground] {
        assert_eq!(signal(&mut daemon, KILL, target), code(Errno::SRCH));
    }
    assert_eq!(session.probe().unwrap().state, Some(State::Waiting));
}

#[test]
fn a_signal_gets_through_beside_full_input_and_output() {
    let session = Session::new("stty raw -echo; yes & while :; do sleep 1; done");
    let mut daemon = session.run();
    until("the ring is full", || daemon.header_now().output_head == 65536);
    daemon.input(1, 0, &vec![b'x'; 65536]);
    assert_eq!(signal(&mut daemon, KILL, Target::LeaderGroup), 0);
    assert!(matches!(daemon.next(), FromHolder::Ended { wait_status: 9 }));
    daemon.take_all();
}
