//! Medians and ratios for people, raw numbers for the record.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::machine::Machine;
use crate::measure::{Appends, Case, Measured, Read};
use crate::store::System;

/// One measurement, or why there is none.
#[derive(Serialize)]
pub(crate) struct Run {
    pub round: u32,
    pub system: System,
    pub case: Case,
    pub outcome: Result<Measured, String>,
}

#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    runs: Vec<Run>,
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        println!("{}\n", machine.line());
        Self { machine, runs: Vec::new() }
    }

    pub(crate) fn add(&mut self, run: Run) {
        let what = format!("{} {} {}", run.round, title(run.case), run.system.name());
        match &run.outcome {
            Ok(Measured::Appends(appends)) => {
                eprintln!("{what}: {:.0}/s, p50 {:.0} µs", appends.per_second(), appends.p50_us);
            }
            Ok(Measured::Read(read)) => {
                eprintln!("{what}: open {:.3} s, scan {:.3} s", read.open_killed_seconds, read.scan_seconds);
            }
            Err(error) => eprintln!("{what}: {error}"),
        }
        self.runs.push(run);
    }

    fn appends(&self, case: Case, system: System) -> Vec<Appends> {
        let of = |run: &Run| match run.outcome {
            Ok(Measured::Appends(appends)) if run.case == case && run.system == system => Some(appends),
            _ => None,
        };
        self.runs.iter().filter_map(of).collect()
    }

    fn reads(&self, case: Case, system: System) -> Vec<Read> {
        let of = |run: &Run| match run.outcome {
            Ok(Measured::Read(read)) if run.case == case && run.system == system => Some(read),
            _ => None,
        };
        self.runs.iter().filter_map(of).collect()
    }

    /// `raw` is the case in which the raw disk was measured beside this one.
    pub(crate) fn print_appends(&self, case: Case, systems: &[System], raw: Case) {
        println!("## {}\n", title(case));
        println!(
            "| system | runs | appends/s | min–max | abide ÷ it | p50 µs | abide ÷ it | p99 µs | bytes written ÷ appended | \
             write calls an append | CPU µs an append | of it user | CPUs elsewhere |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        let of = |system, value: &dyn Fn(&Appends) -> f64| {
            let case = if system == System::Raw { raw } else { case };
            median(self.appends(case, system).iter().map(value))
        };
        let (rate, p50) = (|system| of(system, &Appends::per_second), |system| of(system, &|run| run.p50_us));
        for &system in systems {
            let runs = self.appends(if system == System::Raw { raw } else { case }, system);
            let rates: Vec<f64> = runs.iter().map(Appends::per_second).collect();
            println!(
                "| {} | {} | {:.0} | {:.0}–{:.0} | {:.2} | {:.1} | {:.2} | {:.0} | {:.2} | {:.2} | {:.1} | {:.0} % | {:.2} |",
                system.name(),
                runs.len(),
                rate(system),
                rates.iter().copied().fold(f64::INFINITY, f64::min),
                rates.iter().copied().fold(0.0, f64::max),
                rate(System::Abide) / rate(system),
                p50(system),
                p50(System::Abide) / p50(system),
                of(system, &|run| run.p99_us),
                of(system, &|run| run.usage.written_bytes as f64 / run.user_bytes as f64),
                of(system, &|run| run.usage.writes as f64 / run.appends as f64),
                of(system, &|run| run.usage.cpu_ms() as f64 * 1e3 / run.appends as f64),
                of(system, &|run| run.usage.user_ms as f64 * 100.0 / run.usage.cpu_ms() as f64),
                of(system, &|run| {
                    run.usage.machine_ms.saturating_sub(run.usage.cpu_ms()) as f64 / 1e3 / run.seconds
                }),
            );
        }
        println!();
    }

    pub(crate) fn print_reads(&self, case: Case, systems: &[System]) {
        println!("## {}\n", title(case));
        println!(
            "| system | runs | open after a kill, s | abide ÷ it | open after a close, s | abide ÷ it | records/s, scanned as \
             left | abide ÷ it | records/s, scanned at rest | abide ÷ it |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        let of = |system, value: fn(&Read) -> f64| median(self.reads(case, system).iter().map(value));
        for &system in systems {
            let killed = |system| of(system, |run| run.open_killed_seconds);
            let closed = |system| of(system, |run| run.open_closed_seconds);
            let scanned = |system| of(system, |run| run.records as f64 / run.scan_seconds);
            let rested = |system| of(system, |run| run.records as f64 / run.scan_rested_seconds);
            println!(
                "| {} | {} | {:.3} | {:.2} | {:.3} | {:.2} | {:.0} | {:.2} | {:.0} | {:.2} |",
                system.name(),
                self.reads(case, system).len(),
                killed(system),
                killed(System::Abide) / killed(system),
                closed(system),
                closed(System::Abide) / closed(system),
                scanned(system),
                scanned(System::Abide) / scanned(system),
                rested(system),
                rested(System::Abide) / rested(system),
            );
        }
        println!();
    }

    /// Puts this run at the end of the file's list, where it takes the place of what it wrote before.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let mut reports: Vec<serde_json::Value> = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{} is no list", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let own = serde_json::to_value(self)?;
        reports.retain(|report| report["machine"] != own["machine"]);
        reports.push(own);
        std::fs::write(file, lines(&reports)?).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Writes the raw numbers; fails if a measurement did.
    pub(crate) fn finish(&self, file: &Path) -> anyhow::Result<()> {
        self.write(file)?;
        eprintln!("raw numbers: {}", file.display());
        let failed = self.runs.iter().filter(|run| run.outcome.is_err()).count();
        if failed > 0 {
            bail!("{failed} measurements failed");
        }
        Ok(())
    }
}

fn title(case: Case) -> String {
    match case {
        Case::Sync { writers: 1, .. } => "1 KiB, sync each, 1 writer".to_owned(),
        Case::Sync { writers, .. } => format!("1 KiB, sync each, {writers} writers"),
        Case::Os { .. } => "1 KiB, written, no sync, 1 writer".to_owned(),
        Case::Load { records } => format!("{records} records loaded"),
        Case::Read { records } => format!("{records} records of 200 B in 400 logs"),
    }
}

/// JSON with one measurement a line.
fn lines(reports: &[serde_json::Value]) -> anyhow::Result<String> {
    let mut all = Vec::new();
    for report in reports {
        let runs: Result<Vec<_>, _> =
            report["runs"].as_array().into_iter().flatten().map(serde_json::to_string).collect();
        all.push(format!("{{\"machine\":{},\n\"runs\":[\n{}]}}", report["machine"], runs?.join(",\n")));
    }
    Ok(format!("[{}]\n", all.join(",\n")))
}

/// Not a number for no values.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
