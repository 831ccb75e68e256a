//! What a program finds: its environment and no other, a terminal like any, default signals, the limits of the user.

use std::path::Path;

use abide_holder::{Rlimit, ToHolder};

use crate::daemon::Session;

/// Runs a script to its end and returns what it printed.
fn printed(session: &Session) -> String {
    let mut daemon = session.run();
    daemon.take_all();
    daemon.text()
}

#[test]
fn its_environment_and_arguments_are_the_specs() {
    let mut session = Session::new("");
    session.spec.command = "env".to_owned();
    session.spec.args = vec!["env".to_owned()];
    assert_eq!(printed(&session), "MARK=of-this-session\nPATH=/usr/bin:/bin\nTERM=xterm-256color\n");
    let mut session = Session::new("echo \"$0 $1\"");
    session.spec.args.extend(["zero".to_owned(), "ü one".to_owned()]);
    assert_eq!(printed(&session), "zero ü one\n");
}

#[test]
fn its_name_may_be_that_of_a_login_shell() {
    let mut session = Session::new("");
    session.spec.args = vec!["-sh".to_owned(), "-c".to_owned(), "tr '\\0' ' ' < /proc/$$/cmdline".to_owned()];
    assert_eq!(printed(&session), "-sh -c tr '\\0' ' ' < /proc/$$/cmdline ");
}

#[test]
fn its_terminal_is_the_kernels_default_with_utf8() {
    let session = Session::new("stty size; tty; stty -a");
    let text = printed(&session);
    assert!(text.starts_with("24 80\n/dev/pts/"), "{text}");
    for mode in [" iutf8", " icanon", " echo ", " onlcr", " icrnl", " isig"] {
        assert!(text.replace('\n', " ").contains(mode), "{mode}: {text}");
    }
}

#[test]
fn it_leads_its_session_and_is_in_the_foreground() {
    // pid, process group, session, foreground group: fields 1, 5, 6, 8.
    let session = Session::new("set -- $(cut -d ' ' -f 1,5,6,8 /proc/$$/stat); echo $1 $2 $3 $4 $$");
    let text = printed(&session);
    let numbers: Vec<&str> = text.trim().split(' ').collect();
    assert_eq!(numbers.len(), 5);
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{text}");
}

#[test]
fn signals_are_default_and_none_is_blocked() {
    let mut session = Session::new("");
    session.spec.command = "cat".to_owned();
    session.spec.args = ["cat", "/proc/self/status"].map(str::to_owned).to_vec();
    session.spec.umask = 0o027;
    let text = printed(&session);
    for line in ["Umask:\t0027\n", "SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn limits_and_directory_are_those_of_the_spec() {
    let mut session = Session::new("ulimit -n; pwd; cat /proc/self/oom_score_adj");
    let files = session.spec.rlimits.iter_mut().find(|limit| limit.resource == 7).unwrap();
    *files = Rlimit { resource: 7, soft: Some(123), hard: Some(456) };
    session.spec.oom_score_adj = 300;
    let cwd = std::fs::canonicalize(&session.dir).unwrap();
    assert_eq!(printed(&session), format!("123\n{}\n300\n", cwd.display()));
}

#[test]
fn it_is_put_into_its_cgroup() {
    let mut session = Session::new("true");
    // A plain directory stands in: what is written there is what a kernel's file would get.
    let cgroup = session.dir.join("cgroup");
    std::fs::create_dir(&cgroup).unwrap();
    std::fs::write(cgroup.join("cgroup.procs"), "").unwrap();
    session.spec.cgroup = Some(cgroup.clone());
    printed(&session);
    assert_eq!(std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap(), "0\n");
}

#[test]
fn a_resize_reaches_it_once_and_the_same_again_not_at_all() {
    let script = "trap 'echo WINCH; stty size' WINCH; echo ready; while :; do read a && echo \"read $a\"; done";
    let session = Session::new(script);
    let mut daemon = session.run();
    daemon.take_text("ready");
    let resize = |cols, rows| ToHolder::Resize { cols, rows, xpixel: 0, ypixel: 0 };
    daemon.send(&resize(100, 30));
    daemon.take_text("WINCH\n30 100\n");
    for same in [resize(100, 30), resize(0, 50), resize(50, 0)] {
        daemon.send(&same);
    }
    daemon.input(1, 0, b"1\n");
    daemon.take_text("read 1");
    daemon.send(&resize(101, 30));
    daemon.take_text("30 101");
    assert_eq!(daemon.text().matches("WINCH").count(), 2, "{}", daemon.text());
    let header = daemon.header_now();
    assert_eq!((header.cols, header.rows), (101, 30));
}

#[test]
fn a_resize_before_the_start_is_the_size_at_the_start() {
    let session = Session::new("stty size");
    session.launch().unwrap();
    let mut daemon = session.adopt(1);
    assert_eq!((daemon.header.cols, daemon.header.rows), (80, 24));
    daemon.send(&ToHolder::Resize { cols: 132, rows: 43, xpixel: 0, ypixel: 0 });
    daemon.start();
    daemon.take_all();
    assert_eq!(daemon.text(), "43 132\n");
}

#[test]
fn paths_may_be_longer_than_an_address() {
    let mut session = Session::new("echo here");
    let long = session.dir.join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&long).unwrap();
    session.spec.paths.socket = long.join("holder.sock");
    assert_eq!(printed(&session), "here\n");
    let left: Vec<_> = std::fs::read_dir(&long).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [Path::new("holder.sock").as_os_str()], "the temporary name is gone");
}
