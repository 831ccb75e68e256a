//! However many daemons are started, and whatever a dead one left behind: one serves, and every client finds it. One that
//! was put aside and comes back ends without having taken anything.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::house::{BEGINNING, House, Lines, SOON, is_alive, kill, wait_for};

const DAEMONS: usize = 10;
const CLIENTS: usize = 20;

/// Starts daemons and clients at once; all must succeed. The process ids of the daemons that serve afterwards.
fn race(house: &House) -> BTreeSet<u32> {
    let start = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let racers: Vec<Child> = (0..DAEMONS + CLIENTS)
        .map(|number| start(house.command(if number < DAEMONS { &["up"] } else { &["ls"] })))
        .collect();
    for racer in racers {
        let output = racer.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "a racer: {} {errors}", output.status);
    }
    // Those that lost the race end by themselves.
    wait_for("one daemon", || (house.daemons().len() == 1).then_some(()));
    let served = house.daemons();
    assert_eq!(served.first().copied(), house.daemon(), "the lock names the one that serves");
    served
}

#[test]
fn one_daemon_wins_the_race_whatever_lies_around() {
    let house = House::new();
    let mut served = race(&house);
    // What a killed daemon leaves: socket and lock file. Then a lock file that names a process of somebody else, which
    // has got the pid; then a socket file that nobody ever listened on.
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    for round in 0..3 {
        house.kill_daemon();
        assert!(house.socket().exists() && house.lock().exists(), "stale files are there");
        if round == 1 {
            let line =
                format!(r#"{{"pid":{},"start_time":1,"host":"h","version":"0","daemon_epoch":1}}"#, stranger.id());
            fs::write(house.lock(), line).unwrap();
        }
        if round == 2 {
            fs::remove_file(house.socket()).unwrap();
            drop(std::os::unix::net::UnixListener::bind(house.socket()).unwrap());
        }
        served.extend(race(&house));
    }
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    println!("4 races of {DAEMONS} daemons and {CLIENTS} clients, {} daemons served", served.len());
    assert_eq!(served.len(), 4);
}

#[test]
fn the_daemon_is_found_without_its_runtime_directory() {
    let house = House::new();
    let [first, second] = ["runtime-1", "runtime-2"].map(|name| house.work().join(name));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    let ls = |runtime: &std::path::Path| {
        let output = house.command(&["ls", "-o", "json"]).env("XDG_RUNTIME_DIR", runtime).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(house.command(&["up"]).env("XDG_RUNTIME_DIR", &first).status().unwrap().success());
    let daemon = house.daemon().expect("a daemon runs");
    house.session("kept", "exec sleep 1000");
    let told = ls(&first);
    assert!(told.contains("kept"), "{told}");
    fs::remove_dir_all(&first).unwrap();
    for runtime in [&first, &second] {
        assert_eq!(ls(runtime), told, "the same daemon");
    }
    assert_eq!((house.daemons().len(), house.daemon()), (1, Some(daemon)));
}

/// Starts a daemon in the foreground, and waits until it is ready.
fn in_foreground(house: &House) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = house.command(&["up", "--foreground"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line:?}");
    (child, stdout)
}

#[test]
fn a_daemon_that_was_put_aside_ends_and_takes_nothing() {
    let house = House::new();
    let (old, _old_output) = in_foreground(&house);
    let stop = house.work().join("stop");
    for name in ["a", "b"] {
        let stop = stop.display();
        house.session(
            name,
            &format!("i=0; while [ ! -e {stop} ]; do seq $i $((i+999)); i=$((i+1000)); sleep 0.02; done"),
        );
    }
    let pids = ["a", "b"].map(|name| house.record(name).pid);
    let pid = Pid::from_raw(i32::try_from(old.id()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    fs::remove_file(house.lock()).unwrap();
    fs::remove_file(house.state().join("journal/lock")).unwrap();
    let (new, _new_output) = in_foreground(&house);
    let taken = ["a", "b"].map(|name| house.record(name).end_offset.0);
    wait_for("output under the second daemon", || (house.record("a").end_offset.0 > taken[0] + 100_000).then_some(()));
    kill_process(pid, Signal::CONT).unwrap();
    let ended = old.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{log}");
    assert!(log.contains("STALE_DAEMON"), "{log}");
    assert!(is_alive(new.id()), "the second one serves on");
    assert_eq!(["a", "b"].map(|name| house.record(name).pid), pids, "the same programs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = runtime.block_on(async {
        let mut lines = 0;
        fs::write(&stop, "").unwrap();
        for name in ["a", "b"] {
            let mut stream = house.stream(&format!("reader-{name}"), name, Mode::Observer, BEGINNING);
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
    house.ok(&["up"]);
    let ends = ["a", "b"].map(|name| house.record(name).end_offset.0);
    let journalled: u64 = ["a", "b"].iter().map(|name| house.run(&["logs", name]).stdout.len() as u64).sum();
    assert_eq!(journalled, ends.iter().sum::<u64>(), "the journal is whole");
    println!("{lines} lines, {journalled} bytes of two sessions under three daemons");
    assert!(lines > 4_000, "{lines} lines");
}
