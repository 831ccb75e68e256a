//! From the files of a store, left by any crash, to a running one.

use super::io::write_whole;
use super::paths::{Paths, temporary};
use super::recover::Opening;
use super::scan::read_all;
use super::shared::{Random, SegmentFile};
use crate::core::{LogView, Settings, Store};
use crate::disk::{Disk, Lock};
use crate::error::{Corruption, Error};
use crate::format::StoreFile;
use crate::options::Options;
use crate::position::{Incarnation, LogId, Lsn};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

/// What an open found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// This open; of a store opened for reading only the last one.
    pub incarnation: Incarnation,
    /// The store had been closed in order.
    pub clean: bool,
    /// The index snapshot from which the open began, 0: from the first batch.
    pub index_batch: u64,
    /// Batches read behind it.
    pub batches_replayed: u64,
    /// Bytes of the torn tail that were given up, as far as its headers tell: nobody had been told that they are durable.
    pub cut_bytes: u64,
    /// Bytes of batches that nothing proved durable, written again and synced.
    pub copied_bytes: u64,
    /// Records that were proven durable and cannot be read, as far as nobody has accepted that.
    pub damage: Vec<FoundDamage>,
    /// Logs that lost facts about themselves and take nothing until that is accepted.
    pub quarantined: Vec<String>,
    /// Of a store opened for reading only: where it cannot be read on. What lay behind is not shown.
    pub stopped: Option<Arc<Corruption>>,
    /// Number of logs.
    pub logs: usize,
}

/// Records of one log that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDamage {
    /// Name of the log; `@lost/<id>` if the record of its creation is among what is lost.
    pub log: String,
    /// First record.
    pub from: Lsn,
    /// Last record. `None`: only facts about the log were lost.
    pub to: Option<Lsn>,
    /// The damaged file.
    pub file: PathBuf,
    /// Byte in it.
    pub position: u64,
}

/// A store, opened.
pub(super) struct Opened {
    /// `None`: for reading only.
    pub(super) store: Option<Store>,
    pub(super) store_id: [u8; 16],
    pub(super) views: Vec<(LogId, Arc<LogView>)>,
    pub(super) report: RecoveryReport,
    /// The segment that this open writes.
    pub(super) file: Option<(u64, SegmentFile)>,
    pub(super) lock: Lock,
    pub(super) random: Random,
}

const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

pub(super) fn open(disk: &dyn Disk, options: &mut Options) -> Result<Opened, Error> {
    check_options(options)?;
    let paths = Paths { dir: options.dir.clone() };
    make_dirs(disk, &paths)?;
    let lock = take_lock(&paths, disk, || disk.lock(&paths.lock(), options.lock.take()))?;
    let mut random = Random::new(options.entropy);
    let store = store_file(disk, &paths, options.segment_bytes, &mut random)?;
    if store.segment_bytes != options.segment_bytes {
        let reason = format!("its segments have {} bytes, not {}", store.segment_bytes, options.segment_bytes);
        return Err(Error::Format { file: paths.store(), reason });
    }
    let store_id = store.store_id;
    let mut opening = Opening::new(disk, &paths, settings(&store, options))?;
    let (mut stream, found) = opening.replay();
    found?;
    let salt = random.salt().map_err(|error| Error::disk("getrandom", &paths.dir, error))?;
    let (end, file) = opening.begin(&mut stream, salt)?;
    let (store, views) = stream.replayed.begin(end);
    let report = RecoveryReport { logs: views.len(), ..stream.report };
    let file = Some((end.segment, SegmentFile { file, salt }));
    Ok(Opened { store: Some(store), store_id, views, report, file, lock, random })
}

/// Reads a store without changing it: as far as it can be read.
pub(super) fn open_read_only(disk: &dyn Disk, options: &Options) -> Result<Opened, Error> {
    let paths = Paths { dir: options.dir.clone() };
    let store = read_store_file(disk, &paths)?
        .ok_or_else(|| Error::Format { file: paths.store(), reason: "there is no store here".to_owned() })?;
    let lock = take_lock(&paths, disk, || disk.lock_shared(&paths.lock()))?;
    let mut opening = Opening::new(disk, &paths, settings(&store, options))?;
    let (mut stream, found) = opening.replay();
    stream.report.stopped = match found.and_then(|()| opening.apply_tail(&mut stream)) {
        Ok(()) => None,
        Err(Error::Corrupt(corruption)) => Some(corruption),
        Err(error) => return Err(error),
    };
    let (_, views) = stream.replayed.begin(opening.end(stream.report.incarnation)?);
    let report = RecoveryReport { logs: views.len(), ..stream.report };
    Ok(Opened {
        store: None,
        store_id: store.store_id,
        views,
        report,
        file: None,
        lock,
        random: Random::new(options.entropy),
    })
}

