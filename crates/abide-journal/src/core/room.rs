//! Room ahead: the present segment grows before it is needed, then come the reserve, the spare segments, and the next one.

use super::batch::LAST_ROOM_BYTES;
use super::space::SpaceState;
use super::store::{Effect, Now, Phase, Request, Store, Stream, TicketId};
use crate::disk::DiskSpace;
use crate::error::Error;
use crate::format::BLOCK_BYTES;

/// A file that is made ahead of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ahead {
    /// A segment of the stream.
    Segment(u64),
    /// A whole segment of zeros, or of old bytes, kept for what makes room.
    Spare(u64),
    /// Zeros that are given up when an index snapshot finds no room.
    Reserve,
}

/// What a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It exists.
    Grown,
    /// It is new.
    Made,
    /// This spare segment becomes it, whole.
    Spare(u64),
}

/// Who may use how much of a store without room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// What fits before the spare segments.
    Ordinary,
    /// The spare segments but for the last room.
    Essential,
    /// Everything: it makes room, or is told to.
    All,
}

/// Room is tried again after this time.
const RETRY_MS: u64 = 1_000;
/// Room for what frees a dead segment: two index snapshots behind what killed it, at batches of their own, each in a block of
/// its own behind the rest of one.
pub(super) const PROOFS_BYTES: u64 = 3 * BLOCK_BYTES;
/// A file grows ahead of use in steps of this many bytes.
pub(super) const STEP_BYTES: u64 = 1 << 20;

impl Store {
    /// Control records may use everything: dropping is how a full store gets room. New logs, and units that are wholly
    /// essential, may use the spare segments.
    pub(super) fn claim(&self, request: &Request) -> Claim {
        let essential = |log| self.logs.get(log).is_none_or(|state| state.facts.options.essential);
        let of = |essential| if essential { Claim::Essential } else { Claim::Ordinary };
        match request {
            Request::Append { entries, .. } => of(entries.iter().all(|entry| essential(&entry.log))),
            Request::AddCheckpoint { log, .. } | Request::AddFile { log, .. } => of(essential(log)),
            Request::Create { .. } => Claim::Essential,
            _ => Claim::All,
        }
    }

    /// Room at the end of the segment that is not for this request: as long as there is no further segment that it may use,
    /// a part is kept for what makes room, like a drop, and a part of that for the snapshots that follow it.
    pub(super) fn room_kept_from(&self, request: &Request) -> u64 {
        if self.stream.next.is_some() || !self.spares.is_empty() {
            return 0;
        }
        let last = (self.settings.segment_bytes / 8).min(LAST_ROOM_BYTES);
        match self.claim(request) {
            Claim::All => PROOFS_BYTES,
            Claim::Essential => last + PROOFS_BYTES,
            Claim::Ordinary => 2 * last + PROOFS_BYTES,
        }
    }

    /// The same from a batch without records: nothing if a dead segment waits for it, or the store ends.
    pub(super) fn room_kept_from_proof(&self) -> u64 {
        let free = self.stream.next.is_some() || !self.spares.is_empty();
        let needed = free || self.roots.waiting() || !matches!(self.phase, Phase::Ready);
        if needed { 0 } else { PROOFS_BYTES }
    }

    /// Whether the first request of the queue may take a spare segment.
    fn may_take_spare(&self) -> bool {
        self.no_room && self.queue.front().is_some_and(|(_, request)| self.claim(request) > Claim::Ordinary)
    }

    /// In a full store what found no room is refused, instead of waiting for it.
    pub(super) fn refuse_without_room(&mut self, out: &mut Vec<Effect>) {
        let waits = self.may_take_spare() && (!self.spares.is_empty() || self.stream.preparing);
        if waits && !self.stream.leaving && self.stream.missing > 0 {
            // The present segment cannot grow: the spare one takes it.
            self.stream.leaving = true;
        }
        if self.no_room
            && !waits
            && let Some((ticket, request)) = self.queue.pop_front()
        {
            self.stream.leaving = false;
            self.stream.missing = 0;
            self.refuse(ticket, &request, out);
        }
    }

    fn refuse(&mut self, ticket: TicketId, request: &Request, out: &mut Vec<Effect>) {
        match request {
            Request::Move(_) => self.compacting = None,
            Request::AddFile { log, checkpoint } => {
                self.files.remove(&(*log, checkpoint.lsn));
                self.unlinked.push((*log, checkpoint.lsn));
            }
            _ => {}
        }
        out.push(Effect::Reply { ticket, result: Err(Error::Full) });
    }

    /// Segments that may be made without passing `bytes_max`.
    fn reached(&self, more: u64) -> bool {
        self.limits().reached(self.roots.count() + self.spares.len() as u64 + more - 1)
    }

