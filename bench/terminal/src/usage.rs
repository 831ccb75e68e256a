//! What processes have used, from `/proc`: CPU by thread, system calls, context switches.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use serde::Serialize;

/// The kernel's clock tick in `/proc/stat`.
const TICK_MS: u64 = 10;

/// Of one process, since its start; or, as a difference, in a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// Nanoseconds on a CPU, of the threads that live.
    pub cpu_ns: u64,
    /// Of it in the program's own code, in percent.
    pub user_percent: u64,
    pub reads: u64,
    pub writes: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub switches: u64,
    /// CPU by name of thread; threads of one name are summed.
    pub threads: BTreeMap<String, u64>,
    #[serde(skip)]
    user_ticks: u64,
    #[serde(skip)]
    system_ticks: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let mut usage = Self::default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, after)| after).split_ascii_whitespace().collect();
        usage.user_ticks = fields.get(11).context("stat: utime")?.parse()?;
        usage.system_ticks = fields.get(12).context("stat: stime")?.parse()?;
        for line in fs::read_to_string(format!("/proc/{pid}/io"))?.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name {
                "rchar" => usage.read_bytes = value.parse()?,
                "wchar" => usage.written_bytes = value.parse()?,
                "syscr" => usage.reads = value.parse()?,
                "syscw" => usage.writes = value.parse()?,
                _ => {}
            }
        }
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            usage.add_thread(&task?.path());
        }
        Ok(usage)
    }

    /// A thread may end while it is looked at: what is gone counts nothing.
    fn add_thread(&mut self, task: &std::path::Path) {
        let text = |file| fs::read_to_string(task.join(file)).unwrap_or_default();
        let cpu_ns = first_number(&text("schedstat"));
        self.cpu_ns += cpu_ns;
        *self.threads.entry(text("comm").trim().to_owned()).or_default() += cpu_ns;
        for line in text("status").lines() {
            if line.starts_with("voluntary_ctxt_switches") || line.starts_with("nonvoluntary_ctxt_switches") {
                self.switches += line.split_ascii_whitespace().nth(1).map_or(0, first_number);
            }
        }
    }

    /// What was used since `before`.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        self.cpu_ns = self.cpu_ns.saturating_sub(before.cpu_ns);
        self.reads = self.reads.saturating_sub(before.reads);
        self.writes = self.writes.saturating_sub(before.writes);
        self.read_bytes = self.read_bytes.saturating_sub(before.read_bytes);
        self.written_bytes = self.written_bytes.saturating_sub(before.written_bytes);
        self.switches = self.switches.saturating_sub(before.switches);
        self.user_ticks = self.user_ticks.saturating_sub(before.user_ticks);
        self.system_ticks = self.system_ticks.saturating_sub(before.system_ticks);
        self.user_percent = (100 * self.user_ticks).checked_div(self.user_ticks + self.system_ticks).unwrap_or(0);
        for (name, cpu_ns) in &mut self.threads {
            *cpu_ns = cpu_ns.saturating_sub(before.threads.get(name).copied().unwrap_or(0));
        }
        self
    }

    pub(crate) fn cpu_ms(&self) -> f64 {
        self.cpu_ns as f64 / 1e6
    }
}

/// Takes what all processes of `roles` have used.
pub(crate) fn of_all(roles: &[(&'static str, u32)]) -> anyhow::Result<Vec<Usage>> {
    roles.iter().map(|&(_, pid)| Usage::of(pid)).collect()
}

/// By role, what was used between two calls of [`of_all`].
pub(crate) fn between(
    roles: &[(&'static str, u32)],
    before: &[Usage],
    after: Vec<Usage>,
) -> BTreeMap<&'static str, Usage> {
    roles.iter().zip(after).zip(before).map(|((&(role, _), after), before)| (role, after.since(before))).collect()
}

/// The whole machine: what all CPUs did, and the kernel's own threads (they carry bytes from one end of a PTY to the
/// other, and pages to the disk).
pub(crate) struct Machine {
    busy_ms: u64,
    kernel: BTreeMap<u32, u64>,
}

impl Machine {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let first = stat.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<u64> = first.split_ascii_whitespace().skip(1).map(first_number).collect();
        // user nice system idle iowait irq softirq steal
        let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&field| ticks.get(field)).sum();
        let mut kernel = BTreeMap::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, after)| after.split_ascii_whitespace().nth(1));
            if parent == Some("2") {
                let cpu = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
                kernel.insert(pid, first_number(&cpu));
            }
        }
        Ok(Self { busy_ms: busy * TICK_MS, kernel })
    }

    /// Since `before`: milliseconds of all CPUs, and of the kernel's threads.
    pub(crate) fn since(&self, before: &Self) -> (f64, f64) {
        let kernel_ns: u64 = (self.kernel.iter())
            .map(|(pid, cpu)| cpu.saturating_sub(before.kernel.get(pid).copied().unwrap_or(0)))
            .sum();
        (self.busy_ms.saturating_sub(before.busy_ms) as f64, kernel_ns as f64 / 1e6)
    }
}

fn first_number(text: &str) -> u64 {
    text.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
