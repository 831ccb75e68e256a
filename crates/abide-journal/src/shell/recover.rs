//! Finds the stream of a store that any crash has left, and begins this open's own segment.

use super::io::{write_whole, write_zeros};
use super::open::{FoundDamage, RecoveryReport};
use super::paths::{Paths, number};
use super::scan::{Found, body, counting, echoes, find, length, proven_later, proves_itself, read_all, scan, torn};
use crate::core::{Replayed, Settings, StreamEnd};
use crate::disk::{Disk, File};
use crate::error::Error;
use crate::format::{BLOCK_BYTES, BatchFlags, BatchHeader, DamageState, Malformed, SegmentHeader, Snapshot};
use crate::position::{Incarnation, LogId, Lsn};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros written ahead at an open.
const AHEAD_BYTES: u64 = 1 << 20;

/// A place in the stream.
#[derive(Debug, Clone, Copy)]
struct At {
    segment: u64,
    position: u64,
}

/// What the stream holds, as far as it has been replayed.
pub(super) struct Stream {
    pub(super) replayed: Replayed,
    /// The last segment with its bytes, and the batches in it that nothing proves durable.
    last: Option<SegmentHeader>,
    image: Vec<u8>,
    tail: Vec<Found>,
    /// End of what is proven.
    proven: At,
    proven_batch: u64,
    incarnation: Incarnation,
    pub(super) report: RecoveryReport,
}

pub(super) struct Opening<'a> {
    disk: &'a dyn Disk,
    paths: &'a Paths,
    settings: Settings,
    /// Valid headers by segment.
    headers: BTreeMap<u64, SegmentHeader>,
    /// Lengths of their files.
    lengths: BTreeMap<u64, u64>,
    /// Files that are no part of the store.
    junk: Vec<PathBuf>,
}

