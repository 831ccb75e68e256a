//! From the files of a store, left by any crash, to a running one.

use super::io::{write_whole, write_zeros};
use super::paths::{Paths, number, temporary};
use super::shared::{Random, SegmentFile};
use crate::core::{Effect, Replayed, Settings, Store, StreamEnd};
use crate::disk::{Disk, File, Lock};
use crate::error::Error;
use crate::format::{BLOCK_BYTES, BatchFlags, BatchHeader, Malformed, SegmentHeader, Snapshot, StoreFile};
use crate::options::Options;
use crate::position::Incarnation;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// What an open found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// This open.
    pub incarnation: Incarnation,
    /// The store had been closed in order.
    pub clean: bool,
    /// The index snapshot from which the open began, 0: from the first batch.
    pub index_batch: u64,
    /// Batches read behind it.
    pub batches_replayed: u64,
    /// Bytes of the torn tail that were given up: nobody had been told that they are durable.
    pub cut_bytes: u64,
    /// Bytes of batches that nothing proved durable, written again and synced.
    pub copied_bytes: u64,
    /// Number of logs.
    pub logs: usize,
}

/// A store, opened.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) views: Vec<Effect>,
    pub(super) report: RecoveryReport,
    /// The segment that this open writes.
    pub(super) file: (u64, SegmentFile),
    pub(super) lock: Lock,
    pub(super) random: Random,
}

/// Zeros written ahead at an open.
const AHEAD_BYTES: u64 = 1 << 20;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

pub(super) fn open(disk: &dyn Disk, options: &mut Options) -> Result<Opened, Error> {
    check_options(options)?;
    let paths = Paths { dir: options.dir.clone() };
    make_dirs(disk, &paths)?;
    let lock = take_lock(disk, &paths, options.lock.take())?;
    let mut random = Random::new(options.entropy);
    let settings = store_file(disk, &paths, options, &mut random)?;
    let mut opening = Opening { disk, paths, settings, headers: BTreeMap::new(), junk: Vec::new() };
    opening.list_segments()?;
    let (replayed, root, index_batch) = opening.root()?;
    let found = opening.replay(replayed, root)?;
    let salt = random.salt().map_err(|error| Error::disk("getrandom", &opening.paths.dir, error))?;
    let (replayed, end, file, report) = opening.begin(found, index_batch, salt)?;
    let file = (end.segment, SegmentFile { file, salt });
    let (store, views) = replayed.begin(end);
    let report = RecoveryReport { logs: views.len(), ..report };
    Ok(Opened { store, views, report, file, lock, random })
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
    for dir in [&paths.dir, &paths.segments(), &paths.indexes()] {
        disk.make_dir(dir).map_err(|error| Error::disk("mkdir", dir, error))?;
    }
    Ok(())
}

fn take_lock(disk: &dyn Disk, paths: &Paths, inherited: Option<Lock>) -> Result<Lock, Error> {
    let path = paths.lock();
    disk.lock(&path, inherited).map_err(|error| {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Error::disk("lock", &path, error);
        }
        let text = disk.open(&path).and_then(|file| read_all(file.as_ref())).unwrap_or_default();
        let pid = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        Error::Locked { path: path.clone(), pid }
    })
}

