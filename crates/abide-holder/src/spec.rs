//! What a holder is told at its launch: one JSON line on descriptor 3 (arguments could be read by others).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use abide_ring::{Identity, RING_BYTES_MAX, RING_BYTES_MIN};
use serde::{Deserialize, Serialize};

use crate::boot::BootId;

/// What a holder holds. Unknown fields are refused: daemon and holder are one binary.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The session's id, in JSON as the 26 characters of a ULID.
    #[serde(with = "ulid_text")]
    pub session: [u8; 16],
    /// Number of this start of the session's program, from 1.
    pub incarnation: u64,
    /// The boot that the daemon runs in.
    pub boot_id: BootId,
    /// End of the session's log: output offsets go on from here.
    pub output_base: u64,
    /// Owner epoch in force.
    pub owner_epoch: u32,
    /// The program: a path if it has a slash, else looked up in `env`'s PATH.
    pub command: String,
    /// All arguments as the program sees them, its own name (`argv[0]`) first; at least one.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// Columns at the start, 1–4,096.
    pub cols: u16,
    /// Rows at the start, 1–4,096.
    pub rows: u16,
    /// Data bytes of the ring: a power of two, 64 KiB to 16 MiB.
    pub ring_bytes: u64,
    /// Most bytes of the spill; 0: none.
    pub spill_bytes_max: u64,
    /// Where the holder's files lie.
    pub paths: Paths,
    /// The limits that the program gets: the daemon's own as it was started.
    pub rlimits: Vec<Rlimit>,
    /// The umask that the program gets.
    pub umask: u32,
    /// `oom_score_adj` of holder and program.
    pub oom_score_adj: i32,
    /// The program's cgroup (its directory), if it gets one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
}

/// A holder's files. Directories exist, belong to this user and are nobody else's (the daemon has checked that).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// The holder's socket.
    pub socket: PathBuf,
    /// The exit record.
    pub exit_file: PathBuf,
    /// The directory on whose file system the spill grows.
    pub spill_dir: PathBuf,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// The system's number of the resource.
    pub resource: u32,
    /// Soft limit; `None`: unlimited.
    pub soft: Option<u64>,
    /// Hard limit; `None`: unlimited.
    pub hard: Option<u64>,
}

/// A spec that no holder can serve. The daemon has a bug, or another version.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSpec {
    /// Not JSON, an unknown or missing field, a wrong type.
    #[error("the spec is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// A value out of range.
    #[error("the spec's field {0} is out of range")]
    Field(&'static str),
}

impl Spec {
    /// Reads and checks a spec.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidSpec> {
        let spec: Self = serde_json::from_slice(json)?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), InvalidSpec> {
        let ring = self.ring_bytes.is_power_of_two() && (RING_BYTES_MIN..=RING_BYTES_MAX).contains(&self.ring_bytes);
        let has_nul = |text: &String| text.contains('\0');
        let checks = [
            ("incarnation", self.incarnation > 0),
            ("command", !self.command.is_empty() && !has_nul(&self.command)),
            ("args", !self.args.is_empty() && !self.args.iter().any(has_nul)),
            ("env", !self.env.iter().any(|(name, value)| bad_name(name) || has_nul(value))),
            ("cwd", self.cwd.is_absolute()),
            ("cols", self.cols > 0),
            ("rows", self.rows > 0),
            ("ring_bytes", ring),
        ];
        checks.into_iter().find(|(_, fine)| !fine).map_or(Ok(()), |(field, _)| Err(InvalidSpec::Field(field)))
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            ring_bytes: self.ring_bytes,
            boot_id: self.boot_id.0,
            session: self.session,
            incarnation: self.incarnation,
            output_base: self.output_base,
            owner_epoch: self.owner_epoch,
        }
    }
}

fn bad_name(name: &str) -> bool {
    name.is_empty() || name.contains(['=', '\0'])
}

impl fmt::Debug for Spec {
    /// Arguments and environment may hold secrets: only the command's name is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("session", &ulid::Ulid::from_bytes(self.session).to_string())
            .field("incarnation", &self.incarnation)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// A session's id as text, one spelling.
pub(crate) mod ulid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(session: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&ulid::Ulid::from_bytes(*session))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let ulid = ulid::Ulid::from_string(&text).map_err(D::Error::custom)?;
        Ok(ulid.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            session: [0xff; 16],
            incarnation: 1,
            boot_id: BootId([0xb0; 16]),
            output_base: 0,
            owner_epoch: 1,
            command: "sh".to_owned(),
            args: vec!["sh".to_owned(), "secret".to_owned()],
            env: [("TOKEN".to_owned(), "secret".to_owned())].into(),
            cwd: PathBuf::from("/"),
            cols: 80,
            rows: 24,
            ring_bytes: 65536,
            spill_bytes_max: 0,
            paths: Paths { socket: "/s".into(), exit_file: "/e".into(), spill_dir: "/".into() },
            rlimits: vec![Rlimit { resource: 7, soft: Some(1024), hard: None }],
            umask: 0o022,
            oom_score_adj: -5,
            cgroup: None,
        }
    }

    #[test]
    fn a_spec_reads_back_and_unknown_fields_are_refused() {
        let json = serde_json::to_string(&spec()).unwrap();
        assert_eq!(Spec::from_json(json.as_bytes()).unwrap(), spec());
        assert!(
            json.starts_with(r#"{"session":"7ZZZZZZZZZZZZZZZZZZZZZZZZZ","incarnation":1,"boot_id":"b0b0"#),
            "{json}"
        );
        assert!(json.contains(r#""rlimits":[{"resource":7,"soft":1024,"hard":null}]"#), "{json}");
        let more = json.replacen('{', r#"{"extra":1,"#, 1);
        assert!(matches!(Spec::from_json(more.as_bytes()), Err(InvalidSpec::Json(_))));
        let inner = json.replace(r#""socket""#, r#""extra":1,"socket""#);
        assert!(matches!(Spec::from_json(inner.as_bytes()), Err(InvalidSpec::Json(_))));
    }

    #[test]
    fn values_out_of_range_are_named() {
        type Wrong = (&'static str, fn(&mut Spec));
        let wrong: [Wrong; 9] = [
            ("incarnation", |spec| spec.incarnation = 0),
            ("command", |spec| spec.command.clear()),
            ("args", |spec| spec.args.clear()),
            ("args", |spec| spec.args.push("a\0b".to_owned())),
            ("env", |spec| drop(spec.env.insert("A=B".to_owned(), String::new()))),
            ("env", |spec| drop(spec.env.insert(String::new(), String::new()))),
            ("cwd", |spec| spec.cwd = "relative".into()),
            ("rows", |spec| spec.rows = 0),
            ("ring_bytes", |spec| spec.ring_bytes = 100_000),
        ];
        for (field, change) in wrong {
            let mut spec = spec();
            change(&mut spec);
            assert!(matches!(spec.check(), Err(InvalidSpec::Field(found)) if found == field), "{field}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let text = format!("{:?}", spec());
        assert!(text.contains("\"sh\"") && !text.contains("secret"), "{text}");
    }
}
