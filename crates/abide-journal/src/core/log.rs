//! State of one log in the core, and what readers see of it.

use super::retention::Pin;
use super::{Epochs, Extents};
use crate::format::{CheckpointPlace, Damage, SnapshotCheckpoint, SnapshotLog, SnapshotPin};
use crate::options::LogOptions;
use crate::position::{ByteOffset, LogId, LogUid, Lsn, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What readers see of a log: immutable, replaced after each batch and sync that touched it.
#[derive(Debug, Clone)]
pub struct LogView {
    pub(crate) uid: LogUid,
    pub(crate) name: Arc<str>,
    pub(crate) options: LogOptions,
    pub(crate) base: Place,
    pub(crate) written: Place,
    pub(crate) durable: Place,
    /// Epoch of the next append.
    pub(crate) epoch: u64,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) last_mark: u64,
    pub(crate) last_time_us: u64,
    pub(crate) cost: u64,
    pub(crate) checkpoints: Arc<BTreeMap<u64, SnapshotCheckpoint>>,
    pub(crate) meta: Arc<BTreeMap<String, Vec<u8>>>,
    pub(crate) damage: Arc<Vec<Damage>>,
    pub(crate) quarantined: bool,
    /// What comes at and behind this place is held by a pin.
    pub(crate) pinned: Option<Place>,
    pub(crate) pins: Vec<(Arc<str>, Place)>,
    pub(crate) extents: Extents,
}

/// One log.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) uid: LogUid,
    pub(crate) name: Arc<str>,
    pub(crate) options: LogOptions,
    pub(crate) base: Place,
    /// What the next append gets; runs ahead of what is written by at most one batch.
    pub(crate) next: Place,
    pub(crate) written: Place,
    pub(crate) durable: Place,
    pub(crate) last_time_us: u64,
    pub(crate) last_mark: u64,
    pub(crate) epochs: Arc<Epochs>,
    /// Epoch of the next append, and whether its start is in the stream.
    pub(crate) epoch: u64,
    pub(crate) epoch_begun: bool,
    pub(crate) meta: Arc<BTreeMap<String, Vec<u8>>>,
    pub(crate) checkpoints: Arc<BTreeMap<u64, SnapshotCheckpoint>>,
    /// Pins with a name that outlive the process.
    pub(crate) pins: Vec<SnapshotPin>,
    pub(crate) live_pins: BTreeMap<u64, Pin>,
    /// The lowest pin that counts, as it was when pins or the log's length were last looked at.
    pub(crate) pinned: Option<Place>,
    /// The base that the last trim was numbered with.
    pub(crate) trimmed_to: Place,
    pub(crate) damage: Arc<Vec<Damage>>,
    pub(crate) quarantined: bool,
    pub(crate) extents: Extents,
    /// Payload + 56 a record of what is kept.
    pub(crate) cost: u64,
    /// A drop is on its way: nothing more is taken.
    pub(crate) dropping: bool,
    /// The last published view.
    pub(crate) view: Option<Arc<LogView>>,
}

impl LogState {
    pub(crate) fn new(uid: LogUid, name: &str, options: LogOptions) -> Self {
        Self {
            uid,
            name: name.into(),
            options,
            base: Place::START,
            next: Place::START,
            written: Place::START,
            durable: Place::START,
            last_time_us: 0,
            last_mark: 0,
            epochs: Arc::default(),
            epoch: 0,
            epoch_begun: false,
            meta: Arc::default(),
            checkpoints: Arc::default(),
            pins: Vec::new(),
            live_pins: BTreeMap::new(),
            pinned: None,
            trimmed_to: Place::START,
            damage: Arc::default(),
            quarantined: false,
            extents: Extents::default(),
            cost: 0,
            dropping: false,
            view: None,
        }
    }

    pub(crate) fn from_snapshot(log: SnapshotLog) -> (LogId, Self) {
        let place = |lsn, offset| Place { lsn: Lsn::at_least_first(lsn), offset: ByteOffset(offset) };
        let mut state = Self::new(log.uid, &log.name, log.options);
        state.base = place(log.base_lsn, log.base_offset);
        state.next = place(log.next_lsn, log.next_offset);
        state.last_time_us = log.last_time_us;
        state.last_mark = log.last_mark;
        state.epochs = Arc::new(Epochs::from_list(log.epochs));
        state.meta = Arc::new(log.meta.into_iter().collect());
        state.checkpoints =
            Arc::new(log.checkpoints.into_iter().map(|checkpoint| (checkpoint.lsn, checkpoint)).collect());
        state.pins = log.pins;
        state.damage = Arc::new(log.damage);
        state.quarantined = log.quarantined;
        state.cost = log.extents.iter().map(|extent| extent.bytes + 56 * u64::from(extent.records)).sum();
        state.extents = Extents::from_list(&log.extents);
        (log.id, state)
    }

    pub(crate) fn to_snapshot(&self, id: LogId) -> SnapshotLog {
        SnapshotLog {
            id,
            uid: self.uid,
            name: self.name.to_string(),
            options: self.options,
            base_lsn: self.base.lsn.get(),
            base_offset: self.base.offset.0,
            next_lsn: self.next.lsn.get(),
            next_offset: self.next.offset.0,
            last_time_us: self.last_time_us,
            last_mark: self.last_mark,
            epochs: self.epochs.entries().to_vec(),
            meta: self.meta.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            checkpoints: self.checkpoints.values().copied().collect(),
            pins: self.pins.clone(),
            damage: self.damage.to_vec(),
            quarantined: self.quarantined,
            extents: self.extents.iter().copied().collect(),
        }
    }

    /// Segments that hold something of this log: with cost and number of extents, one entry for each thing.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let inline = self.checkpoints.values().filter_map(|checkpoint| match checkpoint.place {
            CheckpointPlace::Inline { segment, .. } => Some((segment, checkpoint.cost(), 0)),
            CheckpointPlace::File { .. } => None,
        });
        self.extents.iter().map(|extent| (extent.segment, extent.cost(), 1)).chain(inline)
    }

    /// The base, as it will be when what is numbered is written.
    pub(crate) fn coming_base(&self) -> Place {
        if self.trimmed_to.lsn > self.base.lsn { self.trimmed_to } else { self.base }
    }

    /// Publishes the state as written.
    pub(crate) fn publish(&mut self) -> Arc<LogView> {
        let view = Arc::new(LogView {
            uid: self.uid,
            name: Arc::clone(&self.name),
            options: self.options,
            base: self.base,
            written: self.written,
            durable: self.durable,
            epoch: self.epoch,
            epochs: Arc::clone(&self.epochs),
            last_mark: self.last_mark,
            last_time_us: self.last_time_us,
            cost: self.cost,
            checkpoints: Arc::clone(&self.checkpoints),
            meta: Arc::clone(&self.meta),
            damage: Arc::clone(&self.damage),
            quarantined: self.quarantined,
            pinned: self.pinned,
            pins: self.live_pins.values().map(|pin| (Arc::clone(&pin.owner), pin.place)).collect(),
            extents: self.extents.clone(),
        });
        self.view = Some(Arc::clone(&view));
        view
    }

    /// Publishes what has become durable, and nothing of a batch that is under way.
    pub(crate) fn publish_durable(&mut self) -> Option<Arc<LogView>> {
        let old = self.view.as_ref()?;
        let view = Arc::new(LogView { durable: self.durable, ..old.as_ref().clone() });
        self.view = Some(Arc::clone(&view));
        Some(view)
    }
}
