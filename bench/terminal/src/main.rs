//! What a terminal session costs, beside other systems in the same run: throughput to one attached, fast client, and
//! the echo of keystrokes; and what many sessions cost at rest.
//!
//! Each system runs the same program (this binary's own `program`) and is read by the same loop: a PTY is opened, the
//! system's attach client is started in it, and its output is drained. The bare PTY, the physical limit, has the program
//! itself there. Systems take turns within each round, so that whatever else the machine does falls on all of them;
//! medians over the rounds are compared, and a number is only printed beside the others of the same run.

mod drain;
mod echo;
mod fleet;
mod machine;
mod payload;
mod program;
mod report;
mod sys;
mod system;
mod throughput;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};

use crate::payload::{Mode, Workload};
use crate::report::Report;
use crate::system::{Setup, System};

#[derive(Parser)]
#[command(about = "Throughput, keystroke echo and fleets of terminal sessions, side by side")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, print tables, and write the raw numbers
    Run(Box<RunArgs>),
    /// The measured program; started by `run` in each session
    #[command(hide = true)]
    Program {
        #[command(subcommand)]
        kind: program::Kind,
    },
}

/// Which half of the measurements.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// B1 and B2: bytes per second, and CPU per megabyte
    Throughput,
    /// B3: from a typed byte to its echo
    Echo,
    /// B5, B7 and B9: memory, what wakes up, and what a killed server leaves, of many sessions
    Fleet,
}

#[derive(clap::Args)]
struct RunArgs {
    /// The measured binary; without it, target/release/abide of the repository
    #[arg(long)]
    abide: Option<PathBuf>,
    /// How often each measurement is repeated
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Factor on the sizes (100 MB ascii, 50 MB dense, 20 MB short lines; 5,000 keys)
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_values = ["throughput", "echo", "fleet"])]
    only: Vec<Bench>,
    /// Which systems, in this order in each round
    #[arg(long, value_delimiter = ',', default_values = ["bare", "dtach", "tmux", "abide"])]
    systems: Vec<System>,
    /// Which output
    #[arg(long, value_delimiter = ',', default_values = ["ascii", "dense", "short"])]
    workloads: Vec<Workload>,
    /// How the program's PTY is set
    #[arg(long, value_delimiter = ',', default_values = ["cooked", "raw"])]
    modes: Vec<Mode>,
    /// Print where the time goes: CPU and system calls per megabyte of each process and thread
    #[arg(long)]
    profile: bool,
    /// Where the raw numbers go; without it, bench/results/terminal-<date>.json of the repository
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => run(&args),
        Command::Program { kind } => program::run(&kind),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-terminal: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> anyhow::Result<()> {
    let repository = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let abide = args.abide.clone().unwrap_or_else(|| repository.join("target/release/abide"));
    let abide = abide.canonicalize().with_context(|| format!("no abide binary at {}", abide.display()))?;
    let setup = Setup::new(abide)?;
    let out = args.out.clone().unwrap_or_else(|| {
        repository.join(format!("bench/results/terminal-{}.json", jiff::Zoned::now().strftime("%Y-%m-%d")))
    });
    let mut report = Report::new(machine::describe(&setup, &args.systems)?);

    if args.only.contains(&Bench::Throughput) {
        for &workload in &args.workloads {
            for &mode in &args.modes {
                let case = throughput::Case { workload, mode, scale: args.scale };
                for round in 1..=args.rounds {
                    for &system in &args.systems {
                        report.throughput(round, throughput::measure(&setup, system, case));
                    }
                }
                report.print_throughput(case, args.profile);
                report.write(&out)?;
            }
        }
    }
    if args.only.contains(&Bench::Echo) {
        for case in echo::Case::all(args.scale) {
            for round in 1..=args.rounds {
                for &system in &args.systems {
                    report.echo(round, echo::measure(&setup, system, case));
                }
            }
            report.print_echo(case, args.profile);
            report.write(&out)?;
        }
    }
    if args.only.contains(&Bench::Fleet) {
        // There is nothing that a bare PTY could hold many of.
        let systems: Vec<System> = args.systems.iter().copied().filter(|system| *system != System::Bare).collect();
        for case in fleet::Case::all(args.scale) {
            for round in 1..=args.rounds {
                for &system in &systems {
                    report.fleet(round, fleet::measure(&setup, system, case));
                }
            }
            report.print_fleet(case);
            report.write(&out)?;
        }
    }
    report.finish(&out)
}