impl<'a> Opening<'a> {
    /// Lists what is there. Errors: those of the disk, and a segment that is damaged at its head.
    pub(super) fn new(disk: &'a dyn Disk, paths: &'a Paths, settings: Settings) -> Result<Self, Error> {
        let mut opening =
            Self { disk, paths, settings, headers: BTreeMap::new(), lengths: BTreeMap::new(), junk: Vec::new() };
        let dir = paths.segments();
        for name in disk.list(&dir).map_err(|error| Error::disk("list", &dir, error))? {
            let path = dir.join(&name);
            match number(&name, ".seg") {
                Some(segment) => match opening.header(segment)? {
                    Some(header) => {
                        opening.headers.insert(segment, header);
                        opening.lengths.insert(segment, opening.length(&path)?);
                    }
                    None => opening.junk.push(path),
                },
                None => opening.junk.push(path),
            }
        }
        Ok(opening)
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

    /// What the store holds. With an error: what it holds before the place where it cannot be read on.
    pub(super) fn replay(&mut self) -> (Stream, Result<(), Error>) {
        let (replayed, root, index_batch, error) = match self.root() {
            Ok((replayed, root, batch)) => (replayed, root, batch, None),
            Err(error) => (Replayed::empty(self.settings), None, 0, Some(error)),
        };
        let incarnation = self.headers.values().map(|header| header.incarnation).max().unwrap_or_default();
        let mut stream = Stream {
            last: None,
            image: Vec::new(),
            tail: Vec::new(),
            proven: root.unwrap_or(At { segment: 0, position: 0 }),
            proven_batch: replayed.next_batch() - 1,
            incarnation,
            report: RecoveryReport { incarnation, index_batch, ..RecoveryReport::default() },
            replayed,
        };
        for (segment, length) in &self.lengths {
            stream.replayed.segment_exists(*segment, *length);
        }
        let result = match error {
            Some(error) => Err(error),
            None => self.follow(&mut stream, root),
        };
        stream.report.damage = self.damage(&stream.replayed);
        let quarantined = stream.replayed.damaged().filter(|(_, _, quarantined)| *quarantined);
        stream.report.quarantined = quarantined.map(|(log, _, _)| log.to_owned()).collect();
        (stream, result)
    }

    fn follow(&self, stream: &mut Stream, root: Option<At>) -> Result<(), Error> {
        let first = match root {
            Some(root) => self.headers.get(&root.segment).copied().map(|header| (header, root.position)),
            None => self.after(0).map(|header| (header, BLOCK_BYTES)),
        };
        let Some((mut header, mut position)) = first else {
            return match (root, self.headers.keys().next()) {
                // A store that was made, but never got its first segment.
                (None, None) => Ok(()),
                (None, Some(first)) => Err(self.corrupt(*first, 0, "the segments before it are missing")),
                (Some(root), _) => Err(self.corrupt(root.segment, 0, "the segment of the index snapshot is missing")),
            };
        };
        while let Some(next) = self.after(header.segment) {
            let image = self.image(header.segment)?;
            let batches = self.proven(stream, &header, &image, position, Some(&next))?;
            self.apply(stream, &header, &image, &batches)?;
            if next.first_batch != stream.replayed.next_batch() {
                return Err(self.corrupt(next.segment, 48, "batches are missing before this segment"));
            }
            stream.proven_batch = next.first_batch - 1;
            stream.proven = At { segment: header.segment, position: next.prev_end };
            header = next;
            position = BLOCK_BYTES;
        }
        // Whoever makes a segment gives it the highest number: one above the end has lost the way to it.
        if self.headers.keys().next_back() != Some(&header.segment) {
            return Err(self.corrupt(header.segment + 1, 0, "a segment of the stream is missing"));
        }
        let image = self.image(header.segment)?;
        let batches = self.proven(stream, &header, &image, position, None)?;
        let (end, missing) = match batches.last() {
            Some(last) => (last.at + length(&last.header), last.header.batch + 1),
            None => (position.max(stream.proven.position), stream.replayed.next_batch()),
        };
        stream.report.cut_bytes = torn(&image, &header, end, missing);
        let proven = stream.split(&header, batches);
        self.apply(stream, &header, &image, &proven)?;
        stream.last = Some(header);
        stream.image = image;
        Ok(())
    }

    /// Batches of one segment from `position` on: the last run of them, behind the last hole. What lies before a hole, and
    /// the hole itself, is proven and applied.
    fn proven(
        &self,
        stream: &mut Stream,
        segment: &SegmentHeader,
        image: &[u8],
        mut position: u64,
        next: Option<&SegmentHeader>,
    ) -> Result<Vec<Found>, Error> {
        let limit = next.map(|next| next.prev_end);
        loop {
            let first = stream.replayed.next_batch();
            let (batches, end) = scan(image, segment, position, first, limit);
            let missing = first + batches.len() as u64;
            let whole = match next {
                Some(next) => missing >= next.first_batch,
                None => !proven_later(image, segment, end, missing),
            };
            if whole {
                return Ok(batches);
            }
            self.apply(stream, segment, image, &batches)?;
            stream.proven_batch = missing;
            let behind = find(image, segment, end, missing + 1, limit);
            let echoes = match (behind, next) {
                (Some(found), _) => echoes(image, &found),
                (None, Some(next)) if next.first_batch == missing + 1 => self.first_echoes(next)?.unwrap_or_default(),
                (None, _) => return Err(self.corrupt(segment.segment, end, "two batches that were proven durable")),
            };
            if behind.is_none() && echoes.is_empty() {
                return Err(self.corrupt(segment.segment, end, "a batch that was proven durable"));
            }
            stream.replayed.hole(&echoes, segment.segment, end);
            position = behind.map_or(limit.unwrap_or(end), |found| found.at);
            stream.proven = At { segment: segment.segment, position };
        }
    }

    /// What the first batch of a segment says of the last one before it.
    fn first_echoes(&self, segment: &SegmentHeader) -> Result<Option<Vec<crate::format::Echo>>, Error> {
        let image = self.image(segment.segment)?;
        Ok(counting(&image, segment, BLOCK_BYTES, segment.first_batch, None).map(|found| echoes(&image, &found)))
    }

    fn apply(
        &self,
        stream: &mut Stream,
        segment: &SegmentHeader,
        image: &[u8],
        batches: &[Found],
    ) -> Result<(), Error> {
        stream.report.batches_replayed += batches.len() as u64;
        for Found { header, at } in batches {
            stream
                .replayed
                .batch(header, segment.segment, *at, body(image, header, *at))
                .map_err(|Malformed(reason)| self.corrupt(segment.segment, *at, reason))?;
        }
        Ok(())
    }

    fn damage(&self, replayed: &Replayed) -> Vec<FoundDamage> {
        let mut all = Vec::new();
        for (log, damage, _) in replayed.damaged() {
            all.extend(damage.iter().filter(|damage| damage.state == DamageState::Found).map(|damage| FoundDamage {
                log: log.to_owned(),
                from: Lsn::at_least_first(damage.from_lsn),
                to: Lsn::new(damage.to_lsn).filter(|to| to.get() >= damage.from_lsn),
                file: self.paths.segment(damage.segment),
                position: damage.position,
            }));
        }
        all
    }

    fn length(&self, path: &Path) -> Result<u64, Error> {
        self.disk.open(path).and_then(|file| file.len()).map_err(|error| Error::disk("open", path, error))
    }

    /// What waits for use is taken over; what nothing refers to goes.
    fn tidy(&mut self, stream: &mut Stream) -> Result<(), Error> {
        let whole = self.settings.segment_bytes;
        let dir = self.paths.spares();
        let mut count = 0;
        for name in self.disk.list(&dir).map_err(|error| Error::disk("list", &dir, error))? {
            let path = dir.join(&name);
            match number(&name, ".seg") {
                Some(spare) if count <= self.settings.spare_segments && self.length(&path)? == whole => {
                    stream.replayed.spare_exists(spare);
                    count += 1;
                }
                _ => self.junk.push(path),
            }
        }
        stream.replayed.reserve_exists(self.length(&self.paths.reserve()).unwrap_or(0));
        let segments = self.paths.segments();
        let mut renamed = false;
        for path in std::mem::take(&mut self.junk) {
            let failed = |action| {
                let path = path.clone();
                move |error| Error::disk(action, path, error)
            };
            // A whole segment that was to be the next one is spare again.
            if path.parent() == Some(&segments) && count <= self.settings.spare_segments && self.length(&path)? == whole
            {
                if !renamed {
                    // What is renamed must be there after a power loss under the name that it had.
                    self.disk.sync_dir(&segments).map_err(|error| Error::disk("sync", &segments, error))?;
                }
                let spare = stream.replayed.next_spare();
                self.disk.rename(&path, &self.paths.spare(spare)).map_err(failed("rename"))?;
                stream.replayed.spare_exists(spare);
                count += 1;
                renamed = true;
            } else {
                self.disk.remove(&path).map_err(failed("remove"))?;
            }
        }
        if renamed {
            self.disk.sync_dir(&dir).map_err(|error| Error::disk("sync", &dir, error))?;
        }
        Ok(())
    }

    /// Files of checkpoints that nothing refers to go, once what says so is durable.
    fn remove_orphans(&self, stream: &Stream) -> Result<(), Error> {
        let dir = self.paths.checkpoints();
        for name in self.disk.list(&dir).map_err(|error| Error::disk("list", &dir, error))? {
            let of = name.split_once('-').and_then(|(log, lsn)| {
                Some((u64::from_str_radix(log, 16).ok()?, u64::from_str_radix(lsn.strip_suffix(".ckpt")?, 16).ok()?))
            });
            if !of.is_some_and(|(log, lsn)| stream.replayed.is_checkpoint_file(LogId(log), lsn)) {
                let path = dir.join(name);
                self.disk.remove(&path).map_err(|error| Error::disk("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// What nothing proves is applied where it lies: for reading only.
    pub(super) fn apply_tail(&self, stream: &mut Stream) -> Result<(), Error> {
        let (tail, image) = (std::mem::take(&mut stream.tail), std::mem::take(&mut stream.image));
        match stream.last {
            Some(last) => self.apply(stream, &last, &image, &tail),
            None => Ok(()),
        }
    }

    /// Behind all that is there: where nothing will be written.
    pub(super) fn end(&self, incarnation: Incarnation) -> Result<StreamEnd, Error> {
        let segment = self.headers.keys().last().map_or(1, |last| last + 1);
        Ok(StreamEnd { segment, salt: 0, end: 0, prepared: 0, incarnation, space: self.space()? })
    }

    /// Copies the unproven tail into a new segment, which then belongs to this open. Until its header is durable the
    /// old one rules, so a crash at any step repeats the same recovery.
    pub(super) fn begin(&mut self, stream: &mut Stream, salt: u32) -> Result<(StreamEnd, Arc<dyn File>), Error> {
        self.tidy(stream)?;
        let incarnation = Incarnation(stream.incarnation.0 + 1);
        let segment = self.headers.keys().last().map_or(1, |last| last + 1);
        let path = self.paths.segment(segment);
        let failed = |action| {
            let path = path.clone();
            move |error| Error::disk(action, path, error)
        };
        let tail = std::mem::take(&mut stream.tail);
        let copied: u64 = tail.iter().map(|batch| length(&batch.header)).sum();
        let wanted =
            (BLOCK_BYTES + copied + AHEAD_BYTES).next_multiple_of(AHEAD_BYTES).min(self.settings.segment_bytes);
        let (file, prepared) = self.new_segment(stream, &path, wanted)?;
        let mut at = BLOCK_BYTES;
        stream.report.batches_replayed += tail.len() as u64;
        for Found { header, at: from } in &tail {
            let body = body(&stream.image, header, *from);
            let copy = BatchHeader {
                segment,
                synced: stream.proven_batch,
                incarnation: u32::try_from(incarnation.0 & u64::from(u32::MAX)).unwrap_or(0),
                ..*header
            };
            write_copy(file.as_ref(), at, copy, salt, body).map_err(failed("write"))?;
            stream
                .replayed
                .batch(&copy, segment, at, body)
                .map_err(|Malformed(reason)| self.corrupt(stream.proven.segment, *from, reason))?;
            at += length(header);
        }
        file.sync_data().map_err(failed("sync"))?;
        let header = SegmentHeader {
            store_id: self.settings.store_id,
            segment,
            segment_bytes: self.settings.segment_bytes,
            first_batch: stream.proven_batch + 1,
            incarnation,
            prev_segment: stream.proven.segment,
            prev_end: stream.proven.position,
            salt,
        };
        write_whole(file.as_ref(), 0, &[IoSlice::new(&header.encode())]).map_err(failed("write"))?;
        file.sync_data().map_err(failed("sync"))?;
        let dir = self.paths.segments();
        self.disk.sync_dir(&dir).map_err(|error| Error::disk("sync", &dir, error))?;
        self.remove_orphans(stream)?;
        stream.image = Vec::new();
        stream.report.incarnation = incarnation;
        stream.report.copied_bytes = copied;
        let end = StreamEnd { segment, salt, end: at, prepared, incarnation, space: self.space()? };
        Ok((end, file))
    }

    /// The file of this open's segment, with zeros up to `wanted`. On a full disk a spare one takes it.
    fn new_segment(&self, stream: &mut Stream, path: &Path, wanted: u64) -> Result<(Arc<dyn File>, u64), Error> {
        let made = self.disk.create(path).and_then(|file| write_zeros(file.as_ref(), 0, wanted).map(|()| file));
        match made {
            Ok(file) => Ok((file, wanted)),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let spare = stream.replayed.take_spare().ok_or(Error::Full)?;
                let from = self.paths.spare(spare);
                self.disk.rename(&from, path).map_err(|error| Error::disk("rename", path, error))?;
                let file = self.disk.open(path).map_err(|error| Error::disk("open", path, error))?;
                Ok((file, self.settings.segment_bytes))
            }
            Err(error) => Err(Error::disk("write", path, error)),
        }
    }

    fn space(&self) -> Result<crate::DiskSpace, Error> {
        self.disk.free_bytes(&self.paths.dir).map_err(|error| Error::disk("statvfs", &self.paths.dir, error))
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

impl Stream {
    /// Of the last segment's batches: returns those that are proven by what a later one says, keeps the others.
    fn split(&mut self, segment: &SegmentHeader, mut batches: Vec<Found>) -> Vec<Found> {
        for batch in &batches {
            self.proven_batch = self.proven_batch.max(batch.header.synced);
        }
        // A clean end holds nothing: it only says that what stands before it is durable, and is not kept.
        if batches.last().is_some_and(|last| last.header.flags.has(BatchFlags::CLEAN)) {
            self.report.clean = true;
            batches.pop();
        }
        let proven_batch = self.proven_batch;
        let (proven, tail): (Vec<Found>, Vec<Found>) =
            batches.into_iter().partition(|batch| batch.header.batch <= proven_batch);
        if let Some(last) = proven.last() {
            self.proven = At { segment: segment.segment, position: last.at + length(&last.header) };
        }
        self.tail = tail;
        proven
    }
}

/// A batch as it lies in a segment with this salt.
fn write_copy(file: &dyn File, at: u64, header: BatchHeader, salt: u32, body: &[u8]) -> io::Result<()> {
    let header = BatchHeader { body_crc: crate::format::crc::append(salt, body), ..header };
    write_whole(file, at, &[IoSlice::new(&header.encode(salt)), IoSlice::new(body)])
}
