//! Numbers are given to requests in the order of the queue, or none if a request is refused.

use super::LogState;
use super::batch::{Draft, stored_bytes};
use super::store::{Done, Effect, NewEntry, Now, Request, Store, TicketId};
use crate::entry::{AppendOptions, Appended, Durability, Expect};
use crate::error::Error;
use crate::format::{Control, EpochEntry, Kind, Placement, RecordHeader};
use crate::options::LogOptions;
use crate::position::{ByteOffset, Epoch, LogId, LogUid, Lsn, Place, Position};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Meta facts of a log, and the length of one.
const META_KEYS: usize = 16;
const META_VALUE_BYTES: usize = 4 << 10;
const META_KEY_BYTES: usize = 128;

impl Store {
    /// Sizes that no batch takes, or limits that the request itself breaks.
    pub(super) fn check_size(&self, request: &Request) -> Result<(), Error> {
        match request {
            Request::Append { entries, .. } => {
                let record_max = self.settings.record_bytes_max;
                for entry in entries {
                    let size = entry.payload.bytes.len() as u64;
                    if size > record_max {
                        return Err(Error::TooLarge { what: "record", size, max: record_max });
                    }
                    if entry.kind == Kind::Gap && entry.advance == 0 {
                        return Err(Error::TooLarge { what: "gap", size: 0, max: u64::MAX });
                    }
                }
                let (size, max) = (stored_bytes(entries), self.settings.append_bytes_max);
                if size > max || entries.len() as u64 > self.echoes_max() {
                    return Err(Error::TooLarge { what: "unit", size, max });
                }
            }
            Request::SetMeta { key, value, .. } if key.len() > META_KEY_BYTES || value.len() > META_VALUE_BYTES => {
                let (size, max) = (value.len() as u64, META_VALUE_BYTES as u64);
                return Err(Error::TooLarge { what: "meta", size, max });
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives numbers to one request, or refuses it without using any.
    pub(super) fn number(
        &mut self,
        ticket: TicketId,
        request: Request,
        now: Now,
        draft: &mut Draft,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let (done, level) = match request {
            Request::Append { entries, options } => self.number_unit(entries, options, now, draft)?,
            Request::Sync { upto } => return self.number_sync(ticket, upto, draft, out),
            Request::Create { name, uid, options } => self.create(name, uid, options, now, draft)?,
            Request::SetOptions { log: id, options } => {
                let log = live(&self.logs, id)?;
                let control = Control::LogCreated { uid: log.facts.uid, name: log.facts.name.to_string(), options };
                draft.control(id, log, now, control);
                (Done::Plain, Durability::Always)
            }
            Request::SetMeta { log: id, key, value } => {
                let log = live(&self.logs, id)?;
                if !value.is_empty() && !log.facts.meta.contains_key(&key) && log.facts.meta.len() >= META_KEYS {
                    return Err(Error::LimitExceeded { what: "meta keys", max: META_KEYS as u64 });
                }
                draft.control(id, log, now, Control::Meta { key, value });
                (Done::Plain, Durability::Always)
            }
            Request::Damage { log: id, damage } => {
                let log = live(&self.logs, id)?;
                draft.control(id, log, now, Control::Damage(damage));
                (Done::Plain, Durability::Always)
            }
            Request::Drop { log: id } => {
                live(&self.logs, id)?;
                let Some(log) = self.logs.get_mut(&id) else { return Err(Error::LogGone) };
                log.dropping = true;
                self.names.remove(&log.facts.name);
                draft.control(id, log, now, Control::Dropped);
                (Done::Plain, Durability::Always)
            }
            Request::AddCheckpoint { log, lsn, offset, bytes } => {
                self.number_inline(log, lsn, offset, bytes, now, draft)?
            }
            Request::AddFile { log, checkpoint } => self.number_file(log, checkpoint, now, draft)?,
            Request::Trim { log, to } => return self.number_trim(ticket, log, to, now, draft, out),
            Request::Move(moving) => {
                self.number_move(moving, now, draft);
                return Ok(());
            }
            // Carried out when they were submitted.
            Request::Pin { .. } | Request::AdvancePin { .. } | Request::Unpin { .. } => return Ok(()),
            Request::RemoveCheckpoint { log: id, lsn } => {
                let log = live(&self.logs, id)?;
                let invalid = |reason| Error::CheckpointInvalid { lsn, reason };
                if !log.facts.checkpoints.contains_key(&lsn) {
                    return Err(invalid("there is none"));
                }
                if log.base.lsn > Lsn::FIRST && lsn + 1 == log.base.lsn.get() {
                    return Err(invalid("the base rests on it"));
                }
                draft.control(id, log, now, Control::CheckpointRemoved { lsn });
                (Done::Plain, log.facts.options.durability)
            }
        };
        draft.answer(ticket, done, level);
        Ok(())
    }

    fn create(
        &mut self,
        name: String,
        uid: LogUid,
        options: LogOptions,
        now: Now,
        draft: &mut Draft,
    ) -> Result<(Done, Durability), Error> {
        if self.names.contains_key(name.as_str()) {
            return Err(Error::LogExists);
        }
        if self.logs.len() >= self.settings.logs_max {
            return Err(Error::LimitExceeded { what: "logs", max: self.settings.logs_max as u64 });
        }
        let id = self.next_log;
        self.next_log = LogId(id.0 + 1);
        let mut log = LogState::new(uid, &name, options);
        log.facts().epoch = self.incarnation.0;
        draft.control(id, &log, now, Control::LogCreated { uid, name, options });
        self.names.insert(Arc::clone(&log.facts.name), id);
        self.logs.insert(id, log);
        Ok((Done::Created(id), Durability::Always))
    }

    fn number_sync(
        &mut self,
        ticket: TicketId,
        upto: Option<(LogId, Lsn)>,
        draft: &mut Draft,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        if let Some((id, lsn)) = upto {
            let log = live(&self.logs, id)?;
            if lsn >= log.next.lsn {
                return Err(Error::PositionAhead { next: log.next });
            }
            if lsn < log.durable.lsn {
                out.push(Effect::Reply { ticket, result: Ok(Done::Plain) });
                return Ok(());
            }
        }
        if !draft.plan.is_empty() {
            draft.answer(ticket, Done::Plain, Durability::Always);
        } else if let Some(last) = self.unsynced.back_mut() {
            self.wanted = self.wanted.max(last.batch);
            last.at_synced.push((ticket, Done::Plain));
        } else {
            out.push(Effect::Reply { ticket, result: Ok(Done::Plain) });
        }
        Ok(())
    }

    fn number_unit(
        &mut self,
        entries: Vec<NewEntry>,
        options: AppendOptions,
        now: Now,
        draft: &mut Draft,
    ) -> Result<(Done, Durability), Error> {
        let mut durability = options.durability.unwrap_or(Durability::Os);
        for entry in &entries {
            let log = live(&self.logs, entry.log)?;
            if log.facts.quarantined {
                return Err(Error::ReadOnly);
            }
            durability = durability.max(log.facts.options.durability);
        }
        if let (Some(expect), Some(first)) = (options.expect, entries.first()) {
            let log = live(&self.logs, first.log)?;
            let holds = match expect {
                Expect::Lsn(lsn) => lsn == log.next.lsn,
                Expect::Offset(offset) => offset == log.next.offset,
            };
            if !holds {
                let Place { lsn: next_lsn, offset: next_offset } = log.next;
                return Err(Error::AppendConflict { next_lsn, next_offset, epoch: Epoch(log.facts.epoch) });
            }
        }
        let mut appended = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(log) = self.logs.get_mut(&entry.log) else { continue };
            if !log.epoch_begun {
                log.epoch_begun = true;
                let start = EpochEntry { epoch: log.facts.epoch, start_lsn: log.next.lsn.get(), forced: false };
                draft.control(entry.log, log, now, Control::EpochStart(start));
            }
            appended.push(number_entry(entry, log, now, draft));
        }
        Ok((Done::Appended(appended), durability))
    }
}

fn number_entry(entry: NewEntry, log: &mut LogState, now: Now, draft: &mut Draft) -> Appended {
    log.last_time_us = log.last_time_us.max(now.wall_us);
    let Place { lsn, offset } = log.next;
    let header = RecordHeader {
        log: entry.log,
        crc: 0,
        payload_len: 0,
        epoch: log.facts.epoch,
        lsn: lsn.get(),
        offset: offset.0,
        time_us: log.last_time_us,
        kind: entry.kind,
        tag: entry.tag,
        placement: Placement::First,
    };
    log.next = Place { lsn: lsn.next(), offset: ByteOffset(offset.0 + entry.advance) };
    draft.record(log, header, None, entry.payload);
    Appended { position: Position { epoch: Epoch(log.facts.epoch), lsn }, offset, end_offset: log.next.offset }
}

pub(super) fn live(logs: &BTreeMap<LogId, LogState>, id: LogId) -> Result<&LogState, Error> {
    logs.get(&id).filter(|log| !log.dropping).ok_or(Error::LogGone)
}
