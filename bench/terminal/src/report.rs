//! Medians and ratios for people, raw numbers for the record.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::machine::Machine;
use crate::system::System;
use crate::throughput::Measured;
use crate::usage::Usage;
use crate::{echo, fleet, throughput};

#[derive(Serialize)]
struct Numbered<Run> {
    round: u32,
    #[serde(flatten)]
    run: Run,
}

#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    throughput: Vec<Numbered<throughput::Run>>,
    echo: Vec<Numbered<echo::Run>>,
    fleet: Vec<Numbered<fleet::Run>>,
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        println!("{}\n", machine.line());
        Self { machine, throughput: Vec::new(), echo: Vec::new(), fleet: Vec::new() }
    }

    pub(crate) fn throughput(&mut self, round: u32, run: throughput::Run) {
        let what = format!("{} {} {}", run.case.workload.name(), run.case.mode.name(), run.system.name());
        match &run.outcome {
            Ok(measured) => eprintln!("{round} {what}: {:.1} MB/s", measured.mb_per_second()),
            Err(error) => eprintln!("{round} {what}: {error}"),
        }
        self.throughput.push(Numbered { round, run });
    }

    pub(crate) fn echo(&mut self, round: u32, run: echo::Run) {
        let what = format!("{} {}", run.case.name(), run.system.name());
        match &run.outcome {
            Ok(measured) => eprintln!("{round} {what}: p50 {:.0} µs, p99 {:.0} µs", measured.p50_us, measured.p99_us),
            Err(error) => eprintln!("{round} {what}: {error}"),
        }
        self.echo.push(Numbered { round, run });
    }

    pub(crate) fn fleet(&mut self, round: u32, run: fleet::Run) {
        let what = format!("{} sessions, {}", run.case.sessions, run.system.name());
        match &run.outcome {
            Ok(fleet::Measured::Rest { kib_each, switches_per_second, .. }) => {
                eprintln!("{round} {what}: {kib_each:.0} KiB each, {switches_per_second:.1} switches/s");
            }
            Ok(fleet::Measured::Kill { alive, recovered_ms }) => {
                eprintln!("{round} {what}: {alive} alive after a kill, recovered in {recovered_ms:.0?} ms");
            }
            Err(error) => eprintln!("{round} {what}: {error}"),
        }
        self.fleet.push(Numbered { round, run });
    }

    pub(crate) fn print_fleet(&self, case: fleet::Case) {
        let runs: Vec<_> = self.fleet.iter().map(|numbered| &numbered.run).filter(|run| run.case == case).collect();
        let of = |system, value: &dyn Fn(&fleet::Measured) -> Option<f64>| {
            let runs = runs.iter().filter(|run| run.system == system);
            median(runs.filter_map(|run| value(run.outcome.as_ref().ok()?)))
        };
        let systems = order(runs.iter().map(|run| run.system));
        match case.kind {
            fleet::Kind::Rest => {
                println!("## {} sessions at rest\n", case.sessions);
                println!("| system | KiB each | abide ÷ it | switches/s of all | CPU ms/s of all |");
                println!("| --- | --- | --- | --- | --- |");
                for system in systems {
                    let of = |system, field: fn(f64, f64, f64) -> f64| {
                        of(system, &|measured| match *measured {
                            fleet::Measured::Rest { kib_each, switches_per_second, cpu_ms_per_second } => {
                                Some(field(kib_each, switches_per_second, cpu_ms_per_second))
                            }
                            fleet::Measured::Kill { .. } => None,
                        })
                    };
                    let kib = |system| of(system, |kib, _, _| kib);
                    println!(
                        "| {} | {:.0} | {:.2} | {:.1} | {:.2} |",
                        system.name(),
                        kib(system),
                        kib(System::Abide) / kib(system),
                        of(system, |_, switches, _| switches),
                        of(system, |_, _, cpu| cpu),
                    );
                }
            }
            fleet::Kind::Kill => {
                println!("## {} sessions when the server is killed\n", case.sessions);
                println!("| system | programs alive after it | ms to the last session served again |");
                println!("| --- | --- | --- |");
                for system in systems {
                    let alive = of(system, &|measured| match measured {
                        fleet::Measured::Kill { alive, .. } => Some(*alive as f64),
                        fleet::Measured::Rest { .. } => None,
                    });
                    let recovered = of(system, &|measured| match measured {
                        fleet::Measured::Kill { recovered_ms, .. } => *recovered_ms,
                        fleet::Measured::Rest { .. } => None,
                    });
                    let recovered = if recovered.is_nan() { "–".to_owned() } else { format!("{recovered:.0}") };
                    println!("| {} | {alive:.0} | {recovered} |", system.name());
                }
            }
        }
        println!();
    }

    pub(crate) fn print_throughput(&self, case: throughput::Case, profile: bool) {
        let runs: Vec<_> = (self.throughput.iter())
            .map(|numbered| &numbered.run)
            .filter(|run| run.case.workload == case.workload && run.case.mode == case.mode)
            .collect();
        let measured = |system| -> Vec<&Measured> {
            runs.iter().filter(|run| run.system == system).filter_map(|run| run.outcome.as_ref().ok()).collect()
        };
        let systems = order(runs.iter().map(|run| run.system));
        let rate = |system| median(measured(system).iter().map(|run| run.mb_per_second()));

        println!("## Throughput: {}, {}\n", case.workload.name(), case.mode.name());
        println!(
            "| system | runs | MB/s | min–max | abide ÷ it | received | holder + daemon CPU ms/MB | all CPU ms/MB | CPUs elsewhere |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for &system in &systems {
            let runs = measured(system);
            let rates: Vec<f64> = runs.iter().map(|run| run.mb_per_second()).collect();
            let received = if system.is_stream() {
                let share = median(runs.iter().map(|run| run.received_bytes as f64 / run.bytes as f64));
                format!("{:.1} %", share * 100.0)
            } else {
                "screen".to_owned()
            };
            let between = median(runs.iter().map(|run| per_mb(run, &["holder", "server", "daemon"])));
            let all = median(runs.iter().map(|run| {
                per_mb(run, &["program", "holder", "server", "daemon", "client", "drain"])
                    + run.kernel_threads_ms / run.mb()
            }));
            println!(
                "| {} | {} | {:.1} | {:.1}–{:.1} | {:.2} | {received} | {between:.2} | {all:.2} | {:.2} |",
                system.name(),
                runs.len(),
                rate(system),
                rates.iter().copied().fold(f64::INFINITY, f64::min),
                rates.iter().copied().fold(0.0, f64::max),
                rate(System::Abide) / rate(system),
                median(runs.iter().map(|run| run.cpus_elsewhere)),
            );
        }
        println!();
        if profile {
            for &system in &systems {
                let runs = measured(system);
                let profiles = runs.iter().map(|run| Profile { processes: &run.processes, units: run.mb() });
                print_profile(&format!("{}, per MB", system.name()), "ms", 1e6, &profiles.collect::<Vec<_>>());
                let kernel = median(runs.iter().map(|run| run.kernel_threads_ms / run.mb()));
                println!("Kernel threads: {kernel:.2} ms per MB.\n");
            }
        }
    }

    pub(crate) fn print_echo(&self, case: echo::Case, profile: bool) {
        let runs: Vec<_> = (self.echo.iter())
            .map(|numbered| &numbered.run)
            .filter(|run| run.case.by == case.by && run.case.flood == case.flood)
            .collect();
        let measured = |system| -> Vec<&echo::Measured> {
            runs.iter().filter(|run| run.system == system).filter_map(|run| run.outcome.as_ref().ok()).collect()
        };
        let p10 = |system| median(measured(system).iter().map(|run| run.p10_us));
        let p50 = |system| median(measured(system).iter().map(|run| run.p50_us));
        let p99 = |system| median(measured(system).iter().map(|run| run.p99_us));
        println!("## {}, {} keys\n", case.name(), case.keys);
        println!(
            "| system | runs | p10 µs | p50 µs | p99 µs | abide ÷ it: p10 | p50 | p99 | flood MB/s | CPUs elsewhere |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        let systems = order(runs.iter().map(|run| run.system));
        for &system in &systems {
            let runs = measured(system);
            let flood = median(runs.iter().filter_map(|run| run.flood_mb_per_second));
            println!(
                "| {} | {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {} | {:.2} |",
                system.name(),
                runs.len(),
                p10(system),
                p50(system),
                p99(system),
                p10(System::Abide) / p10(system),
                p50(System::Abide) / p50(system),
                p99(System::Abide) / p99(system),
                if case.flood { format!("{flood:.0}") } else { "–".to_owned() },
                median(runs.iter().map(|run| run.cpus_elsewhere)),
            );
        }
        println!();
        if profile {
            for system in systems {
                let runs = measured(system);
                let profiles = runs.iter().map(|run| Profile { processes: &run.processes, units: case.keys as f64 });
                print_profile(&format!("{}, per key", system.name()), "µs", 1e3, &profiles.collect::<Vec<_>>());
            }
        }
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
        println!("raw numbers: {}", file.display());
        let failed = self.throughput.iter().filter(|numbered| numbered.run.outcome.is_err()).count()
            + self.echo.iter().filter(|numbered| numbered.run.outcome.is_err()).count()
            + self.fleet.iter().filter(|numbered| numbered.run.outcome.is_err()).count();
        if failed > 0 {
            bail!("{failed} measurements failed");
        }
        Ok(())
    }
}

