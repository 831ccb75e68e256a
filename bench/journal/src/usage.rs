//! What this process has used, and how busy the machine was, from `/proc`.

use std::fs;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The kernel's clock tick in `/proc/stat`.
const TICK_MS: u64 = 10;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Of this process's CPU time, in its own code.
    pub user_ms: u64,
    /// And in the kernel.
    pub system_ms: u64,
    /// Calls that write.
    pub writes: u64,
    /// Bytes that were made dirty in the page cache, whole pages: what goes to the disk.
    pub written_bytes: u64,
    /// All CPUs, of all processes and the kernel.
    pub machine_ms: u64,
}

impl Usage {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let mut usage = Self::default();
        for line in fs::read_to_string("/proc/self/io")?.lines() {
            match line.split_once(": ") {
                Some(("syscw", value)) => usage.writes = value.parse()?,
                Some(("write_bytes", value)) => usage.written_bytes = value.parse()?,
                _ => {}
            }
        }
        let stat = fs::read_to_string("/proc/self/stat")?;
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, after)| after).split_ascii_whitespace().collect();
        let ticks = |field: usize| fields.get(field).and_then(|value| value.parse::<u64>().ok()).context("stat: times");
        usage.user_ms = ticks(11)? * TICK_MS;
        usage.system_ms = ticks(12)? * TICK_MS;
        let stat = fs::read_to_string("/proc/stat")?;
        let first = stat.lines().next().context("/proc/stat is empty")?;
        let all: Vec<u64> = first.split_ascii_whitespace().skip(1).filter_map(|value| value.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal
        let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&field| all.get(field)).sum();
        usage.machine_ms = busy * TICK_MS;
        Ok(usage)
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            user_ms: self.user_ms - before.user_ms,
            system_ms: self.system_ms - before.system_ms,
            writes: self.writes - before.writes,
            written_bytes: self.written_bytes - before.written_bytes,
            machine_ms: self.machine_ms - before.machine_ms,
        }
    }

    pub(crate) fn cpu_ms(&self) -> u64 {
        self.user_ms + self.system_ms
    }
}
