//! State of one log in the core, and what readers see of it.

use super::retention::Pin;
use super::{Epochs, Extents};
use crate::format::{CheckpointPlace, Damage, SnapshotCheckpoint, SnapshotLog, SnapshotPin};
use crate::options::LogOptions;
use crate::position::{ByteOffset, LogId, LogUid, Lsn, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What seldom changes of a log: shared by its state and by all views of it until it does.
#[derive(Debug, Clone)]
pub(crate) struct LogFacts {
    pub(crate) uid: LogUid,
    pub(crate) name: Arc<str>,
    pub(crate) options: LogOptions,
    /// Epoch of the next append.
    pub(crate) epoch: u64,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) checkpoints: Arc<BTreeMap<u64, SnapshotCheckpoint>>,
    pub(crate) meta: Arc<BTreeMap<String, Vec<u8>>>,
    pub(crate) damage: Arc<Vec<Damage>>,
    pub(crate) quarantined: bool,
    /// The lowest pin that counts, as it was when pins or the log's length were last looked at: what comes at and behind
    /// this place is held.
    pub(crate) pinned: Option<Place>,
    /// All pins, as they were then.
    pub(crate) pins: Vec<(Arc<str>, Place)>,
}

/// What readers see of a log as written: immutable, replaced after each batch that touched it. How much of it is durable is
/// told beside it.
#[derive(Debug, Clone)]
pub struct LogView {
    pub(crate) facts: Arc<LogFacts>,
    pub(crate) base: Place,
    pub(crate) written: Place,
    pub(crate) last_mark: u64,
    pub(crate) last_time_us: u64,
    pub(crate) cost: u64,
    pub(crate) extents: Extents,
}

/// One log.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) facts: Arc<LogFacts>,
    pub(crate) base: Place,
    /// What the next append gets; runs ahead of what is written by at most one batch.
    pub(crate) next: Place,
    pub(crate) written: Place,
    pub(crate) durable: Place,
    pub(crate) last_time_us: u64,
    pub(crate) last_mark: u64,
    /// Whether the start of the epoch of the next append is in the stream.
    pub(crate) epoch_begun: bool,
    /// Pins with a name that outlive the process.
    pub(crate) pins: Vec<SnapshotPin>,
    pub(crate) live_pins: BTreeMap<u64, Pin>,
    /// The base that the last trim was numbered with.
    pub(crate) trimmed_to: Place,
    pub(crate) extents: Extents,
    /// Payload + 56 a record of what is kept.
    pub(crate) cost: u64,
    /// A drop is on its way: nothing more is taken.
    pub(crate) dropping: bool,
}

impl LogState {
    pub(crate) fn new(uid: LogUid, name: &str, options: LogOptions) -> Self {
        let facts = LogFacts {
            uid,
            name: name.into(),
            options,
            epoch: 0,
            epochs: Arc::default(),
            checkpoints: Arc::default(),
            meta: Arc::default(),
            damage: Arc::default(),
            quarantined: false,
            pinned: None,
            pins: Vec::new(),
        };
        Self {
            facts: Arc::new(facts),
            base: Place::START,
            next: Place::START,
            written: Place::START,
            durable: Place::START,
            last_time_us: 0,
            last_mark: 0,
            epoch_begun: false,
            pins: Vec::new(),
            live_pins: BTreeMap::new(),
            trimmed_to: Place::START,
            extents: Extents::default(),
            cost: 0,
            dropping: false,
        }
    }

    /// To change what seldom changes.
    pub(crate) fn facts(&mut self) -> &mut LogFacts {
        Arc::make_mut(&mut self.facts)
    }

    pub(crate) fn from_snapshot(log: SnapshotLog) -> (LogId, Self) {
        let place = |lsn, offset| Place { lsn: Lsn::at_least_first(lsn), offset: ByteOffset(offset) };
        let mut state = Self::new(log.uid, &log.name, log.options);
        state.base = place(log.base_lsn, log.base_offset);
        state.next = place(log.next_lsn, log.next_offset);
        state.last_time_us = log.last_time_us;
        state.last_mark = log.last_mark;
        let facts = state.facts();
        facts.epochs = Arc::new(Epochs::from_list(log.epochs));
        facts.meta = Arc::new(log.meta.into_iter().collect());
        facts.checkpoints =
            Arc::new(log.checkpoints.into_iter().map(|checkpoint| (checkpoint.lsn, checkpoint)).collect());
        facts.damage = Arc::new(log.damage);
        facts.quarantined = log.quarantined;
        state.pins = log.pins;
        state.cost = log.extents.iter().map(|extent| extent.bytes + 56 * u64::from(extent.records)).sum();
        state.extents = Extents::from_list(&log.extents);
        (log.id, state)
    }

    pub(crate) fn to_snapshot(&self, id: LogId) -> SnapshotLog {
        let facts = &self.facts;
        SnapshotLog {
            id,
            uid: facts.uid,
            name: facts.name.to_string(),
            options: facts.options,
            base_lsn: self.base.lsn.get(),
            base_offset: self.base.offset.0,
            next_lsn: self.next.lsn.get(),
            next_offset: self.next.offset.0,
            last_time_us: self.last_time_us,
            last_mark: self.last_mark,
            epochs: facts.epochs.entries().to_vec(),
            meta: facts.meta.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            checkpoints: facts.checkpoints.values().copied().collect(),
            pins: self.pins.clone(),
            damage: facts.damage.to_vec(),
            quarantined: facts.quarantined,
            extents: self.extents.iter().copied().collect(),
        }
    }

    /// Segments that hold something of this log: with cost and number of extents, one entry for each thing.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let inline = self.facts.checkpoints.values().filter_map(|checkpoint| match checkpoint.place {
            CheckpointPlace::Inline { segment, .. } => Some((segment, checkpoint.cost(), 0)),
            CheckpointPlace::File { .. } => None,
        });
        self.extents.iter().map(|extent| (extent.segment, extent.cost(), 1)).chain(inline)
    }

    /// The base, as it will be when what is numbered is written.
    pub(crate) fn coming_base(&self) -> Place {
        if self.trimmed_to.lsn > self.base.lsn { self.trimmed_to } else { self.base }
    }

    /// The state as written.
    pub(crate) fn publish(&self) -> Arc<LogView> {
        Arc::new(LogView {
            facts: Arc::clone(&self.facts),
            base: self.base,
            written: self.written,
            last_mark: self.last_mark,
            last_time_us: self.last_time_us,
            cost: self.cost,
            extents: self.extents.clone(),
        })
    }
}
