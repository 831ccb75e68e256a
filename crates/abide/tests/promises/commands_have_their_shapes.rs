//! What each command prints for programs: the fields of its JSON, the flags of its help, its exit status.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use serde_json::{Map, Value};

use crate::harness::Place;

/// A value with the kind of each scalar in its place, and of an array its first element alone.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(all) => all.iter().take(1).map(shape).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect::<Map<_, _>>().into()
        }
    }
}

/// The shape of what a command prints as JSON.
fn printed(place: &Place, args: &[&str]) -> Value {
    let whole: Value = serde_json::from_str(&place.ok(&[&["-o", "json"], args].concat())).unwrap();
    shape(&whole)
}

/// Names of the fields of an object, in order.
fn fields(value: &Value) -> String {
    value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

const RECORD: &str = "args base_offset cols command created_at cwd detached_at end_offset id incarnation key labels name \
    observers owner_epoch pid restore rows started_at state takeover";

#[test]
fn of_sessions() {
    let place = Place::new();
    let created = printed(&place, &["run", "-d", "--name", "s", "--", "sleep", "1000"]);
    assert_eq!(fields(&created), RECORD);
    assert_eq!(fields(&printed(&place, &["ls"])[0]), RECORD);
    let lines = place.ok(&["ls", "-o", "jsonl"]);
    assert_eq!(fields(&serde_json::from_str(lines.trim_end()).unwrap()), RECORD);
    let inspected = printed(&place, &["inspect", "s"]);
    assert_eq!((fields(&inspected), fields(&inspected["session"])), ("session streams".to_owned(), RECORD.to_owned()));
    assert_eq!(fields(&printed(&place, &["rename", "s", "t"])), RECORD);
    assert_eq!(printed(&place, &["resize", "t", "100x30"]).to_string(), r#"{"cols":"number","rows":"number"}"#);
    assert_eq!(printed(&place, &["release", "t"]).to_string(), r#"{"owner_epoch":"number"}"#);
    assert_eq!(printed(&place, &["signal", "t", "CONT"]).to_string(), "{}");
    let killed = printed(&place, &["kill", "t"]);
    assert_eq!((&killed["exit"]["signal"], &killed["state"]), (&"string".into(), &"string".into()), "{killed}");
    assert_eq!(place.ok(&["rm", "t", "--quiet"]), "");
}

#[test]
fn of_the_daemon_and_the_machine() {
    let place = Place::new();
    let ready = place.ok(&["up"]);
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(
        shape(&ready).to_string(),
        r#"{"daemon_epoch":"number","pid":"number","ready":"bool","socket":"string"}"#
    );
    let already: Value = serde_json::from_str(&place.ok(&["up"])).unwrap();
    assert_eq!(fields(&already), "already ready socket");
    let report = printed(&place, &["recover"]);
    assert_eq!(fields(&report), "at boot_id daemon_epoch sessions took_ms");
    let findings = printed(&place, &["doctor"]);
    assert_eq!(fields(&findings[0]), "check level message");
    assert_eq!(fields(&printed(&place, &["config", "show"])[0]), "about key value");
    assert_eq!(fields(&printed(&place, &["config", "show", "--origin"])[0]), "about key origin value");
    let formats: Value = serde_json::from_str(&place.ok(&["up", "--check"])).unwrap();
    assert_eq!(fields(&formats), "boot holders store");
}

#[test]
fn of_failures() {
    let place = Place::new();
    place.session("s", "exec cat");
    place.session("t", "exec cat");
    // Wherever the global flags stand.
    for args in [&["-o", "json", "resize", "nobody", "80x24"][..], &["resize", "nobody", "80x24", "-o", "jsonl"]] {
        let output = place.run(args);
        let object: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!((output.status.code(), fields(&object).as_str()), (Some(5), "code hint message retry subject"));
        assert!(output.stdout.is_empty());
    }
    for (status, args) in [
        (1, &["rm", "s"][..]),
        (1, &["release", "s", "--to", "nobody"]),
        (2, &["no-such-command"]),
        (2, &["ls", "--no-such-flag"]),
        (2, &["resize", "s", "large"]),
        (2, &["replay", "s", "--speed", "0"]),
        (2, &["replay", "s", "--idle-max", "2"]),
        (2, &["export", "s", "--format", "gif"]),
        (2, &["logs", "s", "--plain", "--raw"]),
        (2, &["inspect"]),
        (5, &["logs", "nobody"]),
        (5, &["replay", "nobody"]),
        (5, &["export", "nobody"]),
        (5, &["signal", "nobody", "INT"]),
        (5, &["wait", "s", "--match", "never", "--timeout", "10ms"]),
        (125, &["run", "--cwd", "/no/such/place"]),
        (126, &["run", "--", "/"]),
        (127, &["run", "--", "no-such-program"]),
    ] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() || status == 5, "{args:?}: {output:?}");
    }
}

#[test]
fn a_daemon_that_says_nothing_is_waited_for_no_longer_than_asked() {
    let place = Place::new();
    fs::create_dir_all(place.socket().parent().unwrap()).unwrap();
    let _silent = UnixListener::bind(place.socket()).unwrap();
    for args in [&["--timeout", "50ms", "ls", "--no-start"][..], &["ls", "--no-start", "--timeout", "50ms"]] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("(DAEMON_UNREACHABLE). Try: "), "{output:?}");
    }
}

#[test]
fn of_help_completions_and_manual_pages() {
    let place = Place::new();
    for (command, flags) in [
        ("run", "--name --detach --cwd --env --clear-env --restore --label --key --no-login"),
        ("attach", "--observe --take --create --detach-key"),
        ("ls", "--all --label --no-start"),
        ("logs", "--follow --from --tail --raw --plain"),
        ("replay", "--speed --idle-max --from"),
        ("export", "--format --out"),
        ("kill", "--force --grace --signal --label"),
        ("signal", "--target --take"),
        ("resize", "--take"),
        ("release", "--to"),
        ("rm", "--all-finalized"),
        ("recover", "--as"),
        ("up", "--foreground --check"),
        ("restart", "--binary"),
        ("stop", "--terminate"),
        ("doctor", "--fix"),
        ("screen wait events inspect rename completions manual", ""),
    ] {
        for command in command.split(' ') {
            let help = place.ok(&[command, "--help"]);
            for flag in
                flags.split_whitespace().chain(["--config", "--output", "--quiet", "--timeout", "Example: abide"])
            {
                assert!(help.contains(flag), "{command} {flag}: {help}");
            }
        }
    }
    assert!(place.ok(&["service", "install", "--help"]).contains("--no-linger"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.ok(&["completions", shell]);
        assert!(script.contains("replay") && script.contains("idle-max"), "{shell}");
    }
    place.ok(&["manual", "man/man1"]);
    let page = |name: &str| fs::read_to_string(place.work().join("man/man1").join(name)).unwrap();
    assert!(page("abide.1").contains("abide\\-replay(1)"), "{}", page("abide.1"));
    assert!(page("abide-replay.1").contains("Example: abide replay build"), "{}", page("abide-replay.1"));
    assert!(page("abide-journal-ls.1").starts_with(".ie"), "{}", page("abide-journal-ls.1"));
    assert!(!place.state().exists(), "none of it starts anything");
    // A pipe that nobody reads is no failure.
    let mut script = place.command(["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(script.stdout.take());
    assert!(script.wait().unwrap().success());
}