/// One run's processes, and how many units of work (MB, keys) they did.
struct Profile<'a> {
    processes: &'a BTreeMap<&'static str, Usage>,
    units: f64,
}

/// Where the time went; `tick` is the unit of CPU time in the table, in nanoseconds.
fn print_profile(title: &str, time: &str, tick: f64, runs: &[Profile<'_>]) {
    let Some(first) = runs.first() else { return println!("{title}: no run succeeded\n") };
    println!("{title} (medians):\n");
    println!(
        "| process | CPU {time} | of it user | reads | writes | bytes a write | switches | threads (CPU {time}) |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (role, usage) in first.processes {
        let of = |value: &dyn Fn(&Usage) -> f64| {
            median(runs.iter().filter_map(|run| run.processes.get(role).map(|usage| value(usage) / run.units)))
        };
        let of_run =
            |value: &dyn Fn(&Usage) -> f64| median(runs.iter().filter_map(|run| run.processes.get(role).map(value)));
        let threads = usage.threads.keys().map(|name| {
            let time = of(&|usage| usage.threads.get(name).copied().unwrap_or(0) as f64 / tick);
            format!("{name} {time:.2}")
        });
        println!(
            "| {role} | {:.2} | {:.0} % | {:.1} | {:.1} | {:.0} | {:.1} | {} |",
            of(&|usage| usage.cpu_ns as f64 / tick),
            of_run(&|usage| usage.user_percent as f64),
            of(&|usage| usage.reads as f64),
            of(&|usage| usage.writes as f64),
            of_run(&|usage| usage.written_bytes as f64 / (usage.writes.max(1)) as f64),
            of(&|usage| usage.switches as f64),
            threads.collect::<Vec<_>>().join("; "),
        );
    }
    println!();
}

/// JSON with one measurement a line.
fn lines(reports: &[serde_json::Value]) -> anyhow::Result<String> {
    let list = |value: &serde_json::Value| -> anyhow::Result<String> {
        let items: Result<Vec<_>, _> = value.as_array().into_iter().flatten().map(serde_json::to_string).collect();
        Ok(items?.join(",\n"))
    };
    let mut all = Vec::new();
    for report in reports {
        all.push(format!(
            "{{\"machine\":{},\n\"throughput\":[\n{}],\n\"echo\":[\n{}],\n\"fleet\":[\n{}]}}",
            report["machine"],
            list(&report["throughput"])?,
            list(&report["echo"])?,
            list(&report["fleet"])?
        ));
    }
    Ok(format!("[{}]\n", all.join(",\n")))
}

/// CPU ms per MB of the processes in these roles.
fn per_mb(run: &Measured, roles: &[&str]) -> f64 {
    let cpu_ns: u64 =
        run.processes.iter().filter(|(role, _)| roles.contains(role)).map(|(_, usage)| usage.cpu_ns).sum();
    cpu_ns as f64 / 1e6 / run.mb()
}

/// Each system once, in the order of the first round.
fn order(systems: impl Iterator<Item = System>) -> Vec<System> {
    let mut order = Vec::new();
    for system in systems {
        if !order.contains(&system) {
            order.push(system);
        }
    }
    order
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
