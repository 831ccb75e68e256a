//! Every failure of a start names its step and errno, again and again; and such a holder is collected like any other.

use abide_holder::{FromHolder, NO_EOF, State, Step, ToHolder};
use rustix::io::Errno;

use crate::daemon::Session;

fn fails(session: &Session, step: Step, errno: Errno) {
    session.launch().unwrap();
    let mut daemon = session.adopt(1);
    let expected = FromHolder::Failed { step: step.code(), errno: errno.raw_os_error().unsigned_abs() };
    assert_eq!(daemon.ask(&ToHolder::Start { incarnation: 1 }), expected, "{step:?}");
    assert_eq!(daemon.ask(&ToHolder::Start { incarnation: 1 }), expected, "{step:?}, repeated");
    let mut daemon = session.adopt(2);
    let (code, number) = (daemon.header.step, daemon.header.errno);
    assert_eq!((daemon.header.state, code, number), (State::Failed, step.code(), errno.raw_os_error().unsigned_abs()));
    assert_eq!(daemon.ask(&ToHolder::Start { incarnation: 1 }), expected, "{step:?}, to another daemon");
    assert_ne!(daemon.header.eof_offset, NO_EOF);
    daemon.send(&ToHolder::Collect { eof_offset: daemon.header.eof_offset });
    assert_eq!(daemon.next_or_closed(), None);
    session.wait_for_end();
}

#[test]
fn each_step_by_a_fault() {
    for (step, errno) in [
        (Step::Pty, Errno::NOSPC),
        (Step::Fork, Errno::AGAIN),
        (Step::Setsid, Errno::PERM),
        (Step::Tty, Errno::IO),
        (Step::Chdir, Errno::STALE),
        (Step::Exec, Errno::NOMEM),
    ] {
        let session = Session::new("true").with_faults(&format!("{}={}", step.name(), errno.raw_os_error()));
        fails(&session, step, errno);
    }
}

#[test]
fn commands_that_cannot_be_executed() {
    let mut session = Session::new("true");
    session.spec.command = "no-such-command".to_owned();
    fails(&session, Step::Exec, Errno::NOENT);

    let mut session = Session::new("true");
    std::fs::write(session.dir.join("plain"), "#!/bin/sh\n").unwrap();
    session.spec.command = "plain".to_owned();
    let path = format!("{}:/usr/bin", session.dir.display());
    session.spec.env.insert("PATH".to_owned(), path);
    fails(&session, Step::Exec, Errno::ACCESS);

    let mut session = Session::new("true");
    let file = session.dir.join("no-format");
    std::fs::write(&file, "neither script nor program").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    session.spec.command = file.to_str().unwrap().to_owned();
    fails(&session, Step::Exec, Errno::NOEXEC);

    let mut session = Session::new("true");
    session.spec.args.push("x".repeat(200 << 10));
    fails(&session, Step::Exec, Errno::TOOBIG);
}

#[test]
fn directories_that_cannot_be_entered() {
    let mut session = Session::new("true");
    session.spec.cwd = session.dir.join("missing");
    fails(&session, Step::Chdir, Errno::NOENT);

    let mut session = Session::new("true");
    session.spec.cwd = session.dir.join("file");
    std::fs::write(&session.spec.cwd, "").unwrap();
    fails(&session, Step::Chdir, Errno::NOTDIR);
}

#[test]
fn a_start_of_another_incarnation_is_no_start() {
    let session = Session::new("true");
    session.launch().unwrap();
    let mut daemon = session.adopt(1);
    daemon.send(&ToHolder::Start { incarnation: 2 });
    assert_eq!(daemon.next_or_closed(), None);
    assert_eq!(session.probe().unwrap().state, Some(State::Waiting));
}

#[test]
fn a_repeated_start_starts_nothing() {
    let session = Session::new("echo x >> starts; read a");
    let mut daemon = session.run();
    let first = daemon.start();
    daemon.send(&ToHolder::Start { incarnation: 1 });
    daemon.send(&ToHolder::Start { incarnation: 1 });
    let started = FromHolder::Started { pid: first.0, start_time: first.1 };
    assert_eq!((daemon.next(), daemon.next()), (started, started));
    let mut second = session.adopt(2);
    assert_eq!(second.start(), first);
    second.input(1, 0, b"\n");
    second.take_all();
    assert_eq!(second.next(), FromHolder::Ended { wait_status: 0 });
    assert_eq!(second.start(), first, "also after its end");
    assert_eq!(std::fs::read_to_string(session.dir.join("starts")).unwrap(), "x\n");
}
