//! `abide journal`: what lies in the store, without the daemon that writes it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use abide_journal::format::{Damage, DamageState};
use abide_journal::{
    Content, Cursor, Error, FileDisk, FoundDamage, Journal, Level, LogInfo, Lsn, Options, ReadLimit, Record,
    RecoveryReport, ScrubStep, SystemClock,
};
use abide_terminal::protocol::WireError;
use abide_wire::Code;
use base64::Engine as _;
use serde_json::{Value, json};

use super::{Outcome, printed, up};
use crate::args::{Global, Journal as Args, JournalCommand};
use crate::configuration;
use crate::context::state_dir;
use crate::failure::{Failure, printable};
use crate::format::{self, Format};

/// Exit status when something was found damaged.
const DAMAGED: u8 = 1;

pub(crate) fn journal(global: &Global, args: &Args) -> Outcome {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => match configuration::load(global)?.journal.dir {
            Some(dir) => dir,
            None => state_dir()?.join("journal"),
        },
    };
    match &args.command {
        JournalCommand::Ls => {
            let (journal, _) = open_read_only(dir)?;
            printed(ls(global.output, &journal.logs()))
        }
        JournalCommand::Inspect { log } => {
            let (journal, _) = open_read_only(dir)?;
            let info = find(&journal, log)?;
            printed(format::value(&mut io::stdout().lock(), global.output, &inspected(&info)))
        }
        JournalCommand::Read { log, from, bytes } => {
            let (journal, _) = open_read_only(dir)?;
            read(&journal, log, *from, *bytes)
        }
        JournalCommand::Verify { deep } => verify(global.output, dir, *deep),
        JournalCommand::Scrub => scrub(global, dir),
        JournalCommand::AcceptLoss { log, range } => accept_loss(global, dir, log, *range),
    }
}

fn failed(error: &Error) -> Failure {
    let code = match error {
        Error::Full => Code::JournalFull,
        Error::Corrupt(_) => Code::JournalCorrupt,
        Error::LogNotFound => return Failure::not_found(error.to_string()).hint("abide journal ls"),
        _ => Code::JournalFailed,
    };
    let failure = Failure::new(WireError::new(code, error.to_string())).with_status(1);
    match error {
        Error::Locked { .. } => failure.hint("abide stop"),
        _ => failure,
    }
}

fn open_read_only(dir: PathBuf) -> Result<(Journal, RecoveryReport), Failure> {
    let options = Options::new(dir);
    Journal::open_read_only(Arc::new(FileDisk), Arc::new(SystemClock), &options).map_err(|error| failed(&error))
}

/// For what writes: the sizes are those of the daemon's configuration.
fn open(global: &Global, dir: PathBuf) -> Result<(Journal, u64), Failure> {
    if !dir.join("store").exists() {
        return Err(Failure::not_found(format!("{}: there is no store here", dir.display())));
    }
    let configured = configuration::load(global)?.journal;
    let options = up::journal_options(&configured, dir);
    let rate = options.scrub_bytes_per_s;
    let (journal, _) =
        Journal::open(Arc::new(FileDisk), Arc::new(SystemClock), options).map_err(|error| failed(&error))?;
    Ok((journal, rate))
}

fn find(journal: &Journal, log: &str) -> Result<LogInfo, Failure> {
    journal.logs().into_iter().find(|info| info.name == log).ok_or_else(|| failed(&Error::LogNotFound).about(log))
}

fn ls(format: Format, logs: &[LogInfo]) -> io::Result<()> {
    let out = &mut io::stdout().lock();
    let objects = || logs.iter().map(listed);
    match format {
        Format::Json => format::value(out, format, &objects().collect::<Vec<_>>()),
        Format::Jsonl => objects().try_for_each(|object| format::value(out, format, &object)),
        Format::Table => {
            let width = logs.iter().map(|info| info.name.chars().count()).max().unwrap_or(0).max(4);
            writeln!(
                out,
                "{:width$}  {:>10}  {:>10}  {:>12}  {:>6}  PINS  DAMAGE",
                "NAME", "BASE", "HEAD", "BYTES", "EPOCH"
            )?;
            for info in logs {
                let damage = info.damage.iter().filter(|damage| damage.state == DamageState::Found).count();
                writeln!(
                    out,
                    "{:width$}  {:>10}  {:>10}  {:>12}  {:>6}  {:>4}  {damage:>6}",
                    printable(&info.name),
                    info.base.lsn,
                    info.next.lsn.get() - 1,
                    info.bytes,
                    info.epoch.0,
                    info.pins.len(),
                )?;
            }
            Ok(())
        }
    }
}

