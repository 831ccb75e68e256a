//! A window behaves as a person's would.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use abide_drive::{Error, Key, Options, Terminal, run};
use abide_screen::Size;

const WITHIN: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Terminal {
    Terminal::spawn(&["sh", "-c", script], &Options::default()).unwrap()
}

#[test]
fn what_is_typed_reaches_the_program() {
    let mut window = shell("echo ready; read line; echo \"got <$line>\"; exit 3");
    window.wait_for("ready", WITHIN).unwrap();
    window.type_text("a b\r").unwrap();
    window.wait_for("got <a b>", WITHIN).unwrap();
    assert_eq!(window.wait_end(WITHIN).unwrap().code(), Some(3));
    assert_eq!(window.raw_output(), b"ready\r\na b\r\ngot <a b>\r\n");
}

#[test]
fn a_control_key_is_a_signal() {
    let mut window = shell("trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.01; done");
    window.wait_for("ready", WITHIN).unwrap();
    window.key(Key::Control(b'c')).unwrap();
    assert_eq!(window.wait_end(WITHIN).unwrap().code(), Some(7));
    assert!(window.screen().contains("interrupted"));
}

#[test]
fn arrows_are_sent_as_the_program_asked_for() {
    for (mode, expected) in [("", "1b 5b 41"), ("\\033[?1h", "1b 4f 41")] {
        let mut window = shell(&format!("stty raw -echo; printf '{mode}ready'; head -c 3 | od -An -tx1"));
        window.wait_for("ready", WITHIN).unwrap();
        window.key("up".parse().unwrap()).unwrap();
        window.wait_for(expected, WITHIN).unwrap();
    }
}

#[test]
fn queries_are_answered() {
    let mut window = shell("stty raw -echo; printf '\\033[3;4H\\033[6n'; head -c 6 | tr '\\033' E");
    window.wait_for("E[3;4R", WITHIN).unwrap();
}

#[test]
fn a_resize_reaches_the_program_and_is_recorded() {
    let mut window = shell("trap 'stty size' WINCH; stty size; while :; do sleep 0.01; done");
    window.wait_for("24 80", WITHIN).unwrap();
    window.resize(Size { cols: 100, rows: 30 }).unwrap();
    window.wait_for("30 100", WITHIN).unwrap();
    let recording = window.recording();
    assert_eq!(recording, "abide recording 1\nsize 80x24\nout 24 80\\r\\n\nsize 100x30\nout 30 100\\r\\n\n");
}

#[test]
fn closing_it_hangs_up() {
    let mut window = shell("echo ready; sleep 1000");
    window.wait_for("ready", WITHIN).unwrap();
    window.close();
    assert_eq!(window.wait_end(WITHIN).unwrap().signal(), Some(1));
}

#[test]
fn what_does_not_come_is_said_with_the_screen() {
    let mut window = shell("echo this; sleep 1000");
    window.wait_for("this", WITHIN).unwrap();
    let error = window.wait_for("that", Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "\"that\" not seen; the screen is:\nthis\n");
    window.kill().unwrap();
    let error = window.wait_for("that", WITHIN).unwrap_err();
    assert!(matches!(error, Error::NotSeen { ended: true, .. }), "{error}");
    assert_eq!(window.wait_end(WITHIN).unwrap().signal(), Some(9));
}

#[test]
fn a_script_prints_screens_and_what_it_ran() {
    let script = "# two windows\nenv GREETING=hello\nsize 30x5\nwindow a\nspawn sh -c 'read x; echo \"$GREETING $x\"; read y'\n\
        type you\\r\nwait hello you\nscreen\nwindow b\nspawn sh -c 'exit 4'\nend 4\nwindow a\nkey enter\nend\nrun echo \"outside: $GREETING\"\n";
    let mut out = Vec::new();
    run(script, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "you\nhello you\noutside: hello\n");
}

#[test]
fn a_script_names_the_line_that_failed() {
    for (script, expected) in [
        ("\nfly away", "line 2: fly away"),
        ("wait here", "line 1: wait here"),
        ("spawn true\nend 1", "line 2: end 1"),
        ("spawn cat\nkey hyper", "line 2: key hyper"),
        ("run false", "line 1: run false"),
    ] {
        assert_eq!(run(script, &mut Vec::new()).unwrap_err().to_string(), expected);
    }
}
