//! A program that is lost with its holder or its machine is followed by what its policy says, and by nothing else: each
//! session is decided once, with one code, and the report names all of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use abide_terminal::client::{Stream, StreamEvent};
use abide_terminal::protocol::{EntryOutcome, Mode, RecoveryReport, ReportEntry, Restored, StartAt};
use abide_terminal::{ExitKind, Incarnation, Record, RestoreAs, State};
use tokio::time::timeout;

use crate::harness::{BEGINNING, Place, SOON, ends_within, kill, wait_in};

/// A session that counts its starts in a file, says who it is, and reads on.
fn counting(place: &Place, name: &str, restore: &str) {
    let script = format!("echo start >> {name}; echo $ABIDE_INCARNATION $MARK $PWD; exec cat");
    let run = ["run", "-d", "--name", name, "--restore", restore, "--env", "MARK=kept", "--", "sh", "-c", &script];
    place.ok(&run);
}

fn starts(place: &Place, name: &str) -> usize {
    fs::read_to_string(place.work().join(name)).map_or(0, |text| text.lines().count())
}

/// The machine goes down: daemon, holders and programs at once; then a daemon starts in another boot.
fn reboot(place: &Place, names: &[&str]) {
    let living: Vec<(u32, u32)> =
        names.iter().map(|name| (place.holder(name), place.record(name).pid.unwrap())).collect();
    place.kill_daemon();
    for (holder, program) in living {
        kill(holder);
        kill(program);
    }
    boot_again(place);
}

fn boot_again(place: &Place) {
    let mut up = place.command(["up"]);
    assert!(up.env("ABIDE_TEST_BOOT_ID", "6b1f0000000000000000000000000001").output().unwrap().status.success());
}

fn report(place: &Place) -> BTreeMap<String, ReportEntry> {
    let report: RecoveryReport = serde_json::from_str(&place.ok(&["recover", "-o", "json"])).unwrap();
    let count = report.sessions.len();
    let entries: BTreeMap<_, _> = report.sessions.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
    assert_eq!(entries.len(), count, "each session is told of once");
    entries
}

/// What the report says of a session: its outcome and its code.
fn told(place: &Place, name: &str) -> (EntryOutcome, Option<String>) {
    let entries = report(place);
    let entry = entries.get(name).unwrap_or_else(|| panic!("{name}: {entries:?}"));
    (entry.outcome, entry.code.map(|code| code.to_string()))
}

/// A session once its program runs. Nothing tells of this: each look is a command of its own.
fn running(place: &Place, name: &str) -> Record {
    let deadline = Instant::now() + SOON;
    loop {
        let record = place.record(name);
        if record.state == State::Running {
            return record;
        }
        assert!(Instant::now() < deadline, "it does not run: {record:?}");
    }
}

fn prints(place: &Place, name: &str, text: &str) {
    place.wait_printed(name, text, |printed| printed.contains(text).then_some(()));
}

#[test]
fn after_a_reboot_each_policy_has_its_consequence() {
    let place = Place::new().with("ABIDE_TERMINAL_SHELL", "/bin/sh");
    let policies = ["never", "offer", "shell", "command"];
    for policy in policies {
        counting(&place, policy, policy);
        prints(&place, policy, "1 kept");
    }
    let before = place.record("command");
    reboot(&place, &policies);

    let rebooted = Some("HOST_REBOOTED".to_owned());
    let lost = Some(ExitKind::Lost("HOST_REBOOTED".to_owned()));
    for (name, outcome) in [("never", EntryOutcome::Unrecoverable), ("offer", EntryOutcome::Offered)] {
        let record = place.wait_end(name);
        assert_eq!(record.exit.map(|exit| exit.kind), lost, "{name}");
        assert_eq!(told(&place, name), (outcome, rebooted.clone()), "{name}");
    }
    for (name, restored_as) in [("shell", RestoreAs::Shell), ("command", RestoreAs::Command)] {
        let record = running(&place, name);
        assert_eq!((record.incarnation, record.exit), (Incarnation(2), None), "{name}");
        assert_eq!(record.recovery.map(|recovery| recovery.outcome).as_deref(), Some("restored"));
        assert_eq!(told(&place, name), (EntryOutcome::Restored, rebooted.clone()), "{name}");
        let expected = if restored_as == RestoreAs::Shell { "/bin/sh" } else { "sh" };
        assert_eq!(record.command, expected);
    }
    // Directory, environment and history are the same, offsets go on.
    prints(&place, "command", &format!("2 kept {}", place.work().display()));
    prints(&place, "command", "1 kept");
    assert!(place.record("command").end_offset > before.end_offset);
    assert_eq!(place.record("command").id, before.id);
    assert_eq!(report(&place).len(), policies.len());
    assert_eq!(policies.map(|name| starts(&place, name)), [1, 1, 1, 2], "nothing runs that nobody asked for");

    // An offer is taken up by whoever asks, a session without a policy by nobody.
    assert_eq!(place.run(&["recover", "never"]).status.code(), Some(1));
    assert_eq!(place.run(&["recover", "command"]).status.code(), Some(1), "it runs");
    assert_eq!(place.ok(&["recover", "offer", "--as", "command"]), "restored offer\n");
    assert_eq!(running(&place, "offer").incarnation, Incarnation(2));
    prints(&place, "offer", "2 kept");
    assert_eq!(starts(&place, "offer"), 2);
    println!("4 policies over a reboot, 3 programs started again");
}

