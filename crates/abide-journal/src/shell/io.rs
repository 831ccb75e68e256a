//! Carries out what the core asks of the disk.

use super::digest::Digests;
use super::encode::Encoded;
use super::paths::temporary;
use super::shared::{SegmentFile, Shared, locked};
use crate::core::{Ahead, Event, NewFile, Origin, Piece, WritePlan};
use crate::disk::{DiskSpace, File};
use crate::error::{Cause, Error};
use crate::format::{BLOCK_BYTES, CheckpointPlace, SnapshotCheckpoint};
use crate::position::LogId;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of the buffer for heads and short payloads this much is kept.
const HEADS_KEPT_BYTES: usize = 2 << 20;

/// One piece of I/O.
#[derive(Debug)]
pub(crate) enum Job {
    Write(Arc<WritePlan>),
    Sync { segment: u64, batch: u64 },
    Prepare { ahead: Ahead, origin: Origin, from: u64, to: u64 },
    GiveUpReserve,
    WriteIndex { batch: u64, file: Vec<u8> },
    RemoveIndex { batch: u64 },
    Free { segment: u64, spare: Option<u64> },
    WriteCheckpoint(NewFile),
    RemoveCheckpoint { log: LogId, lsn: u64 },
    FindTrim { log: LogId },
    Read { piece: Piece },
    Measure,
}

