//! However many daemons are started, and whatever a dead one left behind: one serves, and every client finds it. One that
//! was put aside and comes back ends without having taken anything.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use rustix::process::Signal;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Lines, Place, SOON, ends_within, is_alive, kill, signal};

const DAEMONS: usize = 10;
const CLIENTS: usize = 20;

/// Starts daemons and clients at once; all must succeed. The process id of the daemon that serves afterwards.
fn race(place: &Place) -> u32 {
    let start = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let racers: Vec<Child> = (0..DAEMONS + CLIENTS)
        .map(|number| start(place.command([if number < DAEMONS { "up" } else { "ls" }])))
        .collect();
    for racer in racers {
        let output = racer.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "a racer: {} {errors}", output.status);
    }
    // Those that lost the race end by themselves.
    let served = place.daemon().expect("the lock names the one that serves");
    for other in place.daemons().into_iter().filter(|pid| *pid != served) {
        assert!(ends_within(other, SOON), "another one goes on: {other}");
    }
    assert_eq!(place.daemons(), [served]);
    served
}

#[test]
fn one_daemon_wins_the_race_whatever_lies_around() {
    let place = Place::new();
    let mut served = BTreeSet::from([race(&place)]);
    // What a killed daemon leaves: socket and lock file. Then a lock file that names a process of somebody else, which
    // has got the pid; then a socket file that nobody ever listened on.
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    for round in 0..3 {
        place.kill_daemon();
        assert!(place.socket().exists() && place.lock().exists(), "stale files are there");
        if round == 1 {
            let line =
                format!(r#"{{"pid":{},"start_time":1,"host":"h","version":"0","daemon_epoch":1}}"#, stranger.id());
            fs::write(place.lock(), line).unwrap();
        }
        if round == 2 {
            fs::remove_file(place.socket()).unwrap();
            drop(std::os::unix::net::UnixListener::bind(place.socket()).unwrap());
        }
        served.insert(race(&place));
    }
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    println!("4 races of {DAEMONS} daemons and {CLIENTS} clients, {} daemons served", served.len());
    assert_eq!(served.len(), 4);
}

#[test]
fn the_daemon_is_found_without_its_runtime_directory() {
    let place = Place::new();
    let [first, second] = ["runtime-1", "runtime-2"].map(|name| place.work().join(name));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    let ls = |runtime: &std::path::Path| {
        let output = place.command(["ls", "-o", "json"]).env("XDG_RUNTIME_DIR", runtime).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(place.command(["up"]).env("XDG_RUNTIME_DIR", &first).stdout(Stdio::null()).status().unwrap().success());
    let daemon = place.daemon().expect("a daemon runs");
    place.session("kept", "exec sleep 1000");
    let told = ls(&first);
    assert!(told.contains("kept"), "{told}");
    fs::remove_dir_all(&first).unwrap();
    for runtime in [&first, &second] {
        assert_eq!(ls(runtime), told, "the same daemon");
    }
    assert_eq!((place.daemons().len(), place.daemon()), (1, Some(daemon)));
}

#[test]
fn a_daemon_that_was_put_aside_ends_and_takes_nothing() {
    let place = Place::new();
    let (old, _old_output) = place.daemon_in_foreground();
    let stop = place.work().join("stop");
    for name in ["a", "b"] {
        let stop = stop.display();
        place.session(
            name,
            &format!("i=0; while [ ! -e {stop} ]; do seq $i $((i+999)); i=$((i+1000)); sleep 0.02; done"),
        );
    }
    let pids = ["a", "b"].map(|name| place.record(name).pid);
    signal(old.id(), Signal::STOP);
    fs::remove_file(place.lock()).unwrap();
    fs::remove_file(place.state().join("journal/lock")).unwrap();
    let (new, _new_output) = place.daemon_in_foreground();
    let taken = ["a", "b"].map(|name| place.record(name).end_offset.0);
    place.wait_output("a", taken[0] + 100_000);
    signal(old.id(), Signal::CONT);
    let ended = old.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{log}");
    assert!(log.contains("STALE_DAEMON"), "{log}");
    assert!(is_alive(new.id()), "the second one serves on");
    assert_eq!(["a", "b"].map(|name| place.record(name).pid), pids, "the same programs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = runtime.block_on(async {
        let mut lines = 0;
        fs::write(&stop, "").unwrap();
        for name in ["a", "b"] {
            let mut stream = place.stream(&format!("reader-{name}"), name, Mode::Observer, BEGINNING);
            let mut seen = Lines::default();
            loop {
                match timeout(SOON, stream.next()).await.expect("the stream goes on") {
                    Ok(StreamEvent::Output { bytes, .. }) => seen.take(&bytes),
                    Ok(StreamEvent::Hole(_) | StreamEvent::Skipped { .. }) => panic!("something is missing"),
                    Ok(_) => {}
                    Err(StreamEnd::Finished(_)) => break,
                    Err(StreamEnd::Failed(error)) => panic!("{error}"),
                }
            }
            lines += seen.next;
        }
        lines
    });
    // What the old one left in the journal is as readable as what the new one wrote.
    kill(new.id());
    place.ok(&["up"]);
    let ends = ["a", "b"].map(|name| place.record(name).end_offset.0);
    let journalled: u64 = ["a", "b"].iter().map(|name| place.run(&["logs", name]).stdout.len() as u64).sum();
    assert_eq!(journalled, ends.iter().sum::<u64>(), "the journal is whole");
    println!("{lines} lines, {journalled} bytes of two sessions under three daemons");
    assert!(lines > 4_000, "{lines} lines");
}

#[test]
fn a_registry_older_than_a_holder_starts_above_it() {
    let place = Place::new();
    place.start_daemon();
    place.session("s", "while :; do echo line; sleep 0.02; done");
    let pid = place.record("s").pid;
    let holder = place.holder("s");
    let (journal, older) = (place.state().join("journal"), place.work().join("older"));
    place.kill_daemon();
    let copied = Command::new("cp").arg("-a").args([&journal, &older]).status().unwrap();
    assert!(copied.success());
    // Its epoch is in the holder, and soon in no registry.
    place.start_daemon();
    place.wait_output("s", place.record("s").end_offset.0);
    place.kill_daemon();
    fs::remove_dir_all(&journal).unwrap();
    fs::rename(&older, &journal).unwrap();
    // A holder that does not answer cannot tell its epoch before one is chosen.
    signal(holder, Signal::STOP);
    place.start_daemon();
    let daemon = place.daemon();
    signal(holder, Signal::CONT);
    place.wait_output("s", place.record("s").end_offset.0);
    assert!(place.log().contains("STALE_DAEMON"), "{}", place.log());
    assert_eq!((place.daemon(), place.record("s").pid), (daemon, pid), "the same daemon and program");
}

#[test]
fn a_stale_socket_is_replaced_and_a_second_start_is_told() {
    let place = Place::new();
    place.start_daemon();
    place.kill_daemon();
    assert!(place.socket().exists(), "a killed daemon leaves its socket");
    assert_eq!(place.ok(&["ls", "-o", "json"]), "[]\n");
    assert!(place.ok(&["up"]).contains("\"already\":true"));
    assert_eq!(place.daemons().len(), 1);
}

#[test]
fn one_that_only_looks_starts_none() {
    let place = Place::new();
    let output = place.run(&["ls", "--no-start"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let output = place.run(&["stop"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no daemon"), "{output:?}");
    assert!(place.daemons().is_empty());
}

#[test]
fn a_long_path_is_no_obstacle() {
    let place = Place::new();
    let deep = place.work().join("d".repeat(60)).join("e".repeat(60));
    let output =
        place.command(["run", "-d", "--name", "s", "--", "cat"]).env("XDG_STATE_HOME", &deep).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = place.command(["ls"]).env("XDG_STATE_HOME", &deep).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("s     Running"), "{output:?}");
}
