use super::*;
use crate::record::Takeover;

const FILE: &str = "/etc/abide.toml";

fn load(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Options, Error> {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    let flags = flags.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    Options::load(Some((Path::new(FILE), text)), environment, flags)
}

#[track_caller]
fn refused(result: Result<Options, Error>) -> String {
    result.expect_err("it is refused").to_string()
}

#[test]
fn without_anything_given_the_defaults_are_in_force() {
    let options = Options::load(None, [], []).expect("the defaults are good");
    assert_eq!(options, Options::default());
    assert_eq!(options.terminal.ring_bytes, 262_144);
    assert_eq!(options.terminal.detach_key.byte(), 0x1C);
    assert_eq!(options.journal.sync_interval_ms, 1_000);
    assert!(options.settings().iter().all(|setting| setting.origin == Origin::Default));
}

#[test]
fn what_comes_later_wins_and_every_origin_is_remembered() {
    let text = "[terminal]\nring_bytes = 65536\nsessions_max = 5\nclients_max = 7\njournal.sync = 'always'\n\
                [journal]\nbytes_max = 1000000\n";
    let environment = [
        ("ABIDE_TERMINAL_RING_BYTES", "131072"),
        ("ABIDE_TERMINAL_JOURNAL_SYNC", "os"),
        ("ABIDE_TERMINAL_TAKEOVER", "deny"),
        ("ABIDE_JOURNAL_DIR", "/j"),
        ("ABIDE_SESSION", "not a setting"),
        ("HOME", "/h"),
    ];
    let flags = [("terminal.ring_bytes", "524288"), ("terminal.term", "123")];
    let options = load(text, &environment, &flags).expect("it is good");
    let (terminal, journal) = (&options.terminal, &options.journal);
    assert_eq!((terminal.ring_bytes, terminal.sessions_max, terminal.clients_max), (524_288, 5, 7));
    assert_eq!((terminal.journal_sync, terminal.takeover), (Sync::Os, Takeover::Deny));
    assert_eq!(terminal.term, "123", "a text that looks like a number stays a text");
    assert_eq!((journal.bytes_max, journal.dir.as_deref()), (1_000_000, Some(Path::new("/j"))));

    let file = Origin::File(FILE.into());
    let variable = |name: &str| Origin::Variable(name.to_owned());
    for (key, origin) in [
        ("terminal.ring_bytes", Origin::Flag),
        ("terminal.sessions_max", file.clone()),
        ("terminal.journal.sync", variable("ABIDE_TERMINAL_JOURNAL_SYNC")),
        ("terminal.takeover", variable("ABIDE_TERMINAL_TAKEOVER")),
        ("terminal.drain_ms_max", Origin::Default),
        ("journal.bytes_max", file),
        ("journal.dir", variable("ABIDE_JOURNAL_DIR")),
    ] {
        assert_eq!(options.origin(key), &origin, "{key}");
    }
}

#[test]
fn an_unknown_key_is_refused_by_name_wherever_it_is_given() {
    let cases = [
        (load("[terminal]\nring_byte = 1", &[], &[]), "terminal.ring_byte (/etc/abide.toml): there is no such key"),
        (
            load("[terminal.journal]\nsink = 'os'", &[], &[]),
            "terminal.journal.sink (/etc/abide.toml): there is no such key",
        ),
        (load("[terminl]\nring_bytes = 1", &[], &[]), "terminl (/etc/abide.toml): there is no such key"),
        (load("terminal = 1", &[], &[]), "terminal (/etc/abide.toml): there is no such key"),
        (load("", &[("ABIDE_TERMINAL_RING", "1")], &[]), "terminal.ring (ABIDE_TERMINAL_RING): there is no such key"),
        (load("", &[], &[("terminal.ring", "1")]), "terminal.ring (flag): there is no such key"),
        (load("", &[], &[("ring_bytes", "1")]), "ring_bytes (flag): there is no such key"),
    ];
    for (result, message) in cases {
        assert_eq!(refused(result), message);
    }
}

#[test]
fn a_value_that_does_not_fit_is_refused_by_its_keys_name() {
    let cases = [
        (
            load("[terminal]\nring_bytes = 'big'", &[], &[]),
            "terminal.ring_bytes (/etc/abide.toml): must be a whole number",
        ),
        (load("[terminal]\nterm = 1", &[], &[]), "terminal.term (/etc/abide.toml): must be a text"),
        (load("[terminal]\nshell = ['sh']", &[], &[]), "terminal.shell (/etc/abide.toml): must be a text"),
        (
            load("", &[("ABIDE_TERMINAL_KILL_GRACE_MS", "60001")], &[]),
            "terminal.kill_grace_ms (ABIDE_TERMINAL_KILL_GRACE_MS): must be from 0 to 60000",
        ),
        (
            load("", &[("ABIDE_TERMINAL_KILL_GRACE_MS", "5s")], &[]),
            "terminal.kill_grace_ms (ABIDE_TERMINAL_KILL_GRACE_MS): must be a whole number",
        ),
        (
            load("", &[], &[("terminal.oom_score_adj", "-1001")]),
            "terminal.oom_score_adj (flag): must be from -1000 to 1000",
        ),
        (
            load("", &[], &[("terminal.journal.sync", "never")]),
            "terminal.journal.sync (flag): unknown variant `never`, expected one of `os`, `interval`, `always`",
        ),
        (
            load("", &[], &[("terminal.detach_key", "ctrl-1")]),
            "terminal.detach_key (flag): must be ctrl- and a letter or one of @ [ \\ ] ^ _",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(refused(result), message);
    }
    assert!(refused(load("[terminal\n", &[], &[])).starts_with("/etc/abide.toml: TOML parse error at line 1"));
}

#[test]
fn keys_that_depend_on_each_other_are_checked_together() {
    let refused_key = |text: &str| match load(text, &[], &[]) {
        Err(Error::Value { key, .. }) => key,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(refused_key("[terminal]\nring_bytes = 100000"), "terminal.ring_bytes");
    assert_eq!(refused_key("[terminal]\nsocket_high_bytes = 262144"), "terminal.socket_low_bytes");
    assert_eq!(refused_key("[terminal]\nscrollback_lines = 2001"), "terminal.scrollback_lines");
    assert_eq!(refused_key("[journal]\nsegment_bytes = 100000"), "journal.segment_bytes");
    assert_eq!(refused_key("[journal]\nsegment_bytes = 16777216"), "journal.record_bytes_max");
    assert_eq!(refused_key("[journal]\nappend_bytes_max = 16777217"), "journal.append_bytes_max");
}

#[test]
fn every_key_can_be_given_and_shown() {
    let defaults = Options::default();
    let mut given = 0;
    for setting in defaults.settings() {
        assert!(!setting.about.trim().is_empty(), "{}", setting.key);
        let Some(value) = &setting.value else {
            assert!(["terminal.shell", "journal.dir"].contains(&&*setting.key), "{}", setting.key);
            continue;
        };
        let (table, key) = setting.key.split_once('.').expect("a table and a key");
        let from_file = load(&format!("[{table}]\n{key} = {value}\n"), &[], &[]).expect("its own default is good");
        assert_eq!((&from_file.terminal, &from_file.journal), (&defaults.terminal, &defaults.journal));
        assert_eq!(from_file.origin(&setting.key), &Origin::File(FILE.into()));

        let variable = format!("ABIDE_{}_{}", table.to_uppercase(), key.replace('.', "_").to_uppercase());
        let text = value.trim_matches('\'');
        let from_variable = load("", &[(&variable, text)], &[]).expect("its own default is good");
        assert_eq!(from_variable.origin(&setting.key), &Origin::Variable(variable));
        given += 1;
    }
    assert!(given >= 30, "{given}");
}

#[test]
fn a_detach_key_is_a_control_character() {
    for byte in 0..0x20 {
        let key: DetachKey = format!("ctrl-{}", char::from(byte | 0x40)).parse().expect("a key");
        assert_eq!(key.byte(), byte);
        assert_eq!(key.to_string().parse(), Ok(key), "{key}");
    }
    for spelling in ["ctrl-a", "Ctrl-A", "C-a", "^A"] {
        assert_eq!(spelling.parse::<DetachKey>().expect("a key").to_string(), "ctrl-a");
    }
    assert_eq!("ctrl-\\".parse(), Ok(DetachKey::default()));
    for bad in ["", "ctrl-", "ctrl-1", "ctrl-ab", "alt-a", "a", "ctrl-`", "ctrl-é", "ctr\u{e9}-a"] {
        assert!(bad.parse::<DetachKey>().is_err(), "{bad:?}");
    }
}

#[test]
fn the_configuration_file_is_where_the_environment_says() {
    let at = |config: Option<&str>, home: Option<&str>| {
        let variable = |name: &str| match name {
            "XDG_CONFIG_HOME" => config.map(OsString::from),
            "HOME" => home.map(OsString::from),
            _ => panic!("{name} is not asked for"),
        };
        file_path(variable, Path::new("/passwd"))
    };
    assert_eq!(at(Some("/c"), Some("/h")), Path::new("/c/abide/abide.toml"));
    assert_eq!(at(Some("c"), Some("/h")), Path::new("/h/.config/abide/abide.toml"));
    assert_eq!(at(None, None), Path::new("/passwd/.config/abide/abide.toml"));
}