#[test]
fn a_program_that_ended_alone_is_not_restored_and_what_is_missing_is_counted() {
    let place = Place::new();
    let go = place.work().join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", go.display());
    for name in ["told", "lost"] {
        place.ok(&[
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
    let program = |name: &str| place.record(name).pid.unwrap();
    let (programs, holders) = ([program("told"), program("lost")], ["told", "lost"].map(|name| place.holder(name)));
    place.kill_daemon();
    fs::write(&go, "").unwrap();
    assert!(programs.iter().all(|pid| ends_within(*pid, SOON)), "the programs end");
    let records = place.state().join("holders");
    let count = || fs::read_dir(&records).unwrap().flatten().filter(|file| is_exit_record(&file.path())).count();
    wait_in(&records, "the ends are on the disk", || (count() == 2).then_some(()));
    // The holders go down with the machine, and what they held with them.
    holders.into_iter().for_each(kill);
    boot_again(&place);
    for name in ["told", "lost"] {
        let record = place.wait_end(name);
        assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::Code(7)), "{name}: its true status");
        assert_eq!(told(&place, name), (EntryOutcome::Unrecoverable, Some("HOST_REBOOTED".to_owned())));
        let lost = report(&place)[name].lost_bytes.and_then(|lost| lost.bytes);
        assert_eq!(lost, Some(record.end_offset.0), "{name}: all that it printed, 10 lines");
        assert_eq!(record.end_offset.0, 30);
    }
    wait_in(&records, "exit records are removed", || (count() == 0).then_some(()));
    println!("2 programs that ended alone, {} bytes missing", 2 * 30);
}

fn is_exit_record(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "exit")
}

/// Loses a session after something was done to what it needs; what is told of it then.
fn spoiled(name: &str, spoil: impl FnOnce(&Place)) -> (Place, Record, (EntryOutcome, Option<String>)) {
    let place = Place::new();
    let directory = place.work().join("place");
    fs::create_dir(&directory).unwrap();
    let program = place.work().join("program");
    fs::write(&program, "#!/bin/sh\nexec cat\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (cwd, program) = (directory.display().to_string(), program.display().to_string());
    place.ok(&["run", "-d", "--name", name, "--cwd", &cwd, "--restore", "command", "--", &program]);
    let (holder, pid) = (place.holder(name), place.record(name).pid.unwrap());
    place.kill_daemon();
    kill(holder);
    kill(pid);
    spoil(&place);
    boot_again(&place);
    let record = place.wait_end(name);
    let told = told(&place, name);
    (place, record, told)
}

#[test]
fn a_restore_that_cannot_be_done_says_why() {
    let directory = |place: &Place| place.work().join("place");
    let program = |place: &Place| place.work().join("program");
    let lost = ExitKind::Lost("HOST_REBOOTED".to_owned());
    let mode = |path: std::path::PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mut codes = 0;
    let mut check = |code: &str, spoil: &dyn Fn(&Place)| {
        let (_, record, told) = spoiled("spoiled", spoil);
        assert_eq!(record.exit.map(|exit| exit.kind), Some(lost.clone()), "{code}: the loss stays");
        assert_eq!(told, (EntryOutcome::Unrecoverable, Some(code.to_owned())));
        assert_eq!(record.recovery.and_then(|recovery| recovery.code).as_deref(), Some(code));
        codes += 1;
    };
    check("CWD_MISSING", &|place| fs::remove_dir(directory(place)).unwrap());
    check("CWD_NOT_DIRECTORY", &|place| {
        fs::remove_dir(directory(place)).unwrap();
        fs::write(directory(place), "").unwrap();
    });
    check("COMMAND_NOT_FOUND", &|place| fs::remove_file(program(place)).unwrap());
    check("PERMISSION_DENIED", &|place| mode(program(place), 0o644));
    println!("{codes} reasons");

    // What only executing it shows leaves a session that may be recovered once that is mended.
    let (place, record, told) = spoiled("garbled", |place| fs::write(program(place), "\u{1}garbled").unwrap());
    assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::SpawnFailed("EXEC_FORMAT".to_owned())));
    assert_eq!(told.0, EntryOutcome::Restored);
    fs::write(program(&place), "#!/bin/sh\nexec cat\n").unwrap();
    place.ok(&["recover", "garbled"]);
    assert_eq!(running(&place, "garbled").incarnation, Incarnation(3));
}

