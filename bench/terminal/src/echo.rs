//! B3: the time from a typed byte to its echo, alone and beside a session that floods.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::system::{Instance, Setup, System};
use crate::usage::{self, Machine, Usage};

/// Keys before the clock counts.
const WARM_UP: usize = 200;
const KEYS: f64 = 5_000.0;
/// Typed in turn. In no escape sequence that a system draws with.
const TYPED: [u8; 2] = [b'~', b'|'];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// The line discipline echoes; the program reads and says nothing.
    Kernel,
    /// A program in raw mode writes back what it reads.
    Program,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Case {
    pub by: By,
    /// Beside a session of the same system that prints without end.
    pub flood: bool,
    pub keys: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub system: System,
    pub case: Case,
    pub outcome: Result<Measured, String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// Close to the way itself, without what the machine does besides.
    pub p10_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// What the flooding program could write meanwhile: a system that slows it down has it easier.
    pub flood_mb_per_second: Option<f64>,
    /// By role.
    pub processes: BTreeMap<&'static str, Usage>,
    /// CPUs that something else took, on average; of a flood's processes those that the session does not share.
    pub cpus_elsewhere: f64,
}

impl Case {
    pub(crate) fn all(scale: f64) -> Vec<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand keys")]
        let keys = (KEYS * scale).max(100.0) as usize;
        let case = |by, flood| Self { by, flood, keys };
        vec![case(By::Kernel, false), case(By::Program, false), case(By::Kernel, true), case(By::Program, true)]
    }

    pub(crate) fn name(self) -> String {
        let by = match self.by {
            By::Kernel => "kernel",
            By::Program => "raw program",
        };
        format!("echo by {by}{}", if self.flood { ", beside a flood" } else { "" })
    }
}

pub(crate) fn measure(setup: &Setup, system: System, case: Case) -> Run {
    let outcome = try_measure(setup, system, case).map_err(|error| format!("{error:#}"));
    Run { system, case, outcome }
}

fn try_measure(setup: &Setup, system: System, case: Case) -> anyhow::Result<Measured> {
    let mut instance = Instance::new(setup, system)?;
    let kind = match case.by {
        By::Kernel => "echo-kernel",
        By::Program => "echo-raw",
    };
    let mut terminal = instance.attach(&[kind])?;
    let program = terminal.wait_ready()?;
    let roles = instance.processes(program, terminal.client_pid())?;
    terminal.go_and_wait()?;
    if case.flood {
        instance.start_flood()?;
    }
    for key in TYPED.iter().copied().cycle().take(WARM_UP) {
        terminal.echo(key)?;
    }

    let written = || instance.flood_pid().map(|pid| Usage::of(pid).map(|usage| usage.written_bytes)).transpose();
    let (machine_before, usage_before) = (Machine::now()?, usage::of_all(&roles)?);
    let (before, clock) = (written()?, Instant::now());
    let mut times_us = Vec::with_capacity(case.keys);
    for key in TYPED.iter().copied().cycle().take(case.keys) {
        times_us.push(terminal.echo(key)?.as_secs_f64() * 1e6);
    }
    let (elapsed, after) = (clock.elapsed(), written()?);
    let (usage_after, machine) = (usage::of_all(&roles)?, Machine::now()?);
    terminal.end()?;

    let processes = usage::between(&roles, &usage_before, usage_after);
    let (busy_ms, kernel_threads_ms) = machine.since(&machine_before);
    let own_ms: f64 = processes.values().map(Usage::cpu_ms).sum();
    times_us.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = (share * (times_us.len() - 1) as f64).round() as usize;
        times_us[index]
    };
    let flood_bytes = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Ok(Measured {
        p10_us: at(0.1),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        max_us: at(1.0),
        flood_mb_per_second: flood_bytes.map(|bytes| bytes as f64 / 1e6 / elapsed.as_secs_f64()),
        processes,
        cpus_elsewhere: (busy_ms - own_ms - kernel_threads_ms).max(0.0) / (elapsed.as_secs_f64() * 1e3),
    })
}
