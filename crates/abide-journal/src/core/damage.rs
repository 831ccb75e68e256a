//! What cannot be read any more: found at an open or by a scrub, named for ever once it is accepted.

use super::LogState;
use super::replay::Replayed;
use crate::format::{Damage, DamageState, Echo, EchoFlags};
use crate::options::{LogOptions, OnDamage};
use crate::position::{ByteOffset, LogUid, Lsn, Place};
use std::sync::Arc;

/// Damages noted of one log. One more is merged with the one before it.
const DAMAGES_MAX: usize = 1_024;

impl Replayed {
    /// A batch that was proven durable is unreadable. The echoes of the one behind it say which logs it held, and how far
    /// they went. A log of which only moved records are lost has lost nothing: their originals are still there.
    pub fn hole(&mut self, echoes: &[Echo], segment: u64, position: u64) {
        let store = &mut self.0;
        for echo in echoes {
            if echo.flags.has(EchoFlags::MOVED) {
                continue;
            }
            // Its creation is lost, with its name: what it holds can be named, but not be verified.
            let log = store.logs.entry(echo.log).or_insert_with(|| {
                let name = format!("@lost/{:016x}", echo.log.0);
                LogState::new(LogUid([0; 16]), &name, LogOptions::default())
            });
            store.names.insert(Arc::clone(&log.facts.name), echo.log);
            store.next_log = store.next_log.max(crate::LogId(echo.log.0 + 1));
            let (from_lsn, to_lsn) = (log.next.lsn.get(), echo.last_lsn);
            let control = echo.flags.has(EchoFlags::CONTROL);
            if to_lsn < from_lsn && !control {
                continue;
            }
            if to_lsn >= from_lsn {
                let lsn = Lsn::at_least_first(to_lsn).next();
                log.next = Place { lsn, offset: ByteOffset(echo.end_offset) };
            }
            let refuses = log.facts.options.on_damage == OnDamage::Refuse;
            log.facts().quarantined |= control && refuses;
            // An empty range stands for facts about the log: whoever serves on takes them as not said.
            let only_facts = to_lsn < from_lsn;
            let state = if only_facts && !refuses { DamageState::Accepted } else { DamageState::Found };
            log.note_damage(Damage { from_lsn, to_lsn: to_lsn.max(from_lsn - 1), segment, position, state });
        }
        store.next_batch += 1;
    }
}

impl LogState {
    /// Notes a damage, or what has become of one that is noted.
    pub(super) fn note_damage(&mut self, damage: Damage) {
        let facts = self.facts();
        let noted = Arc::make_mut(&mut facts.damage);
        let same = |old: &Damage| (old.from_lsn, old.to_lsn) == (damage.from_lsn, damage.to_lsn);
        if let Some(old) = noted.iter_mut().find(|old| same(old)) {
            *old = damage;
        } else {
            let at = noted.partition_point(|old| old.from_lsn <= damage.from_lsn);
            noted.insert(at, damage);
        }
        if noted.len() > DAMAGES_MAX {
            let last = noted.remove(DAMAGES_MAX);
            noted[DAMAGES_MAX - 1].to_lsn = last.to_lsn;
        }
        facts.quarantined &= facts.damage.iter().any(|damage| damage.state == DamageState::Found);
    }

    /// Forgets damages of records that are no longer kept.
    pub(super) fn forget_damage(&mut self) {
        let base = self.base.lsn.get();
        if self.facts.damage.iter().any(|damage| damage.to_lsn < base) {
            Arc::make_mut(&mut self.facts().damage).retain(|damage| damage.to_lsn >= base);
        }
    }
}