/// Reads the file `store`, or makes a store where there is none yet.
fn store_file(disk: &dyn Disk, paths: &Paths, options: &Options, random: &mut Random) -> Result<Settings, Error> {
    let path = paths.store();
    let failed = |action| move |error| Error::disk(action, paths.store(), error);
    let store = match disk.open(&path) {
        Ok(file) => {
            let bytes = read_all(file.as_ref()).map_err(failed("read"))?;
            StoreFile::decode(&bytes)
                .map_err(|malformed| Error::Format { file: path.clone(), reason: malformed.to_string() })?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut store_id = [0; 16];
            random.fill(&mut store_id).map_err(failed("getrandom"))?;
            let store = StoreFile { store_id, segment_bytes: options.segment_bytes };
            let temporary = temporary(&path);
            let file = disk.create(&temporary).map_err(failed("create"))?;
            write_whole(file.as_ref(), 0, &[IoSlice::new(store.encode().as_bytes())]).map_err(failed("write"))?;
            file.sync_data().map_err(failed("sync"))?;
            disk.rename(&temporary, &path).map_err(failed("rename"))?;
            store
        }
        Err(error) => return Err(failed("open")(error)),
    };
    // At every open: an earlier one may have been cut off between a rename and its sync.
    for dir in [Some(paths.indexes().as_path()), Some(paths.dir.as_path()), paths.dir.parent()].into_iter().flatten() {
        if !dir.as_os_str().is_empty() {
            disk.sync_dir(dir).map_err(failed("sync"))?;
        }
    }
    if store.segment_bytes != options.segment_bytes {
        let reason = format!("its segments have {} bytes, not {}", store.segment_bytes, options.segment_bytes);
        return Err(Error::Format { file: path, reason });
    }
    Ok(Settings {
        store_id: store.store_id,
        segment_bytes: options.segment_bytes,
        record_bytes_max: options.record_bytes_max,
        append_bytes_max: options.append_bytes_max,
        sync_interval_ms: options.sync_interval_ms,
        index_interval_bytes: options.index_interval_bytes,
        extent_bytes: options.extent_bytes,
        checkpoint_inline_bytes_max: options.checkpoint_inline_bytes_max,
        disk_reserve_bytes: options.disk_reserve_bytes,
        bytes_max: options.bytes_max,
        logs_max: options.logs_max,
        epoch_entries_max: options.epoch_entries_max,
    })
}

/// A place in the stream.
#[derive(Debug, Clone, Copy)]
struct At {
    segment: u64,
    position: u64,
}

/// A batch that counts.
#[derive(Debug)]
struct Found {
    header: BatchHeader,
    at: u64,
}

/// What replay found.
struct FoundTail {
    replayed: Replayed,
    /// The bytes of the last segment, with the batches that nothing proves durable.
    image: Vec<u8>,
    tail: Vec<Found>,
    /// End of what is proven.
    proven: At,
    proven_batch: u64,
    clean: bool,
    batches: u64,
    cut_bytes: u64,
    incarnation: Incarnation,
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    paths: Paths,
    settings: Settings,
    /// Valid headers by segment.
    headers: BTreeMap<u64, SegmentHeader>,
    /// Files that are no part of the store.
    junk: Vec<std::path::PathBuf>,
}

