//! Measures how fast a model takes output and a filter passes it on, how long a snapshot takes, and what a model
//! weighs: `cargo run --release -p abide-screen --example throughput`.

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "this prints measurements")]

use std::time::Instant;

use abide_screen::{Failed, Model, QueryFilter, Size};

const READ_BYTES: usize = 64 * 1024;
const SIZE: Size = Size { cols: 80, rows: 24 };
const HISTORY_LINES_MAX: usize = 2_000;

fn main() -> Result<(), Failed> {
    let ascii = b"the quick brown fox jumps over the lazy dog, and then it does so again....\r\n".repeat(100_000);
    let coloured = b"\x1b[32m drwxr-xr-x\x1b[0m  2 \x1b[1;34mname\x1b[0m \x1b[38;5;200mname\x1b[m  4096 \x1b[01;34mfile\x1b[0m\r\n"
        .repeat(100_000);
    let wide = "漢字かな交じり文、もう一度。\r\n".as_bytes().repeat(100_000);
    for (name, output) in [("ASCII lines", &ascii), ("coloured lines", &coloured), ("wide lines", &wide)] {
        let mut model = Model::new(SIZE, HISTORY_LINES_MAX);
        let start = Instant::now();
        for part in output.chunks(READ_BYTES) {
            model.feed(part)?;
        }
        println!("model, {name}: {:.0} MB/s", output.len() as f64 / start.elapsed().as_secs_f64() / 1e6);
        let (mut filter, mut out) = (QueryFilter::observer(), Vec::with_capacity(2 * READ_BYTES));
        let start = Instant::now();
        for part in output.chunks(READ_BYTES) {
            out.clear();
            filter.filter(part, &mut out);
        }
        println!("filter, {name}: {:.0} MB/s", output.len() as f64 / start.elapsed().as_secs_f64() / 1e6);
        let start = Instant::now();
        let snapshot = model.snapshot(HISTORY_LINES_MAX);
        println!("snapshot, {name}: {} bytes in {:?}", snapshot.bytes.len(), start.elapsed());
    }

    let before = resident_kib();
    let mut models: Vec<Model> = (0..100).map(|_| Model::new(SIZE, HISTORY_LINES_MAX)).collect();
    println!("100 empty models: {} KiB each", (resident_kib() - before) / 100);
    for model in &mut models {
        model.feed(&ascii[..READ_BYTES / 16])?;
        model.compact();
    }
    println!("100 models after 4 KiB of output, compact: {} KiB each", (resident_kib() - before) / 100);
    for model in &mut models {
        model.feed(&ascii[..READ_BYTES / 16])?;
    }
    println!("100 models that scroll: {} KiB each", (resident_kib() - before) / 100);
    Ok(())
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
