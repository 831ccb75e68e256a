//! On what, with what and how the numbers were made.

use std::fs;
use std::process::Command;

use anyhow::Context;
use serde::Serialize;

use crate::system::{Setup, System};

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    date: String,
    /// Load when the run began: whatever else ran is in the numbers of all systems alike.
    load: String,
    versions: Vec<String>,
    command: String,
}

impl Machine {
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, memory_mib, kernel, date, load, .. } = self;
        format!("{cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}, {date}, load before {load}")
    }
}

pub(crate) fn describe(setup: &Setup, systems: &[System]) -> anyhow::Result<Machine> {
    let field = |file: &str, name: &str| -> anyhow::Result<String> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        Ok(line.split_once(':').map_or("", |(_, value)| value).trim().to_owned())
    };
    let mut versions = Vec::new();
    for system in systems {
        match system {
            System::Bare => {}
            System::Dtach => versions.push(first_line("dtach", "--version")?),
            System::Abduco => versions.push(first_line("abduco", "-v")?),
            System::Tmux => versions.push(first_line("tmux", "-V")?),
            System::Abide => versions.push(first_line(&setup.abide, "--version")?),
        }
    }
    let memory_kib: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    Ok(Machine {
        cpu: field("/proc/cpuinfo", "model name")?,
        cores: std::thread::available_parallelism()?.get(),
        memory_mib: memory_kib / 1024,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        date: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
        load: fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        versions,
        command: format!("bench-terminal {}", std::env::args().skip(1).collect::<Vec<_>>().join(" ")),
    })
}

fn first_line(program: impl AsRef<std::ffi::OsStr>, flag: &str) -> anyhow::Result<String> {
    let program = program.as_ref();
    let out = Command::new(program)
        .arg(flag)
        .output()
        .with_context(|| format!("cannot run {}; Debian: apt-get install dtach tmux", program.display()))?;
    let text = String::from_utf8_lossy(if out.stdout.is_empty() { &out.stderr } else { &out.stdout }).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