impl Opening<'_> {
    fn list_segments(&mut self) -> Result<(), Error> {
        let dir = self.paths.segments();
        for name in self.disk.list(&dir).map_err(|error| Error::disk("list", &dir, error))? {
            let path = dir.join(&name);
            match number(&name, ".seg") {
                Some(segment) => match self.header(segment)? {
                    Some(header) => drop(self.headers.insert(segment, header)),
                    None => self.junk.push(path),
                },
                None => self.junk.push(path),
            }
        }
        Ok(())
    }

    /// A segment's header. `None`: the file is no part of the stream, because its header was never written, or belongs to
    /// what the file was used for before. One that is damaged while the batches behind it prove each other is rot.
    fn header(&self, segment: u64) -> Result<Option<SegmentHeader>, Error> {
        let path = self.paths.segment(segment);
        let failed = |error| Error::disk("read", &path, error);
        let mut bytes = [0; SegmentHeader::BYTES];
        let file = self.disk.open(&path).map_err(failed)?;
        file.read_at(0, &mut bytes).map_err(failed)?;
        match SegmentHeader::decode(&bytes) {
            Ok(header) => {
                let ours = header.store_id == self.settings.store_id && header.segment == segment;
                Ok(ours.then_some(header))
            }
            Err(_) if bytes == [0; SegmentHeader::BYTES] => Ok(None),
            Err(Malformed(reason)) => {
                let image = self.image(segment)?;
                if proves_itself(&image, segment) { Err(self.corrupt(segment, 0, reason)) } else { Ok(None) }
            }
        }
    }

    /// The newest valid snapshot, else the one before it, else the first segment. Says where replay begins.
    fn root(&mut self) -> Result<(Replayed, Option<At>, u64), Error> {
        let dir = self.paths.indexes();
        let mut batches = Vec::new();
        for name in self.disk.list(&dir).map_err(|error| Error::disk("list", &dir, error))? {
            match number(&name, ".idx") {
                Some(batch) => batches.push(batch),
                None => self.junk.push(dir.join(name)),
            }
        }
        batches.sort_unstable();
        // Older ones are only there if their removal was cut off.
        let kept = batches.split_off(batches.len().saturating_sub(2));
        self.junk.extend(batches.into_iter().map(|batch| self.paths.index(batch)));
        for batch in kept.iter().rev() {
            let path = self.paths.index(*batch);
            let failed = |error| Error::disk("read", &path, error);
            let file = self.disk.open(&path).map_err(failed)?;
            let bytes = read_all(file.as_ref()).map_err(failed)?;
            let Ok(snapshot) = Snapshot::decode(&bytes) else { continue };
            if snapshot.store_id != self.settings.store_id || snapshot.batch != *batch {
                continue;
            }
            let at = At { segment: snapshot.segment, position: snapshot.position };
            return Ok((Replayed::from_snapshot(self.settings, snapshot, bytes.len() as u64), Some(at), *batch));
        }
        match kept.last() {
            // One alone: nothing was freed yet, so the stream is whole.
            Some(batch) if kept.len() == 2 => {
                Err(Error::corrupt(self.paths.index(*batch), 0, "neither index snapshot can be read"))
            }
            _ => Ok((Replayed::empty(self.settings), None, 0)),
        }
    }

    /// The segment that follows: of several that claim it, the highest; those between are ignored for ever.
    fn after(&self, segment: u64) -> Option<SegmentHeader> {
        self.headers.values().rev().find(|header| header.prev_segment == segment).copied()
    }

    fn replay(&mut self, mut replayed: Replayed, root: Option<At>) -> Result<FoundTail, Error> {
        let first = match root {
            Some(root) => self.headers.get(&root.segment).copied().map(|header| (header, root.position)),
            None => self.after(0).map(|header| (header, BLOCK_BYTES)),
        };
        let proven_batch = replayed.next_batch() - 1;
        let mut found = FoundTail {
            image: Vec::new(),
            tail: Vec::new(),
            proven: root.unwrap_or(At { segment: 0, position: 0 }),
            proven_batch,
            clean: false,
            batches: 0,
            cut_bytes: 0,
            incarnation: self.headers.values().map(|header| header.incarnation).max().unwrap_or_default(),
            replayed: Replayed::empty(self.settings),
        };
        for segment in self.headers.keys() {
            replayed.segment_exists(*segment);
        }
        let Some((mut header, mut position)) = first else {
            return match (root, self.headers.keys().next()) {
                // A store that was made, but never got its first segment.
                (None, None) => Ok(FoundTail { replayed, ..found }),
                (None, Some(first)) => Err(self.corrupt(*first, 0, "the segments before it are missing")),
                (Some(root), _) => Err(self.corrupt(root.segment, 0, "the segment of the index snapshot is missing")),
            };
        };
        loop {
            let next = self.after(header.segment);
            let image = self.image(header.segment)?;
            let limit = next.map(|next| next.prev_end);
            let (batches, end) = scan(&image, &header, position, replayed.next_batch(), limit);
            match next {
                Some(next) if end == next.prev_end || (batches.is_empty() && position == next.prev_end) => {
                    self.apply(&mut replayed, &header, &image, &batches)?;
                    found.batches += batches.len() as u64;
                    if next.first_batch != replayed.next_batch() {
                        return Err(self.corrupt(next.segment, 48, "batches are missing before this segment"));
                    }
                    found.proven_batch = replayed.next_batch() - 1;
                    found.proven = At { segment: header.segment, position: next.prev_end };
                    header = next;
                    position = BLOCK_BYTES;
                }
                Some(_) => return Err(self.corrupt(header.segment, end, "a batch that was proven durable")),
                // Whoever makes a segment gives it the highest number: one above the end has lost the way to it.
                None if self.headers.keys().next_back() != Some(&header.segment) => {
                    return Err(self.corrupt(header.segment + 1, 0, "a segment of the stream is missing"));
                }
                None => {
                    let missing = batches.last().map_or(replayed.next_batch(), |last| last.header.batch + 1);
                    if proven_later(&image, &header, end, missing) {
                        return Err(self.corrupt(header.segment, end, "a batch that was proven durable"));
                    }
                    found.batches += batches.len() as u64;
                    found.cut_bytes = used(&image).saturating_sub(end);
                    found.split(&header, batches);
                    let (proven, tail): (Vec<Found>, Vec<Found>) = std::mem::take(&mut found.tail)
                        .into_iter()
                        .partition(|batch| batch.header.batch <= found.proven_batch);
                    self.apply(&mut replayed, &header, &image, &proven)?;
                    found.tail = tail;
                    found.image = image;
                    found.replayed = replayed;
                    return Ok(found);
                }
            }
        }
    }

    fn apply(
        &self,
        replayed: &mut Replayed,
        segment: &SegmentHeader,
        image: &[u8],
        batches: &[Found],
    ) -> Result<(), Error> {
        for Found { header, at } in batches {
            replayed
                .batch(header, segment.segment, *at, body(image, header, *at))
                .map_err(|Malformed(reason)| self.corrupt(segment.segment, *at, reason))?;
        }
        Ok(())
    }

    /// Copies the unproven tail into a new segment, which then belongs to this open. Until its header is durable the
    /// old one rules, so a crash at any step repeats the same recovery.
    fn begin(
        &mut self,
        found: FoundTail,
        index_batch: u64,
        salt: u32,
    ) -> Result<(Replayed, StreamEnd, Arc<dyn File>, RecoveryReport), Error> {
        let FoundTail { mut replayed, image, tail, proven, proven_batch, clean, batches, cut_bytes, incarnation } =
            found;
        for path in std::mem::take(&mut self.junk) {
            self.disk.remove(&path).map_err(|error| Error::disk("remove", &path, error))?;
        }
        let incarnation = Incarnation(incarnation.0 + 1);
        let segment = self.headers.keys().last().map_or(1, |last| last + 1);
        let path = self.paths.segment(segment);
        let failed = |action| {
            let path = path.clone();
            move |error| Error::disk(action, path, error)
        };
        let file = self.disk.create(&path).map_err(failed("create"))?;
        let copied: u64 = tail.iter().map(|batch| length(&batch.header)).sum();
        let prepared =
            (BLOCK_BYTES + copied + AHEAD_BYTES).next_multiple_of(AHEAD_BYTES).min(self.settings.segment_bytes);
        write_zeros(file.as_ref(), 0, prepared).map_err(failed("write"))?;
        let mut at = BLOCK_BYTES;
        for Found { header, at: from } in &tail {
            let body = body(&image, header, *from);
            let copy = BatchHeader {
                segment,
                synced: proven_batch,
                incarnation: u32::try_from(incarnation.0 & u64::from(u32::MAX)).unwrap_or(0),
                ..*header
            };
            write_copy(file.as_ref(), at, copy, salt, body).map_err(failed("write"))?;
            replayed
                .batch(&copy, segment, at, body)
                .map_err(|Malformed(reason)| self.corrupt(proven.segment, *from, reason))?;
            at += length(header);
        }
        file.sync_data().map_err(failed("sync"))?;
        let header = SegmentHeader {
            store_id: self.settings.store_id,
            segment,
            segment_bytes: self.settings.segment_bytes,
            first_batch: proven_batch + 1,
            incarnation,
            prev_segment: proven.segment,
            prev_end: proven.position,
            salt,
        };
        write_whole(file.as_ref(), 0, &[IoSlice::new(&header.encode())]).map_err(failed("write"))?;
        file.sync_data().map_err(failed("sync"))?;
        let dir = self.paths.segments();
        self.disk.sync_dir(&dir).map_err(|error| Error::disk("sync", &dir, error))?;
        let space =
            self.disk.free_bytes(&self.paths.dir).map_err(|error| Error::disk("statvfs", &self.paths.dir, error))?;
        let end = StreamEnd { segment, salt, end: at, prepared, incarnation, space };
        let report = RecoveryReport {
            incarnation,
            clean,
            index_batch,
            batches_replayed: batches,
            cut_bytes,
            copied_bytes: copied,
            logs: 0,
        };
        Ok((replayed, end, file, report))
    }

    fn image(&self, segment: u64) -> Result<Vec<u8>, Error> {
        let path = self.paths.segment(segment);
        let file = self.disk.open(&path).map_err(|error| Error::disk("open", &path, error))?;
        read_all(file.as_ref()).map_err(|error| Error::disk("read", &path, error))
    }

    fn corrupt(&self, segment: u64, position: u64, reason: &'static str) -> Error {
        Error::corrupt(self.paths.segment(segment), position, reason)
    }
}

