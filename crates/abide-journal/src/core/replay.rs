//! From an index snapshot and the batches behind it to a store that takes appends.

use super::LogView;
use super::batch::Written;
use super::log::LogState;
use super::roots::Roots;
use super::space::Space;
use super::store::{Phase, Settings, Store, Stream};
use crate::disk::DiskSpace;
use crate::format::{
    BatchHeader, CheckpointPlace, Control, Damage, Echo, EchoFlags, EpochEntry, Kind, Malformed, Placement,
    RecordHeader, Snapshot,
};
use crate::position::{ByteOffset, Incarnation, LogId, Place};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A store that is being opened.
#[derive(Debug)]
pub struct Replayed(pub(super) Store);

/// Where an open goes on: its own new segment.
#[derive(Debug, Clone, Copy)]
pub struct StreamEnd {
    /// The segment, whose header is durable.
    pub segment: u64,
    /// Its salt.
    pub salt: u32,
    /// End of the last batch in it.
    pub end: u64,
    /// Zeros are written up to here.
    pub prepared: u64,
    /// This open.
    pub incarnation: Incarnation,
    /// Room on the disk.
    pub space: DiskSpace,
}

impl Replayed {
    /// A store without any batch.
    pub fn empty(settings: Settings) -> Self {
        Self(Store {
            settings,
            incarnation: Incarnation(0),
            phase: Phase::Ready,
            logs: BTreeMap::new(),
            names: BTreeMap::new(),
            next_log: LogId(1),
            queue: VecDeque::new(),
            stream: Stream {
                segment: 0,
                salt: 0,
                end: 0,
                prepared: 0,
                begin: None,
                next: None,
                preparing: false,
                missing: 0,
                leaving: false,
            },
            next_batch: 1,
            in_flight: None,
            unsynced: VecDeque::new(),
            durable: 0,
            wanted: 0,
            sync_in_flight: false,
            sync_asked: 0,
            echoes: Vec::new(),
            roots: Roots::default(),
            index: None,
            appended_since_index: 0,
            proof_wanted: false,
            interval_due: None,
            proof_due: None,
            retry_at: None,
            files: BTreeMap::new(),
            unlinked: Vec::new(),
            trim_wanted: BTreeSet::new(),
            trim_due: None,
            next_pin: 0,
            compact_look: false,
            compact_due: None,
            compacting: None,
            packed: BTreeMap::new(),
            moved_here: 0,
            spares: BTreeSet::new(),
            making_spare: None,
            next_spare: 1,
            reserve: 0,
            index_due: None,
            no_room: false,
            retry_room: false,
            disk: DiskSpace { free: u64::MAX, total: u64::MAX },
            space: Space::default(),
        })
    }

    /// The state of a snapshot whose file has this many bytes.
    pub fn from_snapshot(settings: Settings, snapshot: Snapshot, bytes: u64) -> Self {
        let mut replayed = Self::empty(settings);
        let store = &mut replayed.0;
        store.next_log = snapshot.next_log;
        store.next_batch = snapshot.batch + 1;
        for log in snapshot.logs {
            let (id, log) = LogState::from_snapshot(log);
            log.segments().for_each(|(segment, cost, extents)| store.roots.hold(segment, cost, extents));
            store.names.insert(Arc::clone(&log.facts.name), id);
            store.logs.insert(id, log);
        }
        store.roots.opened(snapshot.batch, snapshot.segment, bytes);
        replayed
    }

    /// Number of the next batch.
    pub fn next_batch(&self) -> u64 {
        self.0.next_batch
    }

    /// Every log with what is damaged of it.
    pub fn damaged(&self) -> impl Iterator<Item = (&str, &[Damage], bool)> {
        self.0.logs.values().map(|log| (&*log.facts.name, &**log.facts.damage, log.facts.quarantined))
    }

    /// Notes a segment file, whatever it holds.
    pub fn segment_exists(&mut self, segment: u64, file: u64) {
        self.0.roots.exists(segment, file);
    }

    /// Notes a whole spare segment.
    pub fn spare_exists(&mut self, spare: u64) {
        self.0.spares.insert(spare);
        self.0.next_spare = self.0.next_spare.max(spare + 1);
    }

    /// Number of the next spare segment.
    pub fn next_spare(&self) -> u64 {
        self.0.next_spare
    }

    /// A spare segment that this open may use, if there is one.
    pub fn take_spare(&mut self) -> Option<u64> {
        self.0.spares.pop_first()
    }

    /// Notes the length of the reserve.
    pub fn reserve_exists(&mut self, bytes: u64) {
        self.0.reserve = bytes;
    }

    /// Whether a checkpoint lies in a file of this name.
    pub fn is_checkpoint_file(&self, log: LogId, lsn: u64) -> bool {
        let place =
            self.0.logs.get(&log).and_then(|log| log.facts.checkpoints.get(&lsn)).map(|checkpoint| checkpoint.place);
        matches!(place, Some(CheckpointPlace::File { .. }))
    }