fn listed(info: &LogInfo) -> Value {
    json!({
        "name": info.name,
        "base": info.base.lsn.get(),
        "head": info.next.lsn.get() - 1,
        "base_offset": info.base.offset.0,
        "end_offset": info.next.offset.0,
        "bytes": info.bytes,
        "epoch": info.epoch.0,
        "pins": info.pins.len(),
        "damage": info.damage.iter().map(damage).collect::<Vec<_>>(),
        "quarantined": info.quarantined,
    })
}

fn damage(damage: &Damage) -> Value {
    let state = match damage.state {
        DamageState::Found => "found",
        DamageState::Repaired => "repaired",
        DamageState::Accepted => "accepted",
    };
    json!({
        "from": damage.from_lsn,
        "to": damage.to_lsn,
        "segment": damage.segment,
        "position": damage.position,
        "state": state,
    })
}

fn inspected(info: &LogInfo) -> Value {
    let mut object = listed(info);
    let epochs = info.epochs.iter().map(|entry| json!({"epoch": entry.epoch, "start_lsn": entry.start_lsn}));
    let checkpoints = info.checkpoints.iter().map(|checkpoint| {
        json!({
            "lsn": checkpoint.lsn.map_or(0, Lsn::get),
            "offset": checkpoint.offset.0,
            "epoch": checkpoint.epoch.0,
            "bytes": checkpoint.bytes,
        })
    });
    let pins = info.pins.iter().map(|(owner, lsn)| json!({"owner": owner, "from": lsn.get()}));
    if let Some(object) = object.as_object_mut() {
        object.insert("uid".to_owned(), json!(info.uid.to_string()));
        object.insert("last_mark".to_owned(), json!(info.last_mark.map(Lsn::get)));
        object.insert("last_time_us".to_owned(), json!(info.last_time_us));
        object.insert("epochs".to_owned(), epochs.collect());
        object.insert("checkpoints".to_owned(), checkpoints.collect());
        object.insert("pins".to_owned(), pins.collect());
    }
    object
}

fn read(journal: &Journal, name: &str, from: Option<u64>, raw: bool) -> Outcome {
    let info = find(journal, name)?;
    let log = journal.log(name).map_err(|error| failed(&error).about(name))?;
    let mut next = match from {
        Some(lsn) => Cursor { offset: info.base.offset, lsn: Some(Lsn::new(lsn).unwrap_or(Lsn::FIRST)) },
        None => info.base.cursor(),
    };
    let mut out = io::stdout().lock();
    let mut status = 0;
    loop {
        let at = next.lsn.unwrap_or(Lsn::FIRST);
        let found = match log.read(at, ReadLimit::default(), Level::Written) {
            Ok(found) => found,
            Err(Error::Corrupt(corruption)) => {
                // The rest is shown; that something is missing is told, and by the exit status.
                let Some(range) = &corruption.range else { return Err(failed(&Error::Corrupt(corruption))) };
                let _ = writeln!(io::stderr(), "abide: {name}: records {} to {}: {corruption}", range.from, range.to);
                status = DAMAGED;
                next = range.behind.cursor();
                continue;
            }
            Err(error) => return Err(failed(&error).about(name)),
        };
        if found.records.is_empty() {
            return Ok(status);
        }
        let written = found.records.iter().try_for_each(|record| {
            if raw {
                match &record.content {
                    Content::Data(bytes) => out.write_all(bytes),
                    Content::Mark(_) | Content::Gap(_) => Ok(()),
                }
            } else {
                format::value(&mut out, Format::Jsonl, &shown(record))
            }
        });
        if written.is_err() {
            return printed(written);
        }
        next = found.next;
    }
}

fn shown(record: &Record) -> Value {
    let mut object = json!({
        "lsn": record.lsn().get(),
        "epoch": record.epoch().0,
        "offset": record.offset.0,
        "time_us": record.time_us,
        "tag": record.tag,
    });
    let (kind, bytes) = match &record.content {
        Content::Data(bytes) => ("data", Some(bytes)),
        Content::Mark(bytes) => ("mark", Some(bytes)),
        Content::Gap(_) => ("gap", None),
    };
    if let Some(object) = object.as_object_mut() {
        object.insert("kind".to_owned(), json!(kind));
        match (&record.content, bytes) {
            (Content::Gap(length), _) => drop(object.insert("length".to_owned(), json!(length))),
            (_, Some(bytes)) => {
                let (key, text) = match std::str::from_utf8(bytes) {
                    Ok(text) => ("text", text.to_owned()),
                    Err(_) => ("base64", base64::engine::general_purpose::STANDARD.encode(bytes)),
                };
                object.insert(key.to_owned(), json!(text));
            }
            (_, None) => {}
        }
    }
    object
}