impl FoundTail {
    /// Of the last segment's batches: which are proven by what a later one says, and where that ends.
    fn split(&mut self, segment: &SegmentHeader, mut batches: Vec<Found>) {
        for batch in &batches {
            self.proven_batch = self.proven_batch.max(batch.header.synced);
        }
        // A clean end holds nothing: it only says that what stands before it is durable, and is not kept.
        if batches.last().is_some_and(|last| last.header.flags.has(BatchFlags::CLEAN)) {
            self.clean = true;
            batches.pop();
        }
        if let Some(last) = batches.iter().rfind(|batch| batch.header.batch <= self.proven_batch) {
            self.proven = At { segment: segment.segment, position: last.at + length(&last.header) };
        }
        self.tail = batches;
    }
}

/// A batch as it lies in a segment with this salt.
fn write_copy(file: &dyn File, at: u64, header: BatchHeader, salt: u32, body: &[u8]) -> io::Result<()> {
    let header = BatchHeader { body_crc: crate::format::crc::append(salt, body), ..header };
    write_whole(file, at, &[IoSlice::new(&header.encode(salt)), IoSlice::new(body)])
}

fn length(header: &BatchHeader) -> u64 {
    BatchHeader::BYTES as u64 + u64::from(header.body_len)
}

fn body<'a>(image: &'a [u8], header: &BatchHeader, at: u64) -> &'a [u8] {
    let from = index(at) + BatchHeader::BYTES;
    image.get(from..from + header.body_len as usize).unwrap_or_default()
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Bytes up to the last that is not zero.
fn used(image: &[u8]) -> u64 {
    image.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// The batches that count, from `position` on, and where the last of them ends. `limit`: bytes of the segment that
/// count.
fn scan(image: &[u8], segment: &SegmentHeader, position: u64, first: u64, limit: Option<u64>) -> (Vec<Found>, u64) {
    let mut found = Vec::new();
    let mut end = position;
    let mut number = first;
    let mut incarnation = 0;
    'batches: loop {
        for at in [end, end.next_multiple_of(BLOCK_BYTES)] {
            let Some(header) = batch_at(image, segment, at) else { continue };
            let behind = at + length(&header);
            let counts = header.batch == number
                && header.incarnation >= incarnation
                && limit.is_none_or(|limit| behind <= limit)
                && header.covers(body(image, &header, at), segment.salt);
            if counts {
                incarnation = header.incarnation;
                number += 1;
                end = behind;
                found.push(Found { header, at });
                continue 'batches;
            }
        }
        return (found, end);
    }
}

