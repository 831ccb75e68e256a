//! A program that is lost with its holder or its machine is followed by what its policy says, and by nothing else: each
//! session is decided once, with one code, and the report names all of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use abide_terminal::client::{Stream, StreamEvent};
use abide_terminal::protocol::{EntryOutcome, Mode, RecoveryReport, ReportEntry, Restored, StartAt};
use abide_terminal::{ExitKind, Incarnation, Record, RestoreAs, State};
use tokio::time::timeout;

use crate::house::{BEGINNING, House, SOON, is_alive, kill, wait_for};

/// A session that counts its starts in a file, says who it is, and reads on.
fn counting(house: &House, name: &str, restore: &str) {
    let script = format!("echo start >> {name}; echo $ABIDE_INCARNATION $MARK $PWD; exec cat");
    let run = ["run", "-d", "--name", name, "--restore", restore, "--env", "MARK=kept", "--", "sh", "-c", &script];
    house.ok(&run);
}

fn starts(house: &House, name: &str) -> usize {
    fs::read_to_string(house.work().join(name)).map_or(0, |text| text.lines().count())
}

/// The machine goes down: daemon, holders and programs at once; then a daemon starts in another boot.
fn reboot(house: &House, names: &[&str]) {
    let living: Vec<(u32, u32)> =
        names.iter().map(|name| (house.holder(name), house.record(name).pid.unwrap())).collect();
    house.kill_daemon();
    for (holder, program) in living {
        kill(holder);
        kill(program);
    }
    boot_again(house);
}

fn boot_again(house: &House) {
    let mut up = house.command(&["up"]);
    assert!(up.env("ABIDE_TEST_BOOT_ID", "6b1f0000000000000000000000000001").status().unwrap().success());
}

fn report(house: &House) -> BTreeMap<String, ReportEntry> {
    let report: RecoveryReport = serde_json::from_str(&house.ok(&["recover", "-o", "json"])).unwrap();
    let count = report.sessions.len();
    let entries: BTreeMap<_, _> = report.sessions.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
    assert_eq!(entries.len(), count, "each session is told of once");
    entries
}

/// What the report says of a session: its outcome and its code.
fn told(house: &House, name: &str) -> (EntryOutcome, Option<String>) {
    let entries = report(house);
    let entry = entries.get(name).unwrap_or_else(|| panic!("{name}: {entries:?}"));
    (entry.outcome, entry.code.map(|code| code.to_string()))
}

fn in_state(house: &House, name: &str, state: State) -> Record {
    wait_for(name, || {
        let record = house.record(name);
        (record.state == state).then_some(record)
    })
}

fn logs_hold(house: &House, name: &str, text: &str) {
    wait_for("the output", || String::from_utf8_lossy(&house.run(&["logs", name]).stdout).contains(text).then_some(()));
}

#[test]
fn after_a_reboot_each_policy_has_its_consequence() {
    let house = House::new().with("ABIDE_TERMINAL_SHELL", "/bin/sh");
    let policies = ["never", "offer", "shell", "command"];
    for policy in policies {
        counting(&house, policy, policy);
        logs_hold(&house, policy, "1 kept");
    }
    let before = house.record("command");
    reboot(&house, &policies);

    let rebooted = Some("HOST_REBOOTED".to_owned());
    let lost = Some(ExitKind::Lost("HOST_REBOOTED".to_owned()));
    for (name, outcome) in [("never", EntryOutcome::Unrecoverable), ("offer", EntryOutcome::Offered)] {
        let record = in_state(&house, name, State::Finalized);
        assert_eq!(record.exit.map(|exit| exit.kind), lost, "{name}");
        assert_eq!(told(&house, name), (outcome, rebooted.clone()), "{name}");
    }
    for (name, restored_as) in [("shell", RestoreAs::Shell), ("command", RestoreAs::Command)] {
        let record = in_state(&house, name, State::Running);
        assert_eq!((record.incarnation, record.exit), (Incarnation(2), None), "{name}");
        assert_eq!(record.recovery.map(|recovery| recovery.outcome).as_deref(), Some("restored"));
        assert_eq!(told(&house, name), (EntryOutcome::Restored, rebooted.clone()), "{name}");
        let expected = if restored_as == RestoreAs::Shell { "/bin/sh" } else { "sh" };
        assert_eq!(record.command, expected);
    }
    // Directory, environment and history are the same, offsets go on.
    logs_hold(&house, "command", &format!("2 kept {}", house.work().display()));
    logs_hold(&house, "command", "1 kept");
    assert!(house.record("command").end_offset > before.end_offset);
    assert_eq!(house.record("command").id, before.id);
    assert_eq!(report(&house).len(), policies.len());
    assert_eq!(policies.map(|name| starts(&house, name)), [1, 1, 1, 2], "nothing runs that nobody asked for");

    // An offer is taken up by whoever asks, a session without a policy by nobody.
    assert_eq!(house.run(&["recover", "never"]).status.code(), Some(1));
    assert_eq!(house.run(&["recover", "command"]).status.code(), Some(1), "it runs");
    assert_eq!(house.ok(&["recover", "offer", "--as", "command"]), "restored offer\n");
    assert_eq!(in_state(&house, "offer", State::Running).incarnation, Incarnation(2));
    logs_hold(&house, "offer", "2 kept");
    assert_eq!(starts(&house, "offer"), 2);
    println!("4 policies over a reboot, 3 programs started again");
}

