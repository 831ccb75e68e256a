//! The measured program. It does nothing until it is told to, so that whoever measures knows that the client is attached:
//! `r` is answered with [`READY`] and the pid, `g` starts the work, `q` ends the program.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::drain::RUN_MAX;
use crate::payload::{Mode, Payload, Workload};

/// Followed by the program's pid and [`READY_END`].
pub(crate) const READY: &[u8] = b"<<ready ";
pub(crate) const READY_END: &[u8] = b">>";
/// Echo: the terminal is set, keys may be typed.
pub(crate) const GO: &[u8] = b"<<go>>";
/// Throughput: the last bytes of the output.
pub(crate) const END: &[u8] = b"<<end of run>>";

#[derive(Subcommand)]
pub(crate) enum Kind {
    /// Print a workload
    Print { workload: Workload, mode: Mode, scale: f64 },
    /// Let the kernel echo what is typed
    EchoKernel,
    /// Echo what is typed, in raw mode
    EchoRaw,
    /// Print until killed, at once; the pid goes to a file
    Flood { pid_file: PathBuf },
    /// Print 1 KiB and wait; then the pid goes to a file
    Small { pid_file: PathBuf },
}

pub(crate) fn run(kind: &Kind) -> anyhow::Result<()> {
    match kind {
        Kind::Print { workload, mode, scale } => print(*workload, *mode, *scale),
        Kind::EchoKernel => echo_kernel(),
        Kind::EchoRaw => echo_raw(),
        Kind::Flood { pid_file } => flood(pid_file),
        Kind::Small { pid_file } => small(pid_file),
    }
}

fn print(workload: Workload, mode: Mode, scale: f64) -> anyhow::Result<()> {
    let payload = Payload::new(workload, mode, scale);
    let original = wait_go()?;
    match mode {
        Mode::Cooked => set(&original)?,
        Mode::Raw => set(&raw(&original))?,
    }
    let mut out = rustix::stdio::stdout();
    for _ in 0..payload.count {
        write_all(&mut out, &payload.block)?;
    }
    write_all(&mut out, END)?;
    set(&raw(&original))?;
    while read_byte()? != b'q' {}
    Ok(())
}

fn echo_kernel() -> anyhow::Result<()> {
    let mut termios = wait_go()?;
    // Byte by byte: a line without an end would fill the kernel's line buffer at 4,095.
    termios.local_modes.remove(LocalModes::ICANON);
    termios.local_modes.insert(LocalModes::ECHO);
    set(&termios)?;
    write_all(&mut rustix::stdio::stdout(), GO)?;
    while read_byte()? != b'q' {}
    Ok(())
}

fn echo_raw() -> anyhow::Result<()> {
    set(&raw(&wait_go()?))?;
    let mut out = rustix::stdio::stdout();
    write_all(&mut out, GO)?;
    loop {
        match read_byte()? {
            b'q' => return Ok(()),
            byte => write_all(&mut out, &[byte])?,
        }
    }
}

/// Ends by itself when no run can want it any more: whoever measured may have been killed.
fn flood(pid_file: &PathBuf) -> anyhow::Result<()> {
    std::fs::write(pid_file, std::process::id().to_string())?;
    let payload = Payload::new(Workload::Ascii, Mode::Cooked, 1.0);
    let mut out = rustix::stdio::stdout();
    let started = Instant::now();
    while started.elapsed() < RUN_MAX {
        write_all(&mut out, &payload.block)?;
    }
    Ok(())
}

fn small(pid_file: &PathBuf) -> anyhow::Result<()> {
    for line in 0..16 {
        println!("{line:062}");
    }
    std::fs::write(pid_file, std::process::id().to_string())?;
    while read_byte().is_ok() {}
    Ok(())
}

/// Waits for `g` in a terminal that echoes nothing, and returns how it was set before.
fn wait_go() -> anyhow::Result<Termios> {
    let original = tcgetattr(rustix::stdio::stdin()).context("the program needs a terminal")?;
    let mut quiet = original.clone();
    quiet.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    set(&quiet)?;
    loop {
        match read_byte()? {
            b'g' => return Ok(original),
            b'r' => {
                let mut out = std::io::stdout();
                out.write_all(READY)?;
                write!(out, "{}", std::process::id())?;
                out.write_all(READY_END)?;
                out.write_all(b"\r\n")?;
                out.flush()?;
            }
            _ => {}
        }
    }
}

fn raw(original: &Termios) -> Termios {
    let mut raw = original.clone();
    raw.make_raw();
    raw
}

fn set(termios: &Termios) -> anyhow::Result<()> {
    Ok(tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, termios)?)
}

/// One byte from the terminal; never more, so that nothing is taken that a later mode should see.
fn read_byte() -> anyhow::Result<u8> {
    let mut byte = [0];
    // Unbuffered: std's stdin would read ahead.
    if rustix::io::read(rustix::stdio::stdin(), &mut byte)? == 0 {
        bail!("the terminal was closed");
    }
    Ok(byte[0])
}

fn write_all(out: &mut rustix::fd::BorrowedFd<'_>, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(*out, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}