fn batch_at(image: &[u8], segment: &SegmentHeader, at: u64) -> Option<BatchHeader> {
    let header = BatchHeader::decode(image.get(index(at)..)?, segment.salt).ok()?;
    (header.segment == segment.segment).then_some(header)
}

/// Whether anything behind `from` says that the missing batch was durable: then its absence is rot, not a torn tail.
fn proven_later(image: &[u8], segment: &SegmentHeader, from: u64, missing: u64) -> bool {
    (from..image.len() as u64)
        .step_by(8)
        .filter_map(|at| batch_at(image, segment, at))
        .any(|header| header.batch > missing && header.synced >= missing)
}

/// Whether a segment without a valid header holds batches of which one says that an earlier one was durable. Without the
/// salt their checksums cannot be checked.
fn proves_itself(image: &[u8], segment: u64) -> bool {
    let mut first = None;
    image.get(index(BLOCK_BYTES)..).unwrap_or_default().chunks_exact(8).enumerate().any(|(place, _)| {
        let at = index(BLOCK_BYTES) + place * 8;
        let Some(header) = image.get(at..).and_then(BatchHeader::decode_unverified) else { return false };
        header.segment == segment && header.synced >= *first.get_or_insert(header.batch)
    })
}

fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; index(file.len()?)];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}
