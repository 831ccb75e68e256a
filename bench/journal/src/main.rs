//! What the journal costs, beside raft-engine and fjall in the same run: durable appends by one and by many writers,
//! appends that are not synced, bytes written for bytes appended, opening a store, and scanning it.
//!
//! Each measurement is made in a process of its own, in a directory of its own. Systems take turns within each round, and in
//! each round the disk alone is measured beside them: medians over the rounds are compared, and a number is only printed
//! beside the others of the same run.

mod fjall;
mod journal;
mod machine;
mod measure;
mod raft;
mod raw;
mod report;
mod store;
mod usage;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};

use crate::measure::{Case, Measured};
use crate::report::{Report, Run};
use crate::store::System;

#[derive(Parser)]
#[command(about = "Durable appends, side by side")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, print tables, and write the raw numbers
    Run(RunArgs),
    /// One measurement; started by `run`
    #[command(hide = true)]
    Measure { system: System, dir: PathBuf, case: String },
}

/// Which measurements.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// One writer, which waits for the sync of each record
    Single,
    /// Many of them
    Sync,
    /// One writer, no sync
    Os,
    /// Opening a store of many records, and scanning it
    Read,
}

#[derive(clap::Args)]
struct RunArgs {
    /// How often each measurement is repeated
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Factor on the sizes (2 s of synced appends; 200,000 without sync; 1,000,000 records to open and scan)
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_values = ["single", "sync", "os", "read"])]
    only: Vec<Bench>,
    /// Which systems, in this order in each round; the raw disk is always measured beside synced appends
    #[arg(long, value_delimiter = ',', default_values = ["abide", "raft-engine", "fjall"])]
    systems: Vec<System>,
    /// How many writers wait for syncs
    #[arg(long, value_delimiter = ',', default_values = ["8", "64", "256"])]
    writers: Vec<u64>,
    /// Where stores are made; without it, $TMPDIR. Not on a file system in memory
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the raw numbers go; without it, bench/results/journal-<date>.json of the repository
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => run(&args),
        Command::Measure { system, dir, case } => child(system, &dir, &case),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-journal: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process at once: what a case leaves open stays as a kill would leave it.
fn child(system: System, dir: &Path, case: &str) -> anyhow::Result<()> {
    let measured = measure::measure(system, dir, serde_json::from_str(case)?)?;
    println!("{}", serde_json::to_string(&measured)?);
    std::process::exit(0)
}

fn run(args: &RunArgs) -> anyhow::Result<()> {
    let repository = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let machine = machine::describe(&parent)?;
    let dir = parent.join(format!("bench-journal.{}", std::process::id()));
    let out = args.out.clone().unwrap_or_else(|| {
        repository.join(format!("bench/results/journal-{}.json", jiff::Zoned::now().strftime("%Y-%m-%d")))
    });
    let mut report = Report::new(machine);
    let rounds = Rounds { args, dir: &dir };
    let seconds = 2.0 * args.scale;
    let mut synced = Vec::new();
    if args.only.contains(&Bench::Single) {
        synced.push(1);
    }
    if args.only.contains(&Bench::Sync) {
        synced.extend(&args.writers);
    }
    for writers in synced {
        let case = Case::Sync { writers, seconds };
        // One writer is compared with it; beside many it tells what the disk was like in that minute.
        let raw = Case::Sync { writers: 1, seconds: if writers == 1 { seconds } else { seconds / 4.0 } };
        rounds.appends(&mut report, case, raw)?;
        report.write(&out)?;
    }
    if args.only.contains(&Bench::Os) {
        let case = Case::Os { appends: scaled(200_000, args.scale) };
        rounds.appends(&mut report, case, case)?;
        report.write(&out)?;
    }
    if args.only.contains(&Bench::Read) {
        rounds.reads(&mut report, scaled(1_000_000, args.scale))?;
    }
    report.finish(&out)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
fn scaled(count: u64, scale: f64) -> u64 {
    ((count as f64 * scale) as u64).max(1)
}

struct Rounds<'a> {
    args: &'a RunArgs,
    dir: &'a Path,
}

impl Rounds<'_> {
    fn appends(&self, report: &mut Report, case: Case, raw: Case) -> anyhow::Result<()> {
        let systems: Vec<System> = [System::Raw].iter().chain(&self.args.systems).copied().collect();
        for round in 1..=self.args.rounds {
            for &system in &systems {
                let case = if system == System::Raw { raw } else { case };
                let outcome = self.in_directory(|dir| measured(system, dir, case))?;
                report.add(Run { round, system, case, outcome: outcome.map_err(|error| format!("{error:#}")) });
            }
        }
        report.print_appends(case, &systems, raw);
        Ok(())
    }

    fn reads(&self, report: &mut Report, records: u64) -> anyhow::Result<()> {
        // The LSM tree is context for appends only.
        let systems: Vec<System> =
            self.args.systems.iter().copied().filter(|system| *system != System::Fjall).collect();
        let case = Case::Read { records };
        for round in 1..=self.args.rounds {
            for &system in &systems {
                let outcome = self.in_directory(|dir| {
                    start(system, dir, Case::Load { records })?;
                    measured(system, dir, case)
                })?;
                report.add(Run { round, system, case, outcome: outcome.map_err(|error| format!("{error:#}")) });
            }
        }
        report.print_reads(case, &systems);
        Ok(())
    }

    /// In an empty directory, which is removed.
    fn in_directory<T>(&self, work: impl FnOnce(&Path) -> T) -> anyhow::Result<T> {
        std::fs::create_dir_all(self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let result = work(self.dir);
        std::fs::remove_dir_all(self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))?;
        Ok(result)
    }
}

fn measured(system: System, dir: &Path, case: Case) -> anyhow::Result<Measured> {
    start(system, dir, case)?.context("nothing was measured")
}

/// In a process of its own.
fn start(system: System, dir: &Path, case: Case) -> anyhow::Result<Option<Measured>> {
    let out = Process::new(std::env::current_exe()?)
        .arg("measure")
        .arg(system.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned()))
        .arg(dir)
        .arg(serde_json::to_string(&case)?)
        .stderr(Stdio::piped())
        .output()?;
    if !out.status.success() {
        bail!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
