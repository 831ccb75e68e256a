//! How much of a log is kept: limits, requests to trim, and pins that hold it back.

use super::batch::Draft;
use super::extents::Extent;
use super::number::live;
use super::store::{Done, Effect, Now, Request, Store, TicketId};
use super::{LogState, LogView};
use crate::entry::Durability;
use crate::error::Error;
use crate::format::{CheckpointPlace, Control, SnapshotCheckpoint};
use crate::position::{ByteOffset, LogId, Lsn, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who waits for the answer to what the store asks of itself.
pub(super) const NOBODY: TicketId = TicketId::MAX;
/// Pins of one log.
const PINS_MAX: usize = 64;

/// A pin: what comes at and behind its place is kept.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    pub(crate) owner: Arc<str>,
    pub(crate) place: Place,
    /// When it was taken or last moved.
    moved_ms: u64,
}

impl LogView {
    /// Where the base may go: as far as the limits say, or as `asked`. With `trim_at_checkpoint` it goes just behind a
    /// checkpoint that `trusted` finds whole. `None`: it stays. `begins` says when the first record of an extent was
    /// written.
    ///
    /// The base given by a limit lies at the start of an extent, so up to one extent more than the limit is kept.
    pub(crate) fn trim_target(
        &self,
        asked: Option<Place>,
        now_us: u64,
        begins: impl Fn(&Extent) -> Option<u64>,
        mut trusted: impl FnMut(&SnapshotCheckpoint) -> bool,
    ) -> Option<Place> {
        let limits = self.facts.options.retention;
        let limit = || {
            let by_bytes = (limits.bytes_max > 0).then(|| self.by_bytes(limits.bytes_max)).flatten();
            let since = now_us.saturating_sub(limits.age_ms_max.saturating_mul(1_000));
            let old = |extent: &Extent| begins(extent).is_some_and(|time| time < since);
            let by_age = (limits.age_ms_max > 0).then(|| self.extents.around(old).0).flatten().map(start);
            by_bytes.into_iter().chain(by_age).max_by_key(|place| place.lsn)
        };
        let mut target = asked.or_else(limit)?;
        // What is asked for is held back when it is numbered; below a pin another checkpoint must be found.
        if let Some(pinned) = self.facts.pinned.filter(|_| asked.is_none() || limits.trim_at_checkpoint)
            && pinned.lsn < target.lsn
        {
            target = pinned;
        }
        if limits.trim_at_checkpoint {
            let at = |c: &&SnapshotCheckpoint| c.lsn < target.lsn.get() && c.lsn >= self.base.lsn.get();
            let checkpoint = self.facts.checkpoints.values().rev().filter(at).find(|checkpoint| trusted(checkpoint))?;
            target = behind(checkpoint);
        }
        (target.lsn > self.base.lsn).then_some(target)
    }

    /// The start of the extent in which the kept cost passes a limit.
    fn by_bytes(&self, bytes_max: u64) -> Option<Place> {
        let mut kept = 0;
        self.extents.iter().rev().find_map(|extent| {
            kept += extent.cost();
            (kept > bytes_max).then(|| start(*extent))
        })
    }
}

fn start(extent: Extent) -> Place {
    Place { lsn: Lsn::at_least_first(extent.first_lsn), offset: ByteOffset(extent.first_offset) }
}

fn behind(checkpoint: &SnapshotCheckpoint) -> Place {
    Place { lsn: Lsn::at_least_first(checkpoint.lsn + 1), offset: ByteOffset(checkpoint.offset) }
}

impl LogState {
    /// The lowest pin that counts. One that nobody moved for long, or that holds back too much, does not: the next trim
    /// ignores it unless it advances first.
    fn lowest_pin(&self, now: Now, bytes_max: u64, age_ms_max: u64) -> Option<Place> {
        let counts = |pin: &&Pin| {
            let held = self.extents.iter().rev().take_while(|extent| extent.end_lsn() > pin.place.lsn.get());
            held.map(Extent::cost).sum::<u64>() <= bytes_max && now.tick_ms.saturating_sub(pin.moved_ms) <= age_ms_max
        };
        self.live_pins.values().filter(counts).map(|pin| pin.place).min_by_key(|place| place.lsn)
    }

    /// The base moves. Returns what no longer is kept: cost by segment with the number of extents, and checkpoints.
    pub(super) fn trim(&mut self, base: Place) -> (Vec<Extent>, Vec<SnapshotCheckpoint>) {
        self.base = base;
        let gone = self.extents.drop_below(base.lsn.get());
        self.cost -= gone.iter().map(Extent::cost).sum::<u64>();
        let base_lsn = base.lsn.get();
        let facts = self.facts();
        let checkpoints = Arc::make_mut(&mut facts.checkpoints);
        let kept = checkpoints.split_off(&(base_lsn - 1));
        let lost = std::mem::replace(checkpoints, kept);
        Arc::make_mut(&mut facts.epochs).trim(base_lsn);
        self.forget_damage();
        (gone, lost.into_values().collect())
    }
}

impl Store {
    /// A log has grown, or got a checkpoint: whether it has become too long is looked at soon.
    pub(super) fn look_at_length(&mut self, id: LogId, now: Now) {
        let limits = self.logs.get(&id).map(|log| log.facts.options.retention).unwrap_or_default();
        if limits.bytes_max > 0 || limits.age_ms_max > 0 {
            self.trim_wanted.insert(id);
            self.trim_due.get_or_insert(now.tick_ms + self.settings.trim_interval_ms);
        }
    }

    pub(super) fn trim_found(&mut self, log: LogId, to: Option<Place>) {
        if let Some(to) = to {
            self.queue.push_back((NOBODY, Request::Trim { log, to }));
        }
    }

