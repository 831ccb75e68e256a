//! Connections: two queues of bytes, delivered a few at a time, and what becomes of them when an end dies.

use std::collections::{BTreeMap, VecDeque};

use abide_sim::Rng;

/// Names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireId(pub(crate) u64);

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Who connected.
    Client,
    /// Who was connected to.
    Server,
}

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// Nobody writes into it any more.
    closed: bool,
}

#[derive(Debug, Default)]
struct Wire {
    up: Pipe,
    down: Pipe,
    /// Nothing gets through for now, and nobody is told.
    stuck_until: u64,
    /// Its client reads a byte in each millisecond, and has read all that it may up to this one.
    slow_since: Option<u64>,
    /// It is cut: what got through before can still be read.
    cut: bool,
}

impl Wire {
    fn from(&mut self, end: End) -> &mut Pipe {
        match end {
            End::Client => &mut self.up,
            End::Server => &mut self.down,
        }
    }

    fn to(&mut self, end: End) -> &mut Pipe {
        match end {
            End::Client => &mut self.down,
            End::Server => &mut self.up,
        }
    }
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Nothing,
    Bytes(Vec<u8>),
    /// The other end is gone, and what it wrote is read.
    End,
}

/// All connections of a world.
#[derive(Debug, Default)]
pub(crate) struct Net {
    wires: BTreeMap<WireId, Wire>,
    next: u64,
}

impl Net {
    /// A new connection, both ends open.
    pub(crate) fn connect(&mut self) -> WireId {
        self.next += 1;
        let id = WireId(self.next);
        self.wires.insert(id, Wire::default());
        id
    }

    /// Writes; into a connection whose other end is gone it goes nowhere.
    pub(crate) fn write(&mut self, id: WireId, end: End, bytes: &[u8]) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if !wire.cut && !wire.to(end).closed && !wire.from(end).closed {
            wire.from(end).bytes.extend(bytes);
        }
    }

    /// Bytes written by this end and not read by the other one.
    pub(crate) fn unread(&self, id: WireId, end: End) -> usize {
        let written = |wire: &Wire| match end {
            End::Client => wire.up.bytes.len(),
            End::Server => wire.down.bytes.len(),
        };
        self.wires.get(&id).map_or(0, written)
    }

    /// Takes some of what has come, at most `max` bytes.
    pub(crate) fn read(&mut self, id: WireId, end: End, now: u64, max: usize, rng: &mut Rng) -> Read {
        let Some(wire) = self.wires.get_mut(&id) else { return Read::End };
        if wire.stuck_until > now {
            return Read::Nothing;
        }
        let pipe = wire.to(end);
        let there = pipe.bytes.len().min(max);
        if there == 0 {
            return if pipe.closed { Read::End } else { Read::Nothing };
        }
        let mut some = match rng.below(4) {
            0 => 1 + rng.index(40),
            1 => 1 + rng.index(1_000),
            _ => there,
        };
        if let (Some(since), End::Client) = (&mut wire.slow_since, end) {
            some = some.min(usize::try_from(now - *since).unwrap());
            if some == 0 {
                return Read::Nothing;
            }
            *since = now;
        }
        Read::Bytes(wire.to(end).bytes.drain(..some.min(there)).collect())
    }

    /// One end closes, or dies: what it wrote can still be read.
    pub(crate) fn close(&mut self, id: WireId, end: End) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.from(end).closed = true;
        wire.to(end).bytes.clear();
        if wire.up.closed && wire.down.closed && wire.up.bytes.is_empty() && wire.down.bytes.is_empty() {
            self.wires.remove(&id);
        }
    }

    /// The connection is cut at any byte: of what is under way in either direction some of the first gets through.
    pub(crate) fn cut(&mut self, id: WireId, rng: &mut Rng) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.cut = true;
        for pipe in [&mut wire.up, &mut wire.down] {
            pipe.bytes.truncate(rng.index(pipe.bytes.len() + 1));
            pipe.closed = true;
        }
    }

    /// All connections are cut.
    pub(crate) fn cut_all(&mut self) {
        self.wires.clear();
    }

    /// Nothing gets through until then.
    pub(crate) fn stick(&mut self, id: WireId, until: u64) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.stuck_until = until;
        }
    }

    /// Its client reads slowly from now on.
    pub(crate) fn slow_down(&mut self, id: WireId, now: u64) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.slow_since = Some(now);
        }
    }

    /// Everybody reads as fast as it comes.
    pub(crate) fn nobody_is_slow(&mut self) {
        for wire in self.wires.values_mut() {
            wire.slow_since = None;
        }
    }

    /// Whether the other end is open.
    pub(crate) fn is_open(&mut self, id: WireId, end: End) -> bool {
        self.wires.get_mut(&id).is_some_and(|wire| !wire.to(end).closed)
    }

    /// Whether nothing is under way that could be read now, or later without anybody doing anything.
    pub(crate) fn stuck_until(&self) -> Option<u64> {
        self.wires.values().map(|wire| wire.stuck_until).filter(|until| *until > 0).min()
    }
}
