use crate::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk writes at once: such a unit is there whole or not at all.
const UNIT: usize = 512;
/// What a file system writes at once. If the power goes during that, nothing in it is sure.
const BLOCK: usize = 4_096;

/// What goes wrong at a planned call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and changes nothing. A sync that fails loses its pages: they read well afterwards, but no later
    /// sync brings them to the platter.
    Error,
    /// A write takes only half of its bytes; other calls fail.
    Short,
    /// No space; for calls that need none an error.
    NoSpace,
    /// The call is carried out as far as the page cache, and then the power goes: this and every later call fails until
    /// [`Disk::power_loss`].
    PowerLoss,
}

/// How often each thing happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that change something or sync.
    pub calls: u64,
    /// Files opened by name.
    pub opens: u64,
    /// Files that got another name.
    pub renames: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Planned faults that struck.
    pub faults: u64,
    /// Units of 512 bytes that a power loss took back.
    pub units_lost: u64,
    /// Unsynced units that a power loss left.
    pub units_kept: u64,
    /// Blocks of 4,096 bytes that were torn while they were written, whatever of them had been synced before.
    pub blocks_torn: u64,
    /// Changes of directories that a power loss took back.
    pub names_lost: u64,
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// Shared with forks of the disk until one of them changes it.
    cached: Arc<Vec<u8>>,
    platter: Arc<Vec<u8>>,
    /// Units whose cached bytes are not on the platter.
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum Change {
    Bind { name: PathBuf, file: u64 },
    Unbind { name: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Bind { name, file } => drop(names.insert(name.clone(), *file)),
            Self::Unbind { name } => drop(names.remove(name)),
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }

    fn dir(&self) -> PathBuf {
        let (Self::Bind { name, .. } | Self::Unbind { name } | Self::Rename { to: name, .. }) = self;
        parent(name)
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

#[derive(Debug)]
struct State {
    rng: Rng,
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    platter_names: BTreeMap<PathBuf, u64>,
    /// Changes of names that no sync of their directory has covered.
    changes: Vec<Change>,
    next_file: u64,
    locks: BTreeMap<u64, u64>,
    next_lock: u64,
    capacity: u64,
    planned: BTreeMap<u64, Fault>,
    dead: bool,
    counts: Counts,
    trace: u64,
}

fn carry_over(cached: &[u8], platter: &mut [u8], unit: usize) {
    let end = ((unit + 1) * UNIT).min(cached.len()).min(platter.len());
    if let Some(from) = cached.get(unit * UNIT..end) {
        platter[unit * UNIT..end].copy_from_slice(from);
    }
}

/// A disk with one file system. Clones share it.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

/// An open file. It stays readable when its name is removed.
#[derive(Debug, Clone)]
pub struct File {
    disk: Disk,
    id: u64,
}

impl Disk {
    /// An empty disk whose accidents this seed decides.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: Rng::new(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            platter_names: BTreeMap::new(),
            changes: Vec::new(),
            next_file: 1,
            locks: BTreeMap::new(),
            next_lock: 1,
            capacity: u64::MAX,
            planned: BTreeMap::new(),
            dead: false,
            counts: Counts::default(),
            trace: 0xcbf2_9ce4_8422_2325,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same content, which has nothing to do with this one any more. Locks stay behind.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            rng: state.rng.clone(),
            files: state.files.clone(),
            names: state.names.clone(),
            platter_names: state.platter_names.clone(),
            changes: state.changes.clone(),
            locks: BTreeMap::new(),
            planned: BTreeMap::new(),
            ..*state
        })))
    }

    /// How often each thing has happened.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// A number that stands for all calls so far and their bytes: equal for equal runs.
    pub fn trace(&self) -> u64 {
        self.state().trace
    }

    /// Bytes that all files together may have. Writes beyond fail for lack of space.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Bytes free, and in all.
    pub fn free_bytes(&self) -> (u64, u64) {
        let state = self.state();
        (state.capacity.saturating_sub(state.used()), state.capacity)
    }

    /// The `calls`-th call from now that changes or syncs something (1: the next) goes wrong.
    pub fn fail_after(&self, calls: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.counts.calls + calls;
        state.planned.insert(at, fault);
    }

    /// Planned faults that did not strike are taken back.
    pub fn clear_faults(&self) {
        self.state().planned.clear();
    }

    /// Opens a file.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        state.alive()?;
        state.counts.opens += 1;
        let id = *state.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(File { disk: self.clone(), id })
    }

    /// Creates a file, cutting an existing one.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        let dies = state.call(1, path, 0)?;
        let id = state.file(path);
        if let Some(content) = state.files.get_mut(&id) {
            content.set_len(0);
        }
        state.finish(dies)?;
        Ok(File { disk: self.clone(), id })
    }

    /// Gives a file another name, replacing what had it.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let dies = state.call(2, to, 0)?;
        if !state.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        state.counts.renames += 1;
        state.change(Change::Rename { from: from.to_owned(), to: to.to_owned() });
        state.finish(dies)
    }

    /// Removes a name.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let dies = state.call(3, path, 0)?;
        if !state.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change(Change::Unbind { name: path.to_owned() });
        state.finish(dies)
    }

    /// Names in a directory, sorted.
    pub fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        let names = state.names.keys().filter(|path| parent(path) == dir);
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    /// Makes the names in a directory durable. Directories themselves need no making here, and never vanish.
    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let dies = state.call(4, dir, 0)?;
        if !dies {
            let changes = std::mem::take(&mut state.changes);
            for change in changes {
                if change.dir() == dir {
                    change.apply(&mut state.platter_names);
                } else {
                    state.changes.push(change);
                }
            }
        }
        state.finish(dies)
    }

    /// Takes the lock on a file, making it if needed. [`ErrorKind::WouldBlock`] if it is held.
    pub fn lock(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.alive()?;
        let id = state.file(path);
        if state.locks.values().any(|held| *held == id) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let lock = state.next_lock;
        state.next_lock += 1;
        state.locks.insert(lock, id);
        Ok(lock)
    }

    /// Whether a lock is held, on the file that has this name now.
    pub fn still_locked(&self, path: &Path, lock: u64) -> bool {
        let state = self.state();
        state.locks.get(&lock).is_some_and(|id| state.names.get(path) == Some(id))
    }

    /// Gives a lock up.
    pub fn unlock(&self, lock: u64) {
        self.state().locks.remove(&lock);
    }

    /// Every call fails from now on, until [`Disk::processes_die`] or [`Disk::power_loss`]: so a process that is dropped
    /// after this does nothing more, as if it had died here.
    pub fn freeze(&self) {
        self.state().dead = true;
    }

    /// Whether every call fails: the power has gone, or [`Disk::freeze`] was called.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The process that was meant by [`Disk::freeze`] is gone, others go on: calls are carried out again, locks are as they
    /// were.
    pub fn thaw(&self) {
        self.state().dead = false;
    }

    /// Every process has died: locks are free, and the page cache stays.
    pub fn processes_die(&self) {
        self.processes_die_keeping_faults();
        self.clear_faults();
    }

    /// The same; what is planned to go wrong will.
    pub fn processes_die_keeping_faults(&self) {
        let mut state = self.state();
        state.dead = false;
        state.locks.clear();
    }

    /// The power goes and comes back. Of what no sync covered each unit of 512 bytes is kept or lost by itself, a block of
    /// 4,096 bytes that holds some of it may be torn, and of each directory's unsynced changes the first few are kept.
    pub fn power_loss(&self) {
        let state = &mut *self.state();
        state.dead = false;
        state.locks.clear();
        state.planned.clear();
        // Some losses take nearly everything, some nearly nothing.
        let kept_percent = [0, 10, 50, 90, 100][state.rng.index(5)];
        let changes = std::mem::take(&mut state.changes);
        let mut cut: BTreeSet<PathBuf> = BTreeSet::new();
        for change in changes {
            if !cut.contains(&change.dir()) && state.rng.percent(kept_percent) {
                change.apply(&mut state.platter_names);
            } else {
                state.counts.names_lost += 1;
                cut.insert(change.dir());
            }
        }
        state.names = state.platter_names.clone();
        let live: BTreeSet<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| live.contains(id));
        for content in state.files.values_mut() {
            content.settle(&mut state.rng, kept_percent, &mut state.counts);
        }
    }

    /// Flips one bit of a file, in cache and on the platter. Says whether the file has that byte.
    pub fn flip_bit(&self, path: &Path, byte: usize, bit: u8) -> bool {
        let state = &mut *self.state();
        let Some(content) = state.names.get(path).and_then(|id| state.files.get_mut(id)) else { return false };
        if let Some(byte) = Arc::make_mut(&mut content.platter).get_mut(byte) {
            *byte ^= 1 << (bit % 8);
        }
        Arc::make_mut(&mut content.cached).get_mut(byte).map(|byte| *byte ^= 1 << (bit % 8)).is_some()
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|content| content.cached.len() as u64).sum()
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    /// The file of this name, made if there is none.
    fn file(&mut self, path: &Path) -> u64 {
        if let Some(id) = self.names.get(path) {
            return *id;
        }
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, Content::default());
        self.change(Change::Bind { name: path.to_owned(), file: id });
        id
    }

    fn note(&mut self, bytes: &[u8]) {
        // Eight bytes at a time: whole segments of zeros pass through here.
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            let word = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
            self.trace = (self.trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        for byte in words.remainder() {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Counts a call; says whether the power goes during it.
    fn call(&mut self, kind: u8, path: &Path, at: u64) -> io::Result<bool> {
        self.alive()?;
        self.counts.calls += 1;
        self.note(&[kind]);
        self.note(path.as_os_str().as_encoded_bytes());
        self.note(&at.to_le_bytes());
        let Some(fault) = self.planned.remove(&self.counts.calls) else { return Ok(false) };
        self.counts.faults += 1;
        match fault {
            Fault::PowerLoss => Ok(true),
            Fault::NoSpace => Err(ErrorKind::StorageFull.into()),
            Fault::Error | Fault::Short => Err(io::Error::other("the disk fails")),
        }
    }

    fn finish(&mut self, dies: bool) -> io::Result<()> {
        self.dead = dies;
        self.alive()
    }
}

impl Content {
    fn set_len(&mut self, len: usize) {
        if len < self.cached.len() {
            // Cutting reaches the platter in its own time, like any other change of length.
            self.dirty.extend(len / UNIT..self.cached.len().div_ceil(UNIT));
        }
        Arc::make_mut(&mut self.cached).resize(len, 0);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        let cached = Arc::make_mut(&mut self.cached);
        if cached.len() < end {
            cached.resize(end, 0);
        }
        cached[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / UNIT..end.div_ceil(UNIT));
    }

    fn sync(&mut self) {
        let (cached, platter) = (&self.cached, Arc::make_mut(&mut self.platter));
        platter.resize(cached.len(), 0);
        for unit in std::mem::take(&mut self.dirty) {
            carry_over(cached, platter, unit);
        }
    }

    /// What is left after a power loss.
    fn settle(&mut self, rng: &mut Rng, kept_percent: u64, counts: &mut Counts) {
        let platter = Arc::make_mut(&mut self.platter);
        if self.cached.len() != platter.len() && rng.percent(kept_percent) {
            platter.resize(self.cached.len(), 0);
        }
        let dirty: Vec<usize> = std::mem::take(&mut self.dirty).into_iter().collect();
        for unit in &dirty {
            if rng.percent(kept_percent) {
                carry_over(&self.cached, platter, *unit);
                counts.units_kept += 1;
            } else {
                counts.units_lost += 1;
            }
        }
        if !dirty.is_empty() && rng.percent(25) {
            counts.blocks_torn += 1;
            self.tear(dirty[rng.index(dirty.len())] * UNIT / BLOCK, rng);
        }
        self.cached = Arc::clone(&self.platter);
    }
}

impl Content {
    /// Some units of a block that was being written hold anything.
    fn tear(&mut self, block: usize, rng: &mut Rng) {
        let end = ((block + 1) * BLOCK).min(self.platter.len());
        let platter = Arc::make_mut(&mut self.platter);
        for unit in platter.get_mut(block * BLOCK..end).unwrap_or_default().chunks_mut(UNIT) {
            if rng.percent(50) {
                unit.fill_with(|| rng.next_u64().to_le_bytes()[0]);
            }
        }
    }
}

impl File {
    fn with<T>(&self, use_content: impl FnOnce(&mut State, &mut Content) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        // A file that lost its last name at a power loss is gone for those who had it open too.
        let mut content = state.files.remove(&self.id).ok_or(ErrorKind::NotFound)?;
        let result = use_content(&mut state, &mut content);
        state.files.insert(self.id, content);
        result
    }

    /// Reads at a position; fewer bytes than asked for only at the end.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|state, content| {
            state.alive()?;
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(content.cached.len());
            let count = into.len().min(content.cached.len() - at);
            state.counts.bytes_read += count as u64;
            into[..count].copy_from_slice(&content.cached[at..at + count]);
            Ok(count)
        })
    }

    /// Writes buffers one behind the other; says how many bytes were taken.
    pub fn write_at(&self, at: u64, buffers: &[&[u8]]) -> io::Result<usize> {
        let mut bytes = buffers.concat();
        self.with(|state, content| {
            let planned = state.planned.get(&(state.counts.calls + 1)).copied();
            let dies = match state.call(5, Path::new(""), at) {
                Err(_) if planned == Some(Fault::Short) => {
                    bytes.truncate(bytes.len() / 2);
                    false
                }
                other => other?,
            };
            let at = usize::try_from(at).map_err(io::Error::other)?;
            let growth = (at + bytes.len()).saturating_sub(content.cached.len()) as u64;
            if growth > 0 && state.used() + content.cached.len() as u64 + growth > state.capacity {
                return Err(ErrorKind::StorageFull.into());
            }
            state.note(&bytes);
            content.write(at, &bytes);
            state.finish(dies)?;
            Ok(bytes.len())
        })
    }

    /// Carries the file over to the platter.
    pub fn sync_data(&self) -> io::Result<()> {
        self.with(|state, content| {
            let planned = state.planned.get(&(state.counts.calls + 1)).copied();
            match state.call(6, Path::new(""), 0) {
                Ok(dies) => {
                    if !dies {
                        content.sync();
                    }
                    state.finish(dies)
                }
                Err(error) => {
                    if planned.is_some() {
                        content.dirty.clear();
                    }
                    Err(error)
                }
            }
        })
    }

    /// Cuts or extends the file.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, content| {
            let dies = state.call(7, Path::new(""), len)?;
            content.set_len(usize::try_from(len).map_err(io::Error::other)?);
            state.finish(dies)
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> io::Result<u64> {
        self.with(|state, content| {
            state.alive()?;
            Ok(content.cached.len() as u64)
        })
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &Disk, path: &str, bytes: &[u8]) -> File {
        let file = disk.create(Path::new(path)).expect("created");
        file.write_at(0, &[bytes]).expect("written");
        file
    }

    fn content(disk: &Disk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(Path::new(path)).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
        file.read_at(0, &mut bytes).ok()?;
        Some(bytes)
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_sometimes() {
        let (mut kept, mut lost, mut torn, mut nameless) = (0, 0, 0, 0);
        for seed in 0..200 {
            let disk = Disk::new(seed);
            let file = written(&disk, "d/a", &[1; 4 * UNIT]);
            file.sync_data().expect("synced");
            disk.sync_dir(Path::new("d")).expect("synced");
            file.write_at(0, &[&[2; 4 * UNIT]]).expect("written");
            written(&disk, "d/b", b"x");
            disk.power_loss();
            let units: BTreeSet<u8> = content(&disk, "d/a").expect("there").into_iter().collect();
            match (units.contains(&1), units.contains(&2)) {
                (true, true) => torn += 1,
                (true, false) => lost += 1,
                _ => kept += 1,
            }
            nameless += u32::from(content(&disk, "d/b").is_none());
        }
        assert!(kept > 10 && lost > 10 && torn > 10 && nameless > 10, "{kept} {lost} {torn} {nameless}");
    }

    #[test]
    fn a_failed_sync_loses_pages_that_read_well() {
        let disk = Disk::new(1);
        // No dirty page is left, so nothing is torn.
        let file = written(&disk, "a", b"old");
        file.sync_data().expect("synced");
        disk.sync_dir(Path::new("")).expect("synced");
        file.write_at(0, &[b"new"]).expect("written");
        disk.fail_after(1, Fault::Error);
        assert!(file.sync_data().is_err());
        assert_eq!(content(&disk, "a").expect("there"), b"new");
        file.sync_data().expect("the next one succeeds, and lies");
        disk.power_loss();
        assert_eq!(content(&disk, "a").expect("there"), b"old");
    }

    #[test]
    fn equal_runs_have_equal_traces() {
        let trace = |byte| {
            let disk = Disk::new(3);
            written(&disk, "a", &[byte; 9]);
            disk.power_loss();
            disk.trace()
        };
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }

    #[test]
    fn no_write_passes_the_capacity() {
        let disk = Disk::new(1);
        disk.set_capacity(10);
        let file = written(&disk, "a", &[0; 8]);
        assert_eq!(file.write_at(8, &[&[0; 3]]).expect_err("full").kind(), ErrorKind::StorageFull);
        file.write_at(8, &[&[0; 2]]).expect("fits");
        assert_eq!(disk.free_bytes().0, 0);
    }
}