/// Reads on until this was seen in the output; the events that were no output.
async fn until(stream: &mut Stream, seen: &mut Vec<u8>, text: &str) -> Vec<StreamEvent> {
    let mut events = Vec::new();
    while !String::from_utf8_lossy(seen).contains(text) {
        match timeout(SOON, stream.next()).await.expect("the stream goes on") {
            Ok(StreamEvent::Output { bytes, .. } | StreamEvent::Snapshot { bytes, .. }) => {
                seen.extend_from_slice(&bytes);
            }
            Ok(event) => events.push(event),
            Err(end) => panic!("the stream ended: {end:?}"),
        }
    }
    events
}

#[test]
fn an_attached_user_goes_on_in_the_program_that_follows() {
    let place = Place::new();
    counting(&place, "held", "command");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = place.stream("owner", "held", Mode::Owner, BEGINNING);
        let mut seen = Vec::new();
        until(&mut stream, &mut seen, "1 kept").await;
        assert_eq!(stream.write(b"first\n"), 6);
        until(&mut stream, &mut seen, "first\r\nfirst\r\n").await;
        let end = u64::try_from(seen.len()).unwrap();
        kill(place.holder("held"));
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
        let mut looker = place.stream("looker", "held", Mode::Observer, StartAt::Snapshot);
        until(&mut looker, &mut drawn, "second").await;
        let text = String::from_utf8_lossy(&drawn).into_owned();
        let order = ["first", "restored after HOLDER_LOST", "2 kept"].map(|part| text.find(part));
        assert!(order.is_sorted() && order[0].is_some(), "the seam is drawn between the two: {order:?} {text:?}");
    });
    let record = place.record("held");
    assert_eq!(record.owner.map(|owner| owner.to_string()).as_deref(), Some("owner"));
    assert_eq!(starts(&place, "held"), 2);
}

#[test]
fn a_program_that_takes_its_holder_down_each_time_is_not_started_for_ever() {
    let place = Place::new();
    let script = "echo start >> looping; kill -KILL $PPID; exec cat";
    place.run(&["run", "-d", "--name", "looping", "--restore", "command", "--", "sh", "-c", script]);
    let record = place.wait_end("looping");
    assert_eq!(record.recovery.and_then(|recovery| recovery.code).as_deref(), Some("RESTORE_FAILED"));
    assert_eq!((starts(&place, "looping"), record.incarnation), (4, Incarnation(4)), "once, and 3 restores");
    let refused = place.run(&["recover", "looping"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("RESTORE_FAILED"), "{refused:?}");
}

#[test]
fn a_name_that_was_taken_meanwhile_gets_a_number() {
    let place = Place::new();
    counting(&place, "build", "offer");
    kill(place.holder("build"));
    let lost = place.wait_end("build");
    assert_eq!(lost.recovery.map(|recovery| recovery.outcome).as_deref(), Some("offered"));
    place.session("build", "exec cat");
    let id = lost.id.to_string();
    assert_eq!(place.ok(&["recover", &id, "--as", "command"]), "restored build-2\n");
    assert_eq!((place.record("build-2").id, place.record("build-2").state), (lost.id, State::Running));
    assert_ne!(place.record("build").id, lost.id);
}

/// Where a daemon crashes on its way from the loss of a program to the next one, in the order in which it passes.
const PLACES: [&str; 10] = [
    "probed",
    "boot_recorded",
    "recovered_recorded",
    "exited_recorded",
    "restoring_recorded",
    "launched",
    "adopted",
    "start_recorded",
    "started_told",
    "started_recorded",
];

#[test]
fn a_crash_on_the_way_restores_it_once() {
    for crash in PLACES {
        let place = Place::new();
        counting(&place, "held", "command");
        prints(&place, "held", "1 kept");
        let (holder, program) = (place.holder("held"), place.record("held").pid.unwrap());
        place.kill_daemon();
        kill(holder);
        kill(program);
        let mut up = place.command(["up"]);
        up.env("ABIDE_TEST_BOOT_ID", "6b1f0000000000000000000000000001").env("ABIDE_TEST_FAIL_AT", crash);
        up.output().unwrap();
        wait_in(&place.state(), "the crash", || place.log().contains("crashes here").then_some(()));
        let crashed = place.daemon().is_none_or(|daemon| ends_within(daemon, SOON));
        assert!(crashed, "{crash}: the daemon is gone");
        boot_again(&place);
        prints(&place, "held", "2 kept");
        let record = running(&place, "held");
        assert_eq!((record.incarnation, starts(&place, "held")), (Incarnation(2), 2), "{crash}: one more start");
        assert_eq!(place.log().matches("crashes here").count(), 1, "{crash}: it struck once");
    }
    println!("{} places of a restore", PLACES.len());
}
