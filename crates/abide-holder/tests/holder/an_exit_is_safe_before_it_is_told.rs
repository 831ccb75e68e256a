//! Exit file, then header, then frame. What cannot be written is left out, and the status is still told.

use std::sync::atomic::{AtomicBool, Ordering};

use abide_holder::{ExitRecord, FromHolder, State, ToHolder};

use crate::daemon::{Session, until};

#[test]
fn whoever_sees_the_end_finds_the_file() {
    let rounds = if std::env::var_os("ABIDE_NIGHTLY").is_some() { 500 } else { 20 };
    for round in 0..rounds {
        let session = Session::new("read a; echo last words; exit 3");
        let mut daemon = session.run();
        let told = AtomicBool::new(false);
        daemon.input(1, 0, b"\n");
        std::thread::scope(|scope| {
            let ring = daemon.holder.ring();
            let watcher = scope.spawn(|| {
                while ring.header().unwrap().state != State::Ended {
                    assert!(!told.load(Ordering::SeqCst), "round {round}: the frame came before the header");
                }
                session.spec.paths.exit_file.exists()
            });
            let mut stream = &daemon.stream;
            let mut bytes = [0; 9];
            until("the frame", || std::io::Read::read_exact(&mut stream, &mut bytes).is_ok());
            let header = ring.header().unwrap();
            told.store(header.state != State::Ended, Ordering::SeqCst);
            assert_eq!(header.state, State::Ended, "round {round}");
            assert_eq!(FromHolder::decode(&bytes), Ok(Some((FromHolder::Ended { wait_status: 3 << 8 }, 9))));
            assert!(watcher.join().unwrap(), "round {round}: the header came before the file");
        });
        let record = ExitRecord::from_json(&std::fs::read(&session.spec.paths.exit_file).unwrap()).unwrap();
        let header = daemon.header_now();
        assert_eq!((record.exited_ms, record.boot_id), (header.exited_ms, session.spec.boot_id));
        assert_eq!(record.output_head, header.output_head, "nothing of the output is missing in the file");
        daemon.take_all();
        assert!(daemon.text().ends_with("last words\n"));
    }
}

#[test]
fn a_status_without_a_file_is_told_all_the_same() {
    let session = Session::new("kill -KILL $$").with_faults("exit_file=28");
    let mut daemon = session.run();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 9 });
    assert!(!session.spec.paths.exit_file.exists());
    let left = std::fs::read_dir(&session.dir).unwrap().flatten().filter(|e| e.file_name() != "hold-with-faults");
    assert_eq!(left.count(), 1, "the socket alone");
    drop(daemon);
    let mut daemon = session.adopt(2);
    assert_eq!((daemon.header.state, daemon.header.wait_status), (State::Ended, 9));
    daemon.take_all();
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from });
    session.wait_for_end();
}

#[test]
fn a_status_without_a_daemon_waits_for_one() {
    let session = Session::new("echo out; exit 4");
    drop(session.run());
    until("the exit file", || session.spec.paths.exit_file.exists());
    until("the end", || session.probe().unwrap().state == Some(State::Ended));
    let mut daemon = session.adopt(2);
    assert_eq!(daemon.header.wait_status, 4 << 8);
    daemon.take_all();
    assert_eq!(daemon.text(), "out\n");
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from });
    assert_eq!(daemon.next_or_closed(), None, "no second frame of the end");
}

#[test]
fn nothing_is_collected_before_all_is_acknowledged() {
    let session = Session::new("echo out");
    let mut daemon = session.run();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 0 });
    until("the end of output", || daemon.header_now().has_ended_output());
    let end = daemon.header_now().eof_offset;
    daemon.send(&ToHolder::Collect { eof_offset: end });
    daemon.send(&ToHolder::Collect { eof_offset: end });
    for _ in 0..3 {
        assert!(matches!(daemon.ask(&ToHolder::Ping), FromHolder::Pong(_)), "still there");
    }
    daemon.take();
    assert_eq!(daemon.next_or_closed(), None, "the acknowledgement lets it go");
    session.wait_for_end();
    assert!(!session.spec.paths.exit_file.exists());
}

#[test]
fn a_collect_of_another_end_is_none() {
    let session = Session::new("echo out");
    let mut daemon = session.run();
    daemon.take_all();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 0 });
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from + 1 });
    for _ in 0..3 {
        assert!(matches!(daemon.ask(&ToHolder::Ping), FromHolder::Pong(_)));
    }
    let session = Session::new("echo out; read a");
    let mut daemon = session.run();
    daemon.take_text("out");
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from });
    for _ in 0..3 {
        assert!(matches!(daemon.ask(&ToHolder::Ping), FromHolder::Pong(_)), "the program runs");
    }
}