fn verify(format: Format, dir: PathBuf, deep: bool) -> Outcome {
    let (journal, report) = open_read_only(dir)?;
    let mut found = Found::default();
    found.damage.extend(report.damage);
    if let Some(stopped) = report.stopped {
        found.stopped = Some(stopped.to_string());
    }
    if deep {
        let mut pass = journal.scrub();
        while let Some(step) = pass.step() {
            found.add(step.map_err(|error| failed(&error))?);
        }
    }
    found.tell(format)
}

fn scrub(global: &Global, dir: PathBuf) -> Outcome {
    let (journal, rate) = open(global, dir)?;
    let mut found = Found::default();
    let (mut pass, begun) = (journal.scrub(), Instant::now());
    while let Some(step) = pass.step() {
        found.add(step.map_err(|error| failed(&error))?);
        let due = Duration::from_millis(found.bytes.saturating_mul(1_000) / rate.max(1));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    journal.close().wait().map_err(|error| failed(&error))?;
    found.tell(global.output)
}

fn accept_loss(global: &Global, dir: PathBuf, name: &str, (from, to): (u64, u64)) -> Outcome {
    let (journal, _) = open(global, dir)?;
    let info = find(&journal, name)?;
    let damage = info.damage.iter().find(|damage| (damage.from_lsn, damage.to_lsn) == (from, to));
    let damage = *damage.ok_or_else(|| {
        Failure::not_found(format!("no damage from {from} to {to}"))
            .about(name)
            .hint(format!("abide journal inspect {name}"))
    })?;
    journal.accept_loss(name, damage).wait().map_err(|error| failed(&error).about(name))?;
    journal.close().wait().map_err(|error| failed(&error))?;
    Ok(0)
}

/// What a look at the store has found.
#[derive(Default)]
struct Found {
    bytes: u64,
    damage: Vec<FoundDamage>,
    checkpoints: Vec<(String, String)>,
    stopped: Option<String>,
}

impl Found {
    fn add(&mut self, step: ScrubStep) {
        self.bytes += step.bytes;
        for damage in step.damage {
            if !self.damage.contains(&damage) {
                self.damage.push(damage);
            }
        }
        if let Some(at) = step.checkpoint {
            self.checkpoints.push((step.log, format!("{at:?}")));
        }
    }

    fn tell(&self, format: Format) -> Outcome {
        let status =
            if self.damage.is_empty() && self.checkpoints.is_empty() && self.stopped.is_none() { 0 } else { DAMAGED };
        let out = &mut io::stdout().lock();
        let written = if format == Format::Table { self.tell_people(out) } else { self.tell_programs(out, format) };
        printed(written).map(|_| status)
    }

    fn tell_people(&self, out: &mut impl Write) -> io::Result<()> {
        for damage in &self.damage {
            let range = match damage.to {
                Some(to) => format!("records {} to {to}", damage.from),
                None => format!("facts at record {}", damage.from),
            };
            let file = damage.file.display();
            writeln!(out, "{}: {range}: {file}, byte {}", printable(&damage.log), damage.position)?;
        }
        for (log, at) in &self.checkpoints {
            writeln!(out, "{}: a checkpoint does not verify: {at}", printable(log))?;
        }
        self.stopped.iter().try_for_each(|stopped| writeln!(out, "the store cannot be read on: {stopped}"))
    }

    fn tell_programs(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        let damage = self.damage.iter().map(|damage| {
            json!({
                "log": damage.log,
                "from": damage.from.get(),
                "to": damage.to.map(Lsn::get),
                "file": damage.file,
                "position": damage.position,
            })
        });
        let checkpoints: Vec<&str> = self.checkpoints.iter().map(|(log, _)| log.as_str()).collect();
        let damage: Vec<Value> = damage.collect();
        let all = json!({"damage": damage, "untrusted_checkpoints": checkpoints, "stopped": self.stopped});
        format::value(out, format, &all)
    }
}