    /// Applies a batch that lies at this byte of a segment.
    pub fn batch(&mut self, header: &BatchHeader, segment: u64, at: u64, body: &[u8]) -> Result<(), Malformed> {
        let store = &mut self.0;
        let end = at + (BatchHeader::BYTES + body.len()) as u64;
        let echoes = header.echoes as usize * Echo::BYTES;
        let mut rest = body.get(echoes..).ok_or(Malformed("the echoes of a batch are cut off"))?;
        let mut place = at + (BatchHeader::BYTES + echoes) as u64;
        let mut flags = BTreeMap::<LogId, (EchoFlags, Place)>::new();
        let mut moved = Vec::new();
        for _ in 0..header.records {
            let record = RecordHeader::decode(rest)?;
            let stored = RecordHeader::record_bytes(record.payload_len as usize);
            let payload = rest
                .get(RecordHeader::BYTES..RecordHeader::BYTES + record.payload_len as usize)
                .ok_or(Malformed("a record is cut off"))?;
            rest = rest.get(stored..).ok_or(Malformed("a record is cut off"))?;
            let written = store.replay_record(record, payload, place)?;
            let entry = flags.entry(record.log).or_insert((EchoFlags::MOVED, Place::START));
            if record.placement == Placement::First {
                entry.0.0 &= !EchoFlags::MOVED.0;
                store.apply_all(&[written], segment, end);
            } else if written.control.is_some() || store.is_live(&record) {
                moved.push(written);
            }
            entry.1 = store.logs.get(&record.log).map_or(entry.1, |log| log.next);
            if !record.kind.has_lsn() && record.kind != Kind::CheckpointInline {
                entry.0.0 |= EchoFlags::CONTROL.0;
            }
            place += stored as u64;
        }
        if !rest.is_empty() {
            return Err(Malformed("bytes behind the last record of a batch"));
        }
        store.apply_all(&moved, segment, end);
        let echo = |(log, (flags, end)): (LogId, (EchoFlags, Place))| Echo {
            log,
            last_lsn: end.lsn.get() - 1,
            end_offset: end.offset.0,
            flags,
        };
        store.echoes = flags.into_iter().map(echo).collect();
        store.next_batch = header.batch + 1;
        store.appended_since_index += end - at;
        Ok(())
    }

    /// The store, ready for appends; everything replayed is durable by now. Also what readers see of each log.
    pub fn begin(self, end: StreamEnd) -> (Store, Vec<(LogId, Arc<LogView>)>) {
        let mut store = self.0;
        store.incarnation = end.incarnation;
        store.stream.segment = end.segment;
        store.stream.salt = end.salt;
        store.stream.end = end.end;
        store.stream.prepared = end.prepared;
        store.durable = store.next_batch - 1;
        store.wanted = store.durable;
        store.sync_asked = store.durable;
        store.disk = end.space;
        store.roots.exists(end.segment, end.prepared);
        // Files of checkpoints that are gone were removed by the open.
        store.unlinked.clear();
        // Nobody may ever ask this store for anything: what the last open left to be done begins by itself.
        store.compact_look = true;
        store.compact_due = Some(0);
        let mut views = Vec::new();
        for (id, log) in &mut store.logs {
            log.facts().epoch = end.incarnation.0.max(log.facts.epochs.last() + 1);
            log.written = log.next;
            log.durable = log.next;
            log.trimmed_to = log.base;
            views.push((*id, log.publish()));
        }
        store.roots.seal_all_before(end.segment);
        (store, views)
    }
}

impl Store {
    fn replay_record(&mut self, header: RecordHeader, payload: &[u8], place: u64) -> Result<Written, Malformed> {
        let mut control = None;
        // One that was written again changes places only, and only if its log still has it.
        if header.placement == Placement::Moved {
            if !header.kind.has_lsn() {
                control = Some(Box::new(Control::decode(header.kind, payload)?));
            }
        } else if header.kind.has_lsn() {
            let log = self.logs.get_mut(&header.log).ok_or(Malformed("a record of an unknown log"))?;
            if (header.lsn, header.offset) != (log.next.lsn.get(), log.next.offset.0) {
                return Err(Malformed("a record is not the next one of its log"));
            }
            // Only if the start of the epoch was lost.
            if header.epoch > log.facts.epochs.last() {
                let entry = EpochEntry { epoch: header.epoch, start_lsn: header.lsn, forced: false };
                Arc::make_mut(&mut log.facts().epochs).push(entry, self.settings.epoch_entries_max);
            }
            let advance = match header.kind {
                Kind::Mark => 0,
                Kind::Gap => {
                    payload.try_into().map(u64::from_le_bytes).map_err(|_| Malformed("a gap has no length"))?
                }
                _ => u64::from(header.payload_len),
            };
            log.next = Place { lsn: log.next.lsn.next(), offset: ByteOffset(log.next.offset.0 + advance) };
        } else {
            let decoded = Control::decode(header.kind, payload)?;
            match (&decoded, self.logs.contains_key(&header.log)) {
                (Control::LogCreated { .. }, _)
                | (
                    Control::EpochStart(_)
                    | Control::Meta { .. }
                    | Control::CheckpointInline { .. }
                    | Control::CheckpointRemoved { .. }
                    | Control::CheckpointAdded { .. }
                    | Control::Trimmed { .. }
                    | Control::Damage(_)
                    | Control::Dropped,
                    true,
                ) => control = Some(Box::new(decoded)),
                (_, false) => return Err(Malformed("a fact about an unknown log")),
                (_, true) => return Err(Malformed("a fact that this version does not know how to apply")),
            }
        }
        Ok(Written { header, place, control })
    }
}