fn check_options(options: &Options) -> Result<(), Error> {
    let limit = |what, max| Err(Error::LimitExceeded { what, max });
    let size = options.segment_bytes;
    if !size.is_power_of_two() || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size) {
        return limit("segment_bytes", SEGMENT_BYTES_MAX);
    }
    if options.record_bytes_max > size / 2 {
        return limit("record_bytes_max", size / 2);
    }
    if options.append_bytes_max > size / 2 {
        return limit("append_bytes_max", size / 2);
    }
    if options.checkpoint_inline_bytes_max > size / 2 {
        return limit("checkpoint_inline_bytes_max", size / 2);
    }
    Ok(())
}

fn make_dirs(disk: &dyn Disk, paths: &Paths) -> Result<(), Error> {
    for dir in [&paths.dir, &paths.segments(), &paths.indexes(), &paths.spares(), &paths.checkpoints()] {
        disk.make_dir(dir).map_err(|error| Error::disk("mkdir", dir, error))?;
    }
    Ok(())
}

fn take_lock(paths: &Paths, disk: &dyn Disk, lock: impl FnOnce() -> io::Result<Lock>) -> Result<Lock, Error> {
    let path = paths.lock();
    lock().map_err(|error| {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Error::disk("lock", &path, error);
        }
        let text = disk.open(&path).and_then(|file| read_all(file.as_ref())).unwrap_or_default();
        let pid = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        Error::Locked { path: path.clone(), pid }
    })
}

fn read_store_file(disk: &dyn Disk, paths: &Paths) -> Result<Option<StoreFile>, Error> {
    let path = paths.store();
    match disk.open(&path) {
        Ok(file) => {
            let bytes = read_all(file.as_ref()).map_err(|error| Error::disk("read", &path, error))?;
            let store = StoreFile::decode(&bytes);
            store.map(Some).map_err(|malformed| Error::Format { file: path, reason: malformed.to_string() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::disk("open", &path, error)),
    }
}

/// Reads the file `store`, or makes a store where there is none yet.
fn store_file(disk: &dyn Disk, paths: &Paths, segment_bytes: u64, random: &mut Random) -> Result<StoreFile, Error> {
    let path = paths.store();
    let failed = |action| move |error| Error::disk(action, paths.store(), error);
    let store = if let Some(store) = read_store_file(disk, paths)? {
        store
    } else {
        let mut store_id = [0; 16];
        random.fill(&mut store_id).map_err(failed("getrandom"))?;
        let store = StoreFile { store_id, segment_bytes };
        let temporary = temporary(&path);
        let file = disk.create(&temporary).map_err(failed("create"))?;
        write_whole(file.as_ref(), 0, &[IoSlice::new(store.encode().as_bytes())]).map_err(failed("write"))?;
        file.sync_data().map_err(failed("sync"))?;
        disk.rename(&temporary, &path).map_err(failed("rename"))?;
        store
    };
    // At every open: an earlier one may have been cut off between a rename and its sync.
    let (indexes, spares) = (paths.indexes(), paths.spares());
    for dir in [Some(&*indexes), Some(&*spares), Some(&*paths.dir), paths.dir.parent()].into_iter().flatten() {
        if !dir.as_os_str().is_empty() {
            disk.sync_dir(dir).map_err(failed("sync"))?;
        }
    }
    Ok(store)
}

fn settings(store: &StoreFile, options: &Options) -> Settings {
    Settings {
        store_id: store.store_id,
        segment_bytes: store.segment_bytes,
        record_bytes_max: options.record_bytes_max,
        append_bytes_max: options.append_bytes_max,
        sync_interval_ms: options.sync_interval_ms,
        proof_delay_ms: options.proof_delay_ms,
        index_interval_bytes: options.index_interval_bytes,
        index_interval_ms: options.index_interval_ms,
        trim_interval_ms: options.trim_interval_ms,
        pin_bytes_max: options.pin_bytes_max,
        pin_age_ms_max: options.pin_age_ms_max,
        spare_segments: options.spare_segments.max(1),
        compact_live_ratio: options.compact_live_ratio,
        compact_bytes_per_s: options.compact_bytes_per_s,
        extent_bytes: options.extent_bytes,
        checkpoint_inline_bytes_max: options.checkpoint_inline_bytes_max,
        disk_reserve_bytes: options.disk_reserve_bytes,
        bytes_max: options.bytes_max,
        logs_max: options.logs_max,
        epoch_entries_max: options.epoch_entries_max,
    }
}
