//! On what, with what and how the numbers were made.

use std::fs;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    file_system: String,
    date: String,
    /// Load when the run began.
    load: String,
    versions: [&'static str; 3],
    command: String,
}

impl Machine {
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, memory_mib, kernel, file_system, date, load, .. } = self;
        format!("{cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}, {file_system}, {date}, load before {load}")
    }
}

pub(crate) fn describe(dir: &std::path::Path) -> anyhow::Result<Machine> {
    let field = |file: &str, name: &str| -> anyhow::Result<String> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        Ok(line.split_once(':').map_or("", |(_, value)| value).trim().to_owned())
    };
    let memory_kib: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    Ok(Machine {
        cpu: field("/proc/cpuinfo", "model name")?,
        cores: std::thread::available_parallelism()?.get(),
        memory_mib: memory_kib / 1024,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        file_system: file_system(dir)?,
        date: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
        load: fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        versions: ["abide 0.1.0", "raft-engine 0.4.2", "fjall 3.1"],
        command: format!("bench-journal {}", std::env::args().skip(1).collect::<Vec<_>>().join(" ")),
    })
}

/// Type of the file system that holds `dir`: the longest mount point that is a part of its path.
fn file_system(dir: &std::path::Path) -> anyhow::Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let found = (mounts.lines())
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| dir.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    Ok(found.map_or("unknown", |(_, kind)| kind).to_owned())
}