/// A failed call: what was tried, on which file, and the answer.
struct Failure(&'static str, PathBuf, io::Error);

type Outcome = Result<Event, Failure>;

trait Tried<T> {
    fn tried(self, action: &'static str, path: &Path) -> Result<T, Failure>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, action: &'static str, path: &Path) -> Result<T, Failure> {
        self.map_err(|error| Failure(action, path.to_owned(), error))
    }
}

impl Shared {
    /// Does it and says what happened. `None`: nobody waits for it.
    pub(crate) fn carry_out(&self, job: &Job) -> Option<Event> {
        let makes_or_removes_files = match job {
            Job::Prepare { origin, .. } => *origin != Origin::Grown,
            Job::WriteIndex { .. }
            | Job::RemoveIndex { .. }
            | Job::Free { .. }
            | Job::GiveUpReserve
            | Job::WriteCheckpoint(_)
            | Job::RemoveCheckpoint { .. } => true,
            Job::Write(_) | Job::Sync { .. } | Job::FindTrim { .. } | Job::Read { .. } | Job::Measure => false,
        };
        if makes_or_removes_files && !self.still_locked() {
            return Some(Event::Failed { cause: Cause::LockLost });
        }
        if matches!(job, Job::Write(_)) && !self.was_just_locked() {
            return Some(Event::Failed { cause: Cause::LockLost });
        }
        let outcome = match job {
            Job::Write(plan) => self.write(plan),
            Job::Sync { segment, batch } => self.sync(*segment, *batch),
            Job::Prepare { ahead, origin, from, to } => self.prepare(*ahead, *origin, *from, *to),
            Job::GiveUpReserve => return self.remove(&self.paths.reserve()),
            Job::WriteIndex { batch, file } => self.write_index(*batch, file),
            Job::RemoveIndex { batch } => return self.remove(&self.paths.index(*batch)),
            Job::Free { segment, spare } => self.free(*segment, *spare),
            Job::WriteCheckpoint(new) => self.write_checkpoint(new),
            Job::RemoveCheckpoint { log, lsn } => return self.remove(&self.paths.checkpoint(*log, *lsn)),
            Job::FindTrim { log } => return Some(Event::TrimFound { log: *log, to: self.trim_target(*log, None) }),
            Job::Read { piece } => return Some(Event::Read(self.read_piece(piece))),
            Job::Measure => self.measure().map(|space| Event::Measured { space }),
        };
        Some(outcome.unwrap_or_else(|Failure(action, file, error)| {
            let no_space = error.kind() == io::ErrorKind::StorageFull;
            match job {
                Job::Prepare { ahead, origin, .. } if no_space => {
                    if *origin == Origin::Made || !matches!(ahead, Ahead::Segment(_)) {
                        // What there is of it takes room that others need.
                        let _ = self.disk.remove(&self.path_ahead(*ahead));
                    }
                    match self.measure() {
                        Ok(space) => Event::PrepareFailed { ahead: *ahead, space },
                        Err(Failure(action, file, error)) => failed(action, file, error),
                    }
                }
                Job::WriteCheckpoint(new) if no_space => {
                    Event::CheckpointWritten { log: new.log, lsn: new.lsn, written: Err(Error::Full) }
                }
                Job::WriteIndex { .. } if no_space => Event::IndexFailed,
                _ => failed(action, file, error),
            }
        }))
    }

    fn measure(&self) -> Result<DiskSpace, Failure> {
        self.disk.free_bytes(&self.paths.dir).tried("statvfs", &self.paths.dir)
    }

    /// The file of a segment, kept open from its first use on: a small append is one call to the disk.
    fn writable(&self, segment: u64, salt: Option<u32>) -> Result<Arc<dyn File>, Failure> {
        if let Some(file) = self.kept_file(segment) {
            return Ok(file);
        }
        let path = self.paths.segment(segment);
        let file = self.disk.open(&path).tried("open", &path)?;
        if let Some(salt) = salt {
            self.keep_file(segment, SegmentFile { file: Arc::clone(&file), salt });
        }
        Ok(file)
    }

    fn write(&self, plan: &WritePlan) -> Outcome {
        let segment = plan.header.segment;
        let file = self.writable(segment, Some(plan.salt))?;
        let failed = |error| Failure("write", self.paths.segment(segment), error);
        if let Some(header) = &plan.begin {
            write_whole(file.as_ref(), 0, &[IoSlice::new(&header.encode())]).map_err(failed)?;
        }
        let mut heads = locked(&self.heads);
        let encoded = Encoded::new(plan, &mut heads);
        debug_assert_eq!(encoded.len() as u64, 56 + u64::from(plan.header.body_len), "the plan knew its length");
        write_whole(file.as_ref(), plan.at, &encoded.buffers()).map_err(failed)?;
        heads.shrink_to(HEADS_KEPT_BYTES);
        Ok(Event::Written { batch: plan.header.batch })
    }

    fn sync(&self, segment: u64, batch: u64) -> Outcome {
        let file = self.writable(segment, None)?;
        file.sync_data().map_err(|error| Failure("sync", self.paths.segment(segment), error))?;
        Ok(Event::Synced { batch })
    }

    fn path_ahead(&self, ahead: Ahead) -> PathBuf {
        match ahead {
            Ahead::Segment(segment) => self.paths.segment(segment),
            Ahead::Spare(spare) => self.paths.spare(spare),
            Ahead::Reserve => self.paths.reserve(),
        }
    }

    fn prepare(&self, ahead: Ahead, origin: Origin, from: u64, to: u64) -> Outcome {
        let path = self.path_ahead(ahead);
        let dir = path.parent().unwrap_or(&path);
        match (origin, ahead) {
            (Origin::Spare(spare), _) => {
                self.disk.rename(&self.paths.spare(spare), &path).tried("rename", &path)?;
                self.disk.sync_dir(dir).tried("sync", dir)?;
            }
            (Origin::Made, _) => {
                let file = self.disk.create(&path).tried("create", &path)?;
                write_zeros(file.as_ref(), from, to).tried("write", &path)?;
                self.disk.sync_dir(dir).tried("sync", dir)?;
            }
            (Origin::Grown, Ahead::Segment(segment)) => {
                let file = self.writable(segment, None)?;
                write_zeros(file.as_ref(), from, to).tried("write", &path)?;
            }
            (Origin::Grown, _) => {
                let file = self.disk.open(&path).tried("open", &path)?;
                write_zeros(file.as_ref(), from, to).tried("write", &path)?;
            }
        }
        let salt = locked(&self.random).salt().tried("getrandom", &path)?;
        Ok(Event::Prepared { ahead, to, salt, space: self.measure()? })
    }

    fn write_index(&self, batch: u64, bytes: &[u8]) -> Outcome {
        let path = self.paths.index(batch);
        let result = self.write_renamed(&path, &[IoSlice::new(bytes)]);
        if result.is_err() {
            // A temporary file is removed by the next open at the latest.
            let _ = self.disk.remove(&temporary(&path));
        }
        result?;
        Ok(Event::IndexWritten { batch, bytes: bytes.len() as u64 })
    }

    fn write_renamed(&self, path: &Path, buffers: &[IoSlice<'_>]) -> Result<(), Failure> {
        let temporary = temporary(path);
        let file = self.disk.create(&temporary).tried("create", &temporary)?;
        write_whole(file.as_ref(), 0, buffers).tried("write", &temporary)?;
        file.sync_data().tried("sync", &temporary)?;
        self.disk.rename(&temporary, path).tried("rename", path)?;
        let dir = path.parent().unwrap_or(path);
        self.disk.sync_dir(dir).tried("sync", dir)
    }

    fn write_checkpoint(&self, new: &NewFile) -> Outcome {
        let path = self.paths.checkpoint(new.log, new.lsn);
        let digests = Digests::of(&new.bytes, self.chunk_bytes);
        let header = digests.header(self.store_id, new);
        let block = header.encode();
        let buffers = [IoSlice::new(&block), IoSlice::new(&digests.chunks), IoSlice::new(&new.bytes)];
        let result = self.write_renamed(&path, &buffers);
        if result.is_err() {
            let _ = self.disk.remove(&temporary(&path));
        }
        result?;
        let NewFile { log, lsn, offset, epoch, .. } = *new;
        let place = CheckpointPlace::File { digest: header.digest };
        let written = SnapshotCheckpoint { lsn, offset, epoch, bytes: new.bytes.len() as u64, place };
        Ok(Event::CheckpointWritten { log, lsn, written: Ok(written) })
    }

    /// Removes a file that nobody waits for.
    fn remove(&self, path: &Path) -> Option<Event> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Some(failed("remove", path.to_owned(), error)),
            _ => None,
        }
    }

    fn free(&self, segment: u64, spare: Option<u64>) -> Outcome {
        let path = self.paths.segment(segment);
        self.forget_file(segment);
        if let Some(spare) = spare {
            self.disk.rename(&path, &self.paths.spare(spare)).tried("rename", &path)?;
            let dir = self.paths.spares();
            self.disk.sync_dir(&dir).tried("sync", &dir)?;
        } else if let Err(error) = self.disk.remove(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Failure("remove", path, error));
        }
        Ok(Event::Freed { spare, space: self.measure()? })
    }
}

fn failed(action: &'static str, file: PathBuf, error: io::Error) -> Event {
    Event::Failed { cause: Cause::Disk { action, file, source: Arc::new(error) } }
}

/// Writes all of it, or fails: a short write is an error to the journal.
pub(crate) fn write_whole(file: &dyn File, at: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
    let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    let taken = file.write_at(at, buffers)?;
    if taken == wanted { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

pub(crate) fn write_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    debug_assert!(from.is_multiple_of(BLOCK_BYTES), "zeros begin at a block");
    file.write_zeros(from, to)
}
