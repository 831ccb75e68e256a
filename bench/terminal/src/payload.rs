//! What the program prints. The same block again and again, so that the program does nothing but write.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

/// Bytes of one block, about: what the program hands to one `write`.
const BLOCK_BYTES: usize = 256 * 1024;

/// The kind of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Lines of 79 printable characters.
    Ascii,
    /// A status block of twelve lines, redrawn in place with colours, boxes and a spinner: what an agent prints.
    Dense,
    /// Lines of one to three digits.
    Short,
}

/// How the program's PTY is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// As a shell leaves it: the kernel makes `\r\n` of `\n`.
    Cooked,
    /// Raw: the program writes `\r\n` itself, so that the same bytes come out.
    Raw,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ascii",
            Self::Dense => "dense",
            Self::Short => "short",
        }
    }

    /// Bytes that come out of the program's PTY in one run, about.
    fn size(self) -> f64 {
        match self {
            Self::Ascii => 100e6,
            Self::Dense => 50e6,
            Self::Short => 20e6,
        }
    }
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cooked => "cooked",
            Self::Raw => "raw",
        }
    }
}

/// Blocks of one run.
#[derive(Debug)]
pub(crate) struct Payload {
    /// What is written, `count` times.
    pub block: Vec<u8>,
    pub count: usize,
    /// Bytes of one block once they have left the PTY (`\r\n` for each `\n`).
    block_out_bytes: usize,
}

impl Payload {
    pub(crate) fn new(workload: Workload, mode: Mode, scale: f64) -> Self {
        let text = block(workload);
        let newlines = text.bytes().filter(|&byte| byte == b'\n').count();
        let block_out_bytes = text.len() + newlines;
        let block = match mode {
            Mode::Cooked => text.into_bytes(),
            Mode::Raw => text.replace('\n', "\r\n").into_bytes(),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred blocks")]
        let count = (workload.size() * scale / block_out_bytes as f64).ceil() as usize;
        Self { block, count, block_out_bytes }
    }

    /// Bytes that leave the program's PTY.
    pub(crate) fn out_bytes(&self) -> usize {
        self.block_out_bytes * self.count
    }
}

fn block(workload: Workload) -> String {
    let mut text = String::with_capacity(BLOCK_BYTES + 4096);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for n in 0_u64.. {
        match workload {
            Workload::Ascii => ascii_line(&mut text, &mut random),
            Workload::Dense => dense_frame(&mut text, n),
            Workload::Short => {
                let _ = writeln!(text, "{}", n % 1000);
            }
        }
        if text.len() >= BLOCK_BYTES {
            break;
        }
    }
    text
}

fn ascii_line(text: &mut String, random: &mut u64) {
    for _ in 0..79 {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        // Words and blanks, no '<': markers begin with it.
        text.push(match *random % 40 {
            letter @ 0..26 => char::from(b'a' + u8::try_from(letter).unwrap_or(0)),
            digit @ 26..36 => char::from(b'0' + u8::try_from(digit - 26).unwrap_or(0)),
            _ => ' ',
        });
    }
    text.push('\n');
}

fn dense_frame(text: &mut String, n: u64) {
    let spinner = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'][(n % 10) as usize];
    text.push_str("\x1b[?2026h\x1b[12A");
    let _ = writeln!(text, "\r\x1b[2K\x1b[38;2;215;119;87m{spinner} Working\x1b[0m \x1b[2m({n}s)\x1b[22m");
    for row in 0..10 {
        let (red, green) = ((n * 7 + row * 31) % 256, (n * 13 + row * 17) % 256);
        let _ = writeln!(
            text,
            "\r\x1b[2K\x1b[90m│\x1b[39m \x1b[38;2;{red};{green};99m\x1b[1mstep {row}\x1b[22m\x1b[39m \
             \x1b[48;5;{}m {:>3} % \x1b[49m \x1b[3msrc/file_{row}.rs\x1b[23m:\x1b[33m{}\x1b[39m\x1b[K",
            16 + (n + row) % 200,
            (n + row) % 101,
            n % 997,
        );
    }
    text.push_str("\r\x1b[2K\x1b[90m╰──────────────────────────────╯\x1b[0m\n\x1b[?2026l");
}
