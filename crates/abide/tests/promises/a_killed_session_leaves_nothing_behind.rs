//! Whatever a program does against its end: after the deadline it is gone, or named as a survivor; and no process that is
//! not the session's is ever signalled.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use abide_terminal::procs::{self, Evidence, Guarded, Members, ProcessId, left_behind};
use rustix::process::Signal;

use crate::harness::{ABIDE, Peer, Place, SOON, ends_within, hello, is_alive, parent, signal, wait_in};

/// Processes whose ids a script wrote to files of this place, by file name.
fn pids(place: &Place, prefix: &str) -> Vec<u32> {
    let files = fs::read_dir(place.work()).unwrap().map(Result::unwrap);
    let ours = files.filter(|file| file.file_name().to_str().is_some_and(|name| name.starts_with(prefix)));
    ours.filter_map(|file| fs::read_to_string(file.path()).ok()?.trim().parse().ok()).collect()
}

#[test]
fn a_killed_session_leaves_nothing_behind() {
    let place = Place::new();
    let work = place.work();
    let work = work.display();
    // Each writes the ids of its processes: how many, and the program.
    let stubborn = "trap '' HUP TERM INT";
    let programs = [
        ("plain", 1, format!("echo $$ > {work}/plain-1; exec sleep 1000")),
        ("ignores", 1, format!("{stubborn}; echo $$ > {work}/ignores-1; while :; do sleep 0.1; done")),
        (
            "forks",
            4,
            format!(
                "{stubborn}; echo $$ > {work}/forks-1; \
                 for i in 2 3 4; do (sh -c 'echo $$ > {work}/forks-'$i'; exec sleep 1000') & done; wait; wait; \
                 while :; do sleep 0.1; done"
            ),
        ),
        ("stops", 1, format!("echo $$ > {work}/stops-1; kill -STOP $$; exec sleep 1000")),
        (
            "daemonizes",
            2,
            format!(
                "{stubborn}; echo $$ > {work}/daemonizes-1; \
                 setsid sh -c 'echo $$ > {work}/daemonizes-2; exec sleep 1000' & while :; do sleep 0.1; done"
            ),
        ),
        (
            "trap",
            2,
            format!(
                "trap 'sh -c \"trap : HUP TERM; echo \\$\\$ > {work}/trap-2; sleep 1000; :\" &' HUP; \
                 trap '' TERM; echo $$ > {work}/trap-1; while :; do sleep 0.1; done"
            ),
        ),
    ];
    // Neighbours: another session, and a process of this user that has nothing to do with any.
    place.session("neighbour", "exec sleep 1000");
    let neighbour = place.record("neighbour").pid.unwrap();
    let mut stranger = Command::new("sleep").arg("1000").process_group(0).stdin(Stdio::null()).spawn().unwrap();
    let (mut gone, mut survivors) = (0, 0);
    for (name, count, script) in &programs {
        place.session(name, script);
        let at_first = if *name == "trap" { 1 } else { *count };
        wait_in(&place.work(), "all its processes", || {
            (pids(&place, &format!("{name}-")).len() == at_first).then_some(())
        });
        place.ok(&["kill", "--grace", "1s", name]);
        let record = place.wait_end(name);
        let listed: Vec<u32> = record.exit.iter().flat_map(|exit| &exit.survivors).map(|left| left.pid).collect();
        survivors += listed.len();
        for pid in pids(&place, &format!("{name}-")) {
            assert!(!is_alive(pid) || listed.contains(&pid), "{name}: process {pid} lives and is not listed");
            gone += usize::from(!is_alive(pid));
        }
        assert!(pids(&place, &format!("{name}-")).len() >= at_first);
    }
    assert!(is_alive(neighbour), "the neighbour lives");
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(place.daemon().is_some(), "the daemon lives");
    println!("{} programs killed, {gone} processes gone, {survivors} listed", programs.len());
    assert!(gone + survivors >= 10, "{gone} gone, {survivors} listed");
}

