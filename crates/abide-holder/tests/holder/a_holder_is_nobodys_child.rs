//! A holder survives everything around it, and leaks nothing to its program.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use abide_holder::{LaunchError, ToHolder};
use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::{Session, hold_program, until};

/// A field of `/proc/<pid>/stat`, counted from 1 as proc(5) does.
fn stat(pid: u32, field: usize) -> i64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(field - 3).unwrap().parse().unwrap()
}

fn status(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

fn links(pid: u32) -> Vec<(i32, String)> {
    let mut links: Vec<(i32, String)> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
        })
        .collect();
    links.sort();
    links
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

#[test]
fn it_has_a_session_of_its_own_and_no_terminal() {
    let session = Session::new("read a");
    session.launch().unwrap();
    let holder = session.probe().unwrap().pid;
    assert_ne!(stat(holder, 4), i64::from(std::process::id()), "its parent is not who launched it");
    assert_eq!((stat(holder, 5), stat(holder, 6)), (i64::from(holder), i64::from(holder)), "group and session");
    let mut daemon = session.adopt(1);
    daemon.start();
    assert_eq!(stat(holder, 7), 0, "no controlling terminal");
    assert_eq!(std::fs::read_link(format!("/proc/{holder}/cwd")).unwrap().to_str(), Some("/"));
    assert_eq!(std::fs::read(format!("/proc/{holder}/cmdline")).unwrap(), b"abide\0hold\0".to_vec());
    assert_eq!(status(holder, "Name"), "abide-hold");
    assert_eq!(status(holder, "Threads"), "1");
    assert_eq!(status(holder, "Umask"), "0077");
    assert!(std::fs::read(format!("/proc/{holder}/environ")).unwrap().is_empty());
    for (fd, target) in links(holder).into_iter().take(3) {
        assert_eq!((target.as_str(), fd < 3), ("/dev/null", true));
    }
}

#[test]
fn descriptors_of_the_launcher_do_not_reach_it() {
    let session = Session::new("read a");
    let file = std::fs::File::open("/proc/self/stat").unwrap();
    // Not on a number that the holder is given anyway.
    let file = rustix::io::fcntl_dupfd_cloexec(&file, 50).unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    session.launch().unwrap();
    let holder = session.probe().unwrap().pid;
    let leaked: Vec<_> = links(holder).into_iter().filter(|(_, target)| target.ends_with("/stat")).collect();
    assert_eq!(leaked, []);
}

#[test]
fn no_descriptor_but_the_terminal_reaches_the_program() {
    let session = Session::new("sleep 100 & echo ready; read a; kill $!");
    let mut daemon = session.run();
    daemon.take_text("ready");
    let holder = session.probe().unwrap().pid;
    let child = daemon.header_now().child_pid;
    let fds = links(child);
    assert_eq!(fds.len(), 3, "{fds:?}");
    assert!(fds.iter().all(|(fd, target)| *fd < 3 && target.starts_with("/dev/pts/")), "{fds:?}");
    assert_eq!(links(holder).iter().filter(|(_, target)| target.contains("ptmx")).count(), 1);
    for (fd, target) in links(holder).into_iter().filter(|(fd, _)| *fd > 2) {
        let info = std::fs::read_to_string(format!("/proc/{holder}/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
        assert_ne!(i64::from_str_radix(&flags, 8).unwrap() & 0o2_000_000, 0, "{fd} {target} is CLOEXEC");
    }
    daemon.input(1, 0, b"\n");
}

#[test]
fn signals_that_end_others_do_not_end_it() {
    let session = Session::new("echo ready; read a; echo done");
    let mut daemon = session.run();
    daemon.take_text("ready");
    let holder = session.probe().unwrap().pid;
    for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE] {
        kill_process(pid(holder), signal).unwrap();
    }
    daemon.input(1, 0, b"\n");
    daemon.take_text("done");
    assert_eq!(session.probe().unwrap().pid, holder);
}

#[test]
fn its_death_hangs_the_program_up_within_a_second() {
    let script = "trap 'echo > hung-up; exit' HUP; echo ready; while :; do sleep 100 & wait; done";
    for with_daemon in [true, false] {
        let session = Session::new(script);
        let mut daemon = session.run();
        daemon.take_text("ready");
        let child = daemon.header_now().child_pid;
        let holder = session.probe().unwrap().pid;
        let daemon = with_daemon.then_some(daemon);
        let killed = Instant::now();
        kill_process(pid(holder), Signal::KILL).unwrap();
        until("the program hears of it", || session.dir.join("hung-up").exists());
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
        until("the program is gone", || abide_holder::start_time(child).is_err());
        drop(daemon);
    }
}

#[test]
fn what_lay_in_its_ring_is_read_after_its_death() {
    let session = Session::new("echo before; read a; echo unread; read b");
    let mut daemon = session.run();
    daemon.take_text("before");
    daemon.input(1, 0, b"\n");
    until("output", || daemon.holder.ring().mark().head >= daemon.from + 10);
    kill_process(pid(session.probe().unwrap().pid), Signal::KILL).unwrap();
    assert_eq!(daemon.next_or_closed(), None);
    daemon.take();
    assert!(daemon.text().contains("unread"), "{:?}", daemon.text());
    let header = daemon.header_now();
    assert_eq!((header.owner_epoch, header.input_applied), (1, 1));
}

#[test]
fn it_needs_no_file_of_its_installation() {
    let session = Session::new("echo ready; read a; echo done");
    let copy = session.dir.join("abide");
    std::fs::copy(hold_program(), &copy).unwrap();
    abide_holder::launch(&copy, &session.spec).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let mut daemon = session.adopt(1);
    daemon.start();
    daemon.input(1, 0, b"\n");
    daemon.take_text("done");
    daemon.take_all();
    let mut second = session.adopt(2);
    second.send(&ToHolder::Collect { eof_offset: second.header.eof_offset });
    session.wait_for_end();
}

#[test]
fn a_holder_that_nobody_starts_ends() {
    let session = Session::new("true").with_faults("unstarted_ms=200");
    session.launch().unwrap();
    session.wait_for_end();
    assert!(!session.spec.paths.socket.exists());

    let session = Session::new("read a").with_faults("unstarted_ms=200");
    session.launch().unwrap();
    let daemon = session.adopt(1);
    let adopted = Instant::now();
    until("the time is over", || adopted.elapsed() > Duration::from_millis(400));
    session.probe().expect("its daemon still may start it");
    drop(daemon);
    session.wait_for_end();
}

#[test]
fn a_holder_without_a_spec_says_so() {
    let output = Command::new(hold_program()).arg0("abide").arg("hold").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("descriptor 3"));
    let mut session = Session::new("true");
    session.spec.ring_bytes = 1000;
    match session.launch() {
        Err(LaunchError::Failed { complaint, .. }) => assert!(complaint.contains("ring_bytes"), "{complaint}"),
        other => panic!("{other:?}"),
    }
    session.spec.ring_bytes = 65536;
    session.spec.paths.socket = session.dir.join("missing/holder.sock");
    assert!(matches!(session.launch(), Err(LaunchError::Failed { .. })));
    let missing = abide_holder::launch(&session.dir.join("missing"), &session.spec);
    assert!(matches!(missing, Err(LaunchError::Os { source: rustix::io::Errno::NOENT, .. })));
}