#[test]
fn a_program_that_ended_alone_is_not_restored_and_what_is_missing_is_counted() {
    let house = House::new();
    let go = house.work().join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", go.display());
    for name in ["told", "lost"] {
        house.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--restore",
            "command",
            "--",
            "sh",
            "-c",
            &format!("{wait}; seq 0 9; exit 7"),
        ]);
    }
    let program = |name: &str| house.record(name).pid.unwrap();
    let (programs, holders) = ([program("told"), program("lost")], ["told", "lost"].map(|name| house.holder(name)));
    house.kill_daemon();
    fs::write(&go, "").unwrap();
    wait_for("the programs end", || (!programs.iter().any(|pid| is_alive(*pid))).then_some(()));
    wait_for("the ends are on the disk", || {
        (fs::read_dir(house.state().join("holders")).unwrap().count() == 2).then_some(())
    });
    // The holders go down with the machine, and what they held with them.
    holders.into_iter().for_each(kill);
    boot_again(&house);
    for name in ["told", "lost"] {
        let record = in_state(&house, name, State::Finalized);
        assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::Code(7)), "{name}: its true status");
        assert_eq!(told(&house, name), (EntryOutcome::Unrecoverable, Some("HOST_REBOOTED".to_owned())));
        let lost = report(&house)[name].lost_bytes.and_then(|lost| lost.bytes);
        assert_eq!(lost, Some(record.end_offset.0), "{name}: all that it printed, 10 lines");
        assert_eq!(record.end_offset.0, 30);
    }
    let left = wait_for("exit records are removed", || {
        let left = fs::read_dir(house.state().join("holders")).unwrap().count();
        (left == 0).then_some(left)
    });
    println!("2 programs that ended alone, {left} records left");
}

/// Loses a session after something was done to what it needs; what is told of it then.
fn spoiled(name: &str, spoil: impl FnOnce(&House)) -> (House, Record, (EntryOutcome, Option<String>)) {
    let house = House::new();
    let place = house.work().join("place");
    fs::create_dir(&place).unwrap();
    let program = house.work().join("program");
    fs::write(&program, "#!/bin/sh\nexec cat\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (cwd, program) = (place.display().to_string(), program.display().to_string());
    house.ok(&["run", "-d", "--name", name, "--cwd", &cwd, "--restore", "command", "--", &program]);
    let (holder, pid) = (house.holder(name), house.record(name).pid.unwrap());
    house.kill_daemon();
    kill(holder);
    kill(pid);
    spoil(&house);
    boot_again(&house);
    let record = in_state(&house, name, State::Finalized);
    let told = told(&house, name);
    (house, record, told)
}

#[test]
fn a_restore_that_cannot_be_done_says_why() {
    let place = |house: &House| house.work().join("place");
    let program = |house: &House| house.work().join("program");
    let lost = ExitKind::Lost("HOST_REBOOTED".to_owned());
    let mode = |path: std::path::PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mut codes = 0;
    let mut check = |code: &str, spoil: &dyn Fn(&House)| {
        let (_, record, told) = spoiled("spoiled", spoil);
        assert_eq!(record.exit.map(|exit| exit.kind), Some(lost.clone()), "{code}: the loss stays");
        assert_eq!(told, (EntryOutcome::Unrecoverable, Some(code.to_owned())));
        assert_eq!(record.recovery.and_then(|recovery| recovery.code).as_deref(), Some(code));
        codes += 1;
    };
    check("CWD_MISSING", &|house| fs::remove_dir(place(house)).unwrap());
    check("CWD_NOT_DIRECTORY", &|house| {
        fs::remove_dir(place(house)).unwrap();
        fs::write(place(house), "").unwrap();
    });
    check("COMMAND_NOT_FOUND", &|house| fs::remove_file(program(house)).unwrap());
    check("PERMISSION_DENIED", &|house| mode(program(house), 0o644));
    println!("{codes} reasons");

    // What only executing it shows leaves a session that may be recovered once that is mended.
    let (house, record, told) = spoiled("garbled", |house| fs::write(program(house), "\u{1}garbled").unwrap());
    assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::SpawnFailed("EXEC_FORMAT".to_owned())));
    assert_eq!(told.0, EntryOutcome::Restored);
    fs::write(program(&house), "#!/bin/sh\nexec cat\n").unwrap();
    house.ok(&["recover", "garbled"]);
    assert_eq!(in_state(&house, "garbled", State::Running).incarnation, Incarnation(3));
}

