//! `eof_offset` is set once, to the true end: not while the program could open its terminal again, and not while others
//! hold it open.

use abide_holder::{FromHolder, NO_EOF, State};

use crate::daemon::{Session, until};

#[test]
fn a_program_may_close_its_terminal_and_open_it_again() {
    let script = "echo before; exec 0<&- 1>&- 2>&-; while [ ! -e go ]; do sleep 0.01; done; \
        exec </dev/tty >/dev/tty; stty -echo; echo after; read a; echo \"got $a\"";
    let session = Session::new(script);
    let mut daemon = session.run();
    daemon.take_text("before\n");
    let holder = session.probe().unwrap().pid;
    let terminal_is_closed = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", daemon.header_now().child_pid)).unwrap();
        !fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.starts_with("/dev/pts")))
    };
    until("the terminal is closed", terminal_is_closed);
    daemon.input(1, 0, b"x\n");
    assert_idle(holder);
    assert_eq!((daemon.header_now().state, daemon.header_now().eof_offset), (State::Running, NO_EOF));
    std::fs::write(session.dir.join("go"), "").unwrap();
    daemon.take_text("after\n");
    daemon.take_text("got x\n");
    daemon.take_all();
    assert_eq!(daemon.text(), "before\nafter\ngot x\n");
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 0 });
}

/// A closed terminal is always ready; a holder that polled it would never sleep.
fn assert_idle(holder: u32) {
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{holder}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    };
    let before = ticks();
    let began = std::time::Instant::now();
    until("some time passes", || began.elapsed() > std::time::Duration::from_millis(500));
    assert!(ticks() - before < 20, "{} ticks of 50", ticks() - before);
}

#[test]
fn a_program_that_closed_its_terminal_and_ended_is_at_its_end() {
    let session = Session::new("echo out; exec 0<&- 1>&- 2>&-; while [ ! -e go ]; do sleep 0.01; done; exit 6");
    let mut daemon = session.run();
    daemon.take_text("out\n");
    std::fs::write(session.dir.join("go"), "").unwrap();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 6 << 8 });
    daemon.take_all();
    assert_eq!(daemon.text(), "out\n");
}

#[test]
fn output_of_a_background_process_comes_before_the_end() {
    let script = "trap '' HUP; { while [ ! -e go ]; do sleep 0.01; done; echo from behind; } & echo out; exit 0";
    let session = Session::new(script);
    let mut daemon = session.run();
    assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 0 });
    daemon.take_text("out\n");
    assert_eq!(daemon.header_now().eof_offset, NO_EOF);
    std::fs::write(session.dir.join("go"), "").unwrap();
    daemon.take_all();
    assert_eq!(daemon.text(), "out\nfrom behind\n");
}

#[test]
fn the_last_words_of_a_program_are_all_there() {
    let rounds = if std::env::var_os("ABIDE_NIGHTLY").is_some() { 1000 } else { 40 };
    for round in 0..rounds {
        let session = Session::new("stty raw; yes | head -c 20000; printf END");
        let mut daemon = session.run();
        daemon.take_all();
        assert_eq!(daemon.output.len(), 20_003, "round {round}");
        assert!(daemon.output.ends_with(b"END"));
        assert_eq!(daemon.next(), FromHolder::Ended { wait_status: 0 });
    }
}

#[test]
fn offsets_go_on_where_the_log_ended() {
    let mut session = Session::new("printf 0123456789");
    session.spec.output_base = (1 << 40) + 12_345;
    let mut daemon = session.run();
    assert_eq!(daemon.from, session.spec.output_base);
    daemon.take_all();
    assert_eq!(daemon.output, b"0123456789");
    assert_eq!(daemon.header_now().eof_offset, session.spec.output_base + 10);
}
