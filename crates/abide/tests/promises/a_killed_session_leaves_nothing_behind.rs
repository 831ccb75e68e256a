//! Whatever a program does against its end: after the deadline it is gone, or named as a survivor; and no process that is
//! not the session's is ever signalled.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::harness::{Place, is_alive, wait_in};

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