    pub(super) fn number_trim(
        &mut self,
        ticket: TicketId,
        id: LogId,
        to: Place,
        now: Now,
        draft: &mut Draft,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let (bytes_max, age_max) = (self.settings.pin_bytes_max, self.settings.pin_age_ms_max);
        let log = self.logs.get_mut(&id).filter(|log| !log.dropping).ok_or(Error::LogGone)?;
        let mut to = if to.lsn > log.next.lsn { log.next } else { to };
        if let Some(pinned) = log.lowest_pin(now, bytes_max, age_max)
            && pinned.lsn < to.lsn
        {
            // A pin was taken since the target was found; the checkpoint below it is looked for next time.
            to = if log.facts.options.retention.trim_at_checkpoint { log.base } else { pinned };
        }
        // The checkpoint on which the base was to rest may be gone meanwhile.
        let rests = |lsn| log.facts.checkpoints.contains_key(&lsn);
        if log.facts.options.retention.trim_at_checkpoint && !rests(to.lsn.get() - 1) {
            to = log.base;
        }
        if to.lsn <= log.coming_base().lsn {
            out.push(Effect::Reply { ticket, result: Ok(Done::Trimmed(log.base)) });
            return Ok(());
        }
        log.trimmed_to = to;
        draft.control(id, log, now, Control::Trimmed { base_lsn: to.lsn.get(), base_offset: to.offset.0 });
        draft.answer(ticket, Done::Trimmed(to), Durability::Always);
        Ok(())
    }

    /// Pins are taken, moved and released at once, in one step with the base: no record is written for them.
    pub(super) fn change_pin(&mut self, now: Now, ticket: TicketId, request: Request, out: &mut Vec<Effect>) {
        let (Request::Pin { log: id, .. } | Request::AdvancePin { log: id, .. } | Request::Unpin { log: id, .. }) =
            request
        else {
            return;
        };
        let result = self.changed_pin(now, request);
        self.look_at_pins(id, now, out);
        self.look_at_length(id, now);
        out.push(Effect::Reply { ticket, result });
    }

    /// Which pin counts is found anew, and shown to whoever looks for a place to trim to.
    fn look_at_pins(&mut self, id: LogId, now: Now, out: &mut Vec<Effect>) {
        let (bytes_max, age_max) = (self.settings.pin_bytes_max, self.settings.pin_age_ms_max);
        if let Some(log) = self.logs.get_mut(&id) {
            let pinned = log.lowest_pin(now, bytes_max, age_max);
            let pins = log.live_pins.values().map(|pin| (Arc::clone(&pin.owner), pin.place)).collect();
            let facts = log.facts();
            (facts.pinned, facts.pins) = (pinned, pins);
            out.push(Effect::Wake { log: id, view: Some(log.publish()) });
        }
    }

    /// The time has come to look at the length of logs that have grown.
    pub(super) fn find_trims(&mut self, now: Now, out: &mut Vec<Effect>) {
        for log in std::mem::take(&mut self.trim_wanted) {
            if self.logs.get(&log).is_some_and(|log| !log.live_pins.is_empty()) {
                self.look_at_pins(log, now, out);
            }
            out.push(Effect::FindTrim { log });
        }
    }

    fn changed_pin(&mut self, now: Now, request: Request) -> Result<Done, Error> {
        match request {
            Request::Pin { log: id, place, owner } => {
                live(&self.logs, id)?;
                let Some(log) = self.logs.get_mut(&id) else { return Err(Error::LogGone) };
                // Where the asker can pin instead.
                let base = log.coming_base();
                if place.lsn < base.lsn {
                    return Err(Error::PinBelowBase { base });
                }
                if log.live_pins.len() >= PINS_MAX {
                    return Err(Error::LimitExceeded { what: "pins of a log", max: PINS_MAX as u64 });
                }
                self.next_pin += 1;
                log.live_pins.insert(self.next_pin, Pin { owner, place, moved_ms: now.tick_ms });
                Ok(Done::Pinned { log: id, pin: self.next_pin, place })
            }
            Request::AdvancePin { log, pin, place } => {
                let log = self.logs.get_mut(&log).ok_or(Error::LogGone)?;
                let base = log.base;
                let pin = log.live_pins.get_mut(&pin).ok_or(Error::PinBelowBase { base })?;
                if base.lsn > pin.place.lsn {
                    return Err(Error::PinLost { base });
                }
                if place.lsn >= pin.place.lsn {
                    pin.place = place;
                }
                pin.moved_ms = now.tick_ms;
                Ok(Done::Plain)
            }
            Request::Unpin { log, pin } => {
                if let Some(log) = self.logs.get_mut(&log) {
                    log.live_pins.remove(&pin);
                }
                Ok(Done::Plain)
            }
            _ => Ok(Done::Plain),
        }
    }

    /// What no longer is live is released; files of checkpoints go when that is durable.
    pub(super) fn release(&mut self, id: LogId, extents: &[Extent], checkpoints: &[SnapshotCheckpoint]) {
        let current = self.stream.segment;
        let mut by_segment: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for extent in extents {
            let of_segment = by_segment.entry(extent.segment).or_default();
            of_segment.0 += extent.cost();
            of_segment.1 += 1;
        }
        for checkpoint in checkpoints {
            match checkpoint.place {
                CheckpointPlace::Inline { segment, .. } => {
                    by_segment.entry(segment).or_default().0 += checkpoint.cost();
                }
                CheckpointPlace::File { .. } => self.unlinked.push((id, checkpoint.lsn)),
            }
        }
        for (segment, (cost, extents)) in by_segment {
            self.roots.release(segment, cost, extents, current);
        }
        self.compact_look = true;
    }
}
