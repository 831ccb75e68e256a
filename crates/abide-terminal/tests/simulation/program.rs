//! Programs: what they print is known by heart, and how they behave is drawn.

use abide_sim::Rng;

/// Bytes that a terminal keeps for who reads it.
pub(crate) const TERMINAL_BYTES: u64 = 64;
/// Unread input that a terminal takes.
pub(crate) const INPUT_BYTES: u64 = 24;

/// The byte at this place of what a program prints. Each program of each session prints others.
pub(crate) fn byte(session: u64, incarnation: u64, at: u64) -> u8 {
    Rng::new(session.wrapping_mul(0x1_0000_01b3) ^ incarnation.wrapping_mul(0x9e37_79b9) ^ (at << 20))
        .next_u64()
        .to_le_bytes()[3]
}

/// Where a process goes that a program leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// It stays in the terminal, and keeps it open.
    InTheTerminal,
    /// It has a session of its own, and no terminal.
    OutOfIt,
}

/// How a program behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent habits")]
pub(crate) struct Script {
    /// Bytes it prints before it ends by itself; none: it prints on without end.
    pub(crate) prints: Option<u64>,
    /// It ends by itself after printing; else it waits for its input, or for its end.
    pub(crate) ends: bool,
    /// It reads its input.
    pub(crate) reads: bool,
    /// It cannot be started.
    pub(crate) fails: bool,
    /// It leaves a process behind.
    pub(crate) leaves: Option<Leaves>,
    /// It closes its terminal once it has printed so much, and opens it again after so many milliseconds.
    pub(crate) closes: Option<(u64, u64)>,
    /// HUP and TERM do nothing to it.
    pub(crate) ignores: bool,
    /// Its exit status.
    pub(crate) status: u8,
}

impl Script {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let endless = rng.one_in(6);
        let at_once = rng.one_in(8);
        let prints = if at_once { rng.below(3) } else { rng.below(4_000) };
        Self {
            prints: (!endless || at_once).then_some(prints),
            ends: at_once || rng.one_in(3),
            reads: !rng.one_in(4),
            fails: rng.one_in(20),
            leaves: [Some(Leaves::InTheTerminal), Some(Leaves::OutOfIt), None, None, None, None][rng.index(6)],
            closes: rng.one_in(6).then(|| (rng.below(prints + 1), rng.below(20_000))),
            ignores: rng.one_in(4),
            status: rng.next_u64().to_le_bytes()[0] % 3,
        }
    }
}
