//! Start, output, input, exit, collect; and another daemon after the first.

use abide_holder::{ExitRecord, FromHolder, State, ToHolder};

use crate::daemon::Session;

#[test]
fn output_input_exit_and_collect() {
    let session = Session::new("stty -echo; echo ready; read line; echo \"got $line\"; exit 7");
    let mut daemon = session.run();
    daemon.take_text("ready\n");
    daemon.input(1, 0, b"hello\n");
    daemon.take_all();
    assert_eq!(daemon.text(), "ready\ngot hello\n");
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 7 << 8 });
    let header = daemon.header_now();
    assert_eq!((header.state, header.wait_status, header.input_applied), (State::Ended, 7 << 8, 6));
    let record = ExitRecord::from_json(&std::fs::read(&session.spec.paths.exit_file).unwrap()).unwrap();
    assert_eq!((record.wait_status, record.output_head, record.pid), (7 << 8, header.output_head, header.child_pid));
    daemon.send(&ToHolder::Collect { eof_offset: header.eof_offset });
    assert_eq!(daemon.next_or_closed(), None);
    session.wait_for_end();
    assert!(!session.spec.paths.exit_file.exists() && !session.spec.paths.socket.exists());
}

#[test]
fn a_second_daemon_goes_on_where_the_first_was_killed() {
    let session = Session::new("echo one; read a; echo two; read b; echo three");
    let mut first = session.run();
    first.take_text("one");
    let (pid, acked) = (first.header_now().child_pid, first.from);
    drop(first);
    let mut second = session.adopt(2);
    assert_eq!((second.header.child_pid, second.from), (pid, acked));
    second.input(1, 0, b"x\n");
    second.take_text("two");
    drop(second);
    let mut third = session.adopt(3);
    assert_eq!(third.header.input_applied, 2);
    third.input(1, 0, b"x\ny\n");
    third.take_all();
    assert!(third.text().ends_with("three\n"), "{:?}", third.text());
}