    pub(super) fn advance_room(&mut self, out: &mut Vec<Effect>) {
        if self.stream.preparing {
            return;
        }
        if self.may_take_spare()
            && self.stream.leaving
            && self.stream.next.is_none()
            && let Some(spare) = self.spares.pop_first()
        {
            let segment = self.stream.segment + 1;
            let to = self.settings.segment_bytes;
            self.prepare(Ahead::Segment(segment), Origin::Spare(spare), to, to, out);
            return;
        }
        if self.no_room && !self.retry_room {
            return;
        }
        self.retry_room = false;
        match self.wanted_room() {
            Some((ahead, Origin::Spare(spare), ..)) => {
                self.spares.remove(&spare);
                let to = self.settings.segment_bytes;
                self.prepare(ahead, Origin::Spare(spare), to, to, out);
            }
            // Within the bound of the store nothing more may be made.
            Some((Ahead::Segment(_) | Ahead::Spare(_), Origin::Made, ..)) if self.reached(1) => self.no_room = true,
            Some((ahead, origin, from, to)) => self.prepare(ahead, origin, from, to, out),
            None => self.no_room = false,
        }
    }

    /// The next piece of room that is missing, if any: of which file, from what, from which byte to which.
    fn wanted_room(&self) -> Option<(Ahead, Origin, u64, u64)> {
        let Stream { segment, end, prepared, missing, leaving, .. } = self.stream;
        let size = self.settings.segment_bytes;
        if !leaving && prepared < size && prepared < end + missing.max(STEP_BYTES) {
            let to = ((end + missing).max(prepared) + STEP_BYTES).next_multiple_of(BLOCK_BYTES).min(size);
            return Some((Ahead::Segment(segment), Origin::Grown, prepared, to));
        }
        let near = leaving || size - end < size / 2;
        if !near && !self.no_room {
            return None;
        }
        let step = |ahead, from: u64, upto: u64| {
            let origin = if from == 0 { Origin::Made } else { Origin::Grown };
            Some((ahead, origin, from, (from + STEP_BYTES).min(upto)))
        };
        let reserve = STEP_BYTES.min(size).max(2 * self.roots.last_bytes).next_multiple_of(BLOCK_BYTES);
        if self.reserve < reserve && self.roots.batch() > 0 {
            return step(Ahead::Reserve, self.reserve, reserve);
        }
        if (self.spares.len() as u64) < self.settings.spare_segments {
            let (spare, from) = self.making_spare.unwrap_or((self.next_spare, 0));
            return step(Ahead::Spare(spare), from, size);
        }
        if self.stream.next.is_none() && near {
            let extra = self.spares.len() as u64 > self.settings.spare_segments;
            let next = Ahead::Segment(segment + 1);
            return match self.spares.first().filter(|_| extra) {
                Some(spare) => Some((next, Origin::Spare(*spare), 0, size)),
                None => Some((next, Origin::Made, 0, STEP_BYTES.min(size))),
            };
        }
        None
    }

    fn prepare(&mut self, ahead: Ahead, origin: Origin, from: u64, to: u64, out: &mut Vec<Effect>) {
        self.stream.preparing = true;
        out.push(Effect::Prepare { ahead, origin, from, to });
    }

    pub(super) fn prepared(&mut self, ahead: Ahead, to: u64, salt: u32, disk: DiskSpace) {
        self.disk = disk;
        self.stream.preparing = false;
        match ahead {
            Ahead::Reserve => self.reserve = to,
            Ahead::Spare(spare) if to < self.settings.segment_bytes => {
                self.making_spare = Some((spare, to));
                self.next_spare = self.next_spare.max(spare + 1);
            }
            Ahead::Spare(spare) => {
                self.making_spare = None;
                self.next_spare = self.next_spare.max(spare + 1);
                self.spares.insert(spare);
            }
            Ahead::Segment(segment) => {
                self.roots.exists(segment, to);
                if segment == self.stream.segment {
                    self.stream.prepared = to;
                } else {
                    self.stream.next = Some((salt, to));
                }
            }
        }
        // What could not be made is tried again as long as something is missing.
        self.retry_room = true;
    }

    pub(super) fn prepare_failed(&mut self, ahead: Ahead, space: DiskSpace) {
        self.stream.preparing = false;
        self.no_room = true;
        self.disk = space;
        if let Ahead::Spare(spare) = ahead {
            // Its file is removed.
            self.making_spare = None;
            self.next_spare = self.next_spare.max(spare + 1);
        }
        if ahead == Ahead::Reserve {
            self.reserve = 0;
        }
    }

    /// Judges the room anew; when it has become full, ordinary requests in the queue are refused.
    pub(super) fn update_space(&mut self, now: Now, out: &mut Vec<Effect>) {
        let limits = self.limits();
        let full = self.no_room || limits.below_reserve(self.disk);
        let space = limits.judge(self.roots.count() + self.spares.len() as u64, self.disk, full);
        if full {
            self.retry_at.get_or_insert(now.tick_ms + RETRY_MS);
            for (ticket, request) in std::mem::take(&mut self.queue) {
                if self.claim(&request) > Claim::Ordinary {
                    self.queue.push_back((ticket, request));
                } else {
                    self.refuse(ticket, &request, out);
                }
            }
        } else {
            self.retry_at = None;
        }
        if space.state != self.space.state {
            self.compact_look |= space.state != SpaceState::Ok;
            out.push(Effect::Space(space));
        }
        self.space = space;
    }
}
