//! B5, B7 and B9: many sessions that nobody looks at: their memory, what wakes up while they rest, and what is left of them
//! when the server is killed.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Serialize;

use crate::system::{Instance, Setup, System, kill};
use crate::usage::Usage;

/// Until what a start left to do is done.
const SETTLE: Duration = Duration::from_secs(5);
/// How long they are looked at while they rest.
const REST: Duration = Duration::from_secs(10);
/// A program that loses its terminal has ended by then.
const AFTER_KILL: Duration = Duration::from_secs(1);
/// A daemon has them all back by then.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Memory, and wake-ups at rest.
    Rest,
    /// The server is killed.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    pub kind: Kind,
    pub sessions: usize,
}

impl Case {
    pub(crate) fn all(scale: f64) -> [Self; 2] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred sessions")]
        let scaled = |sessions: f64| (sessions * scale).max(2.0) as usize;
        [Self { kind: Kind::Rest, sessions: scaled(100.0) }, Self { kind: Kind::Kill, sessions: scaled(200.0) }]
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub system: System,
    pub case: Case,
    pub outcome: Result<Measured, String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Measured {
    Rest {
        /// Proportional set size of what holds the sessions, for each of them.
        kib_each: f64,
        /// Of all of it.
        switches_per_second: f64,
        cpu_ms_per_second: f64,
    },
    Kill {
        /// Programs that run a second after the kill.
        alive: usize,
        /// From the kill to the last session that is served again.
        recovered_ms: Option<f64>,
    },
}

pub(crate) fn measure(setup: &Setup, system: System, case: Case) -> Run {
    let outcome = match case.kind {
        Kind::Rest => rest(setup, system, case.sessions),
        Kind::Kill => kill_server(setup, system, case.sessions),
    };
    Run { system, case, outcome: outcome.map_err(|error| format!("{error:#}")) }
}

fn rest(setup: &Setup, system: System, sessions: usize) -> anyhow::Result<Measured> {
    let mut instance = Instance::new(setup, system)?;
    instance.start_many(sessions)?;
    std::thread::sleep(SETTLE);
    let carriers = instance.carriers()?;
    let kib: u64 = carriers.iter().map(|&pid| pss_kib(pid)).sum::<anyhow::Result<u64>>()?;
    let used = || carriers.iter().map(|&pid| Usage::of(pid)).collect::<anyhow::Result<Vec<Usage>>>();
    let (before, clock) = (used()?, Instant::now());
    std::thread::sleep(REST);
    let (after, seconds) = (used()?, clock.elapsed().as_secs_f64());
    let rested: Vec<Usage> = after.into_iter().zip(&before).map(|(after, before)| after.since(before)).collect();
    Ok(Measured::Rest {
        kib_each: kib as f64 / sessions as f64,
        switches_per_second: rested.iter().map(|usage| usage.switches).sum::<u64>() as f64 / seconds,
        cpu_ms_per_second: rested.iter().map(Usage::cpu_ms).sum::<f64>() / seconds,
    })
}

fn kill_server(setup: &Setup, system: System, sessions: usize) -> anyhow::Result<Measured> {
    let mut instance = Instance::new(setup, system)?;
    let programs = instance.start_many(sessions)?.to_vec();
    let servers = instance.servers()?;
    let (killed, clock) = (Timestamp::now(), Instant::now());
    servers.into_iter().for_each(kill);
    let recovered_ms = match system {
        System::Abide => {
            instance.start_again()?;
            Some(await_recovery(&instance, killed, sessions)?)
        }
        _ => None,
    };
    std::thread::sleep(AFTER_KILL.saturating_sub(clock.elapsed()));
    let alive = programs.iter().filter(|pid| is_alive(**pid)).count();
    Ok(Measured::Kill { alive, recovered_ms })
}

/// Milliseconds until the daemon's log tells of the last session that it has adopted.
fn await_recovery(instance: &Instance<'_>, killed: Timestamp, sessions: usize) -> anyhow::Result<f64> {
    let deadline = Instant::now() + RECOVERY_MAX;
    loop {
        let log = instance.log()?;
        let times: Vec<Timestamp> = (log.lines().filter(|line| line.contains("the holder is adopted")))
            .filter_map(|line| line.split_ascii_whitespace().next()?.parse().ok())
            .filter(|time| *time >= killed)
            .collect();
        if times.len() >= sessions {
            let last = times.into_iter().max().context("no session")?;
            return Ok(last.duration_since(killed).as_secs_f64() * 1e3);
        }
        if Instant::now() > deadline {
            bail!("{} of {sessions} sessions were adopted", times.len());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pss_kib(pid: u32) -> anyhow::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.split_ascii_whitespace().next().context("no Pss")?.parse()?)
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
