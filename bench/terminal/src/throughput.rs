//! B1: bytes per second to one attached, fast client; B2: CPU per megabyte.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::payload::{Mode, Payload, Workload};
use crate::program;
use crate::system::{Instance, Setup, System};
use crate::usage::{self, Machine, Usage};

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Case {
    pub workload: Workload,
    pub mode: Mode,
    pub scale: f64,
}

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub system: System,
    pub case: Case,
    /// What was measured, or why it could not be.
    pub outcome: Result<Measured, String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// From the first byte of output to the last that the drain received.
    pub seconds: f64,
    /// What left the program's PTY.
    pub bytes: usize,
    /// What the drain received.
    pub received_bytes: usize,
    pub drain_reads: u64,
    /// What the journal held when the last byte had been received.
    pub journalled_bytes: Option<u64>,
    /// By role.
    pub processes: BTreeMap<&'static str, Usage>,
    /// CPU of the kernel's threads, all of them, in ms: they carry bytes through PTYs and to the disk.
    pub kernel_threads_ms: f64,
    /// CPUs that something else took, on average.
    pub cpus_elsewhere: f64,
}

impl Measured {
    pub(crate) fn mb(&self) -> f64 {
        self.bytes as f64 / 1e6
    }

    pub(crate) fn mb_per_second(&self) -> f64 {
        self.mb() / self.seconds
    }
}

pub(crate) fn measure(setup: &Setup, system: System, case: Case) -> Run {
    let outcome = try_measure(setup, system, case).map_err(|error| format!("{error:#}"));
    Run { system, case, outcome }
}

fn try_measure(setup: &Setup, system: System, case: Case) -> anyhow::Result<Measured> {
    let payload = Payload::new(case.workload, case.mode, case.scale);
    let instance = Instance::new(setup, system)?;
    let scale = case.scale.to_string();
    let mut terminal = instance.attach(&["print", case.workload.name(), case.mode.name(), &scale])?;
    let program = terminal.wait_ready()?;
    let roles = instance.processes(program, terminal.client_pid())?;

    let (machine_before, before, clock) = (Machine::now()?, usage::of_all(&roles)?, Instant::now());
    terminal.type_bytes(b"g")?;
    let received = terminal.drain_to(program::END)?;
    let (elapsed, after, machine) = (clock.elapsed(), usage::of_all(&roles)?, Machine::now()?);

    let journalled_bytes = instance.journalled_bytes()?;
    terminal.end()?;
    let processes = usage::between(&roles, &before, after);
    let (busy_ms, kernel_threads_ms) = machine.since(&machine_before);
    let own_ms: f64 = processes.values().map(Usage::cpu_ms).sum();
    Ok(Measured {
        seconds: received.time.as_secs_f64(),
        bytes: payload.out_bytes() + program::END.len(),
        received_bytes: received.bytes,
        drain_reads: received.reads,
        journalled_bytes,
        processes,
        kernel_threads_ms,
        cpus_elsewhere: (busy_ms - own_ms - kernel_threads_ms).max(0.0) / (elapsed.as_secs_f64() * 1e3),
    })
}