/// Reads on until this was seen in the output; the events that were no output.
async fn until(stream: &mut Stream, seen: &mut Vec<u8>, text: &str) -> Vec<StreamEvent> {
    let mut events = Vec::new();
    while !String::from_utf8_lossy(seen).contains(text) {
        match timeout(SOON, stream.next()).await.expect("the stream goes on") {
            Ok(StreamEvent::Output { bytes, .. } | StreamEvent::Snapshot { bytes, .. }) => {
                seen.extend_from_slice(&bytes)
            }
            Ok(event) => events.push(event),
            Err(end) => panic!("the stream ended: {end:?}"),
        }
    }
    events
}

#[test]
fn an_attached_user_goes_on_in_the_program_that_follows() {
    let house = House::new();
    counting(&house, "held", "command");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = house.stream("owner", "held", Mode::Owner, BEGINNING);
        let mut seen = Vec::new();
        until(&mut stream, &mut seen, "1 kept").await;
        assert_eq!(stream.write(b"first\n"), 6);
        until(&mut stream, &mut seen, "first\r\nfirst\r\n").await;
        let end = u64::try_from(seen.len()).unwrap();
        kill(house.holder("held"));
        let events = until(&mut stream, &mut seen, "2 kept").await;
        let restored: Vec<&Restored> = events
            .iter()
            .filter_map(|event| match event {
                StreamEvent::Restored(restored) => Some(restored),
                _ => None,
            })
            .collect();
        let [restored] = restored[..] else { panic!("{events:?}") };
        assert_eq!((restored.incarnation, restored.r#as, restored.offset.0), (Incarnation(2), RestoreAs::Command, end));
        assert_eq!(restored.code, "HOLDER_LOST");
        let ended = events.iter().any(|event| matches!(event, StreamEvent::Exited(_) | StreamEvent::Away));
        assert!(!ended, "the stream stays: {events:?}");
        // Who was there owns it still.
        assert_eq!(stream.write(b"second\n"), 7);
        until(&mut stream, &mut seen, "second\r\nsecond\r\n").await;

        let mut drawn = Vec::new();
        let mut looker = house.stream("looker", "held", Mode::Observer, StartAt::Snapshot);
        until(&mut looker, &mut drawn, "second").await;
        let text = String::from_utf8_lossy(&drawn).into_owned();
        let order = ["first", "restored after HOLDER_LOST", "2 kept"].map(|part| text.find(part));
        assert!(order.is_sorted() && order[0].is_some(), "the seam is drawn between the two: {order:?} {text:?}");
    });
    let record = house.record("held");
    assert_eq!(record.owner.map(|owner| owner.to_string()).as_deref(), Some("owner"));
    assert_eq!(starts(&house, "held"), 2);
}

#[test]
fn a_program_that_takes_its_holder_down_each_time_is_not_started_for_ever() {
    let house = House::new();
    let script = "echo start >> looping; kill -KILL $PPID; exec cat";
    house.run(&["run", "-d", "--name", "looping", "--restore", "command", "--", "sh", "-c", script]);
    let record = in_state(&house, "looping", State::Finalized);
    assert_eq!(record.recovery.and_then(|recovery| recovery.code).as_deref(), Some("RESTORE_FAILED"));
    assert_eq!((starts(&house, "looping"), record.incarnation), (4, Incarnation(4)), "once, and 3 restores");
    let refused = house.run(&["recover", "looping"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("RESTORE_FAILED"), "{refused:?}");
}

#[test]
fn a_name_that_was_taken_meanwhile_gets_a_number() {
    let house = House::new();
    counting(&house, "build", "offer");
    kill(house.holder("build"));
    let lost = in_state(&house, "build", State::Finalized);
    assert_eq!(lost.recovery.map(|recovery| recovery.outcome).as_deref(), Some("offered"));
    house.session("build", "exec cat");
    let id = lost.id.to_string();
    assert_eq!(house.ok(&["recover", &id, "--as", "command"]), "restored build-2\n");
    assert_eq!((house.record("build-2").id, house.record("build-2").state), (lost.id, State::Running));
    assert_ne!(house.record("build").id, lost.id);
}