#[test]
fn what_could_not_be_ended_is_listed() {
    let place = Place::new();
    place.session("s", "sleep 1000 & echo $! > child; exec sleep 1000");
    let (leader, child, holder) = (place.record("s").pid.unwrap(), place.pid_in("child"), place.holder("s"));
    let mut peer = Peer::greeted(&place, &hello("killer", "control"));
    let taken = peer.ask(r#"{"type":"takeover","id":"1","session":"s"}"#);
    assert_eq!(taken["type"], "ok", "{taken}");
    // A holder that stands still sends no signal: what it holds cannot be ended.
    signal(holder, Signal::STOP);
    let killed = peer.ask(r#"{"type":"kill","id":"1","session":"s","force":true}"#);
    assert_eq!(killed["type"], "ok", "{killed}");
    let deadline = Instant::now() + SOON;
    loop {
        let session = peer.ask(r#"{"type":"inspect","id":"1","session":"s"}"#)["result"]["session"].clone();
        if session["state"] == "Exited" {
            break;
        }
        assert!(Instant::now() < deadline, "it is never given up: {session}");
    }
    assert!(is_alive(leader) && is_alive(child));
    signal(holder, Signal::CONT);
    let exit = place.wait_end("s").exit.unwrap();
    assert!(exit.forced, "{exit:?}");
    let listed: BTreeSet<u32> = exit.survivors.iter().map(|left| left.pid).collect();
    assert_eq!(listed, BTreeSet::from([leader, child]), "{exit:?}");
    let told = place.ok(&["kill", "s"]);
    assert!(told.contains(&format!("left over: {child} sleep")), "{told}");
}

#[test]
fn a_daemon_within_the_session_and_its_ancestors_are_never_signalled() {
    let place = Place::new();
    // The program's child outlives the first daemon and starts the second one, in the foreground.
    let inner = format!(
        "echo $$ > ancestor; while [ ! -e go ]; do sleep 0.02; done; {ABIDE} up --foreground > ready 2>> log; exec sleep 1000"
    );
    place.session("s", &format!("setsid sh -c '{inner}' & exec sleep 1000"));
    let (leader, ancestor) = (place.record("s").pid.unwrap(), place.pid_in("ancestor"));
    assert_eq!(parent(ancestor), leader);
    place.kill_daemon();
    fs::write(place.work().join("go"), "").unwrap();
    wait_in(&place.work(), "the second daemon", || {
        fs::read_to_string(place.work().join("ready")).ok().filter(|line| line.contains("ready"))
    });
    let daemon = place.daemon().expect("it serves");
    assert_eq!(parent(daemon), ancestor);
    place.ok(&["kill", "--grace", "200ms", "s"]);
    assert!(ends_within(leader, SOON), "the program is gone");
    let exit = place.wait_end("s").exit.unwrap();
    assert!(!exit.forced && exit.survivors.is_empty(), "{exit:?}");
    assert!(is_alive(ancestor) && place.daemon() == Some(daemon), "who serves lives, and who started it");
}

#[test]
fn a_stranger_that_has_a_dead_leaders_number_is_nobodys() {
    let place = Place::new();
    // It leads a session, as whoever got such a number may; the dead one's began earlier.
    place.session("stranger", "sleep 1000 & echo $! > child; exec sleep 1000");
    let (pid, child) = (place.record("stranger").pid.unwrap(), place.pid_in("child"));
    let stranger = ProcessId { pid, start_time: procs::start_time(pid).unwrap() };
    let dead = ProcessId { start_time: stranger.start_time - 1, ..stranger };
    let holders = BTreeSet::from([place.holder("stranger")]);
    let (daemon, uid) = (place.daemon().unwrap(), rustix::process::getuid().as_raw());
    let guarded = Guarded { daemon, holders: &holders, uid };
    let nothing = BTreeSet::new();
    let evidence = Evidence { in_cgroup: &nothing, marked: &nothing };
    let table = procs::table().unwrap();
    let pids = |found: Vec<procs::Process>| found.iter().map(|process| process.id.pid).collect::<BTreeSet<u32>>();

    let own = BTreeSet::from([pid, child]);
    assert_eq!(pids(left_behind(&table, Some(stranger), &guarded, &evidence)), own, "it has a session of its own");
    assert_eq!(pids(left_behind(&table, Some(dead), &guarded, &evidence)), nothing);
    let mut members = Members::new(dead);
    members.leader_reaped();
    assert_eq!(pids(members.find(&table, &guarded, &evidence)), nothing);
    assert!(!procs::signal(dead, abide_terminal::kill::Signal::KILL));
    assert!(is_alive(pid) && is_alive(child));
}
