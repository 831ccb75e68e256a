//! An adopted holder as its daemon has it: the ring, the spill, and the eventfds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use abide_ring::{Consumer, Copied, Header, MapError, ReadError};

/// Most bytes read from the spill at once.
const SPILL_READ_BYTES_MAX: usize = 1 << 20;

/// What came with the frame `adopted`. It outlives its holder: what lies in ring and spill stays readable.
#[derive(Debug)]
pub struct Adopted {
    /// The header as it was at the adoption.
    pub header: Header,
    ring: Consumer,
    wake_daemon: OwnedFd,
    wake_holder: OwnedFd,
    spill: Option<OwnedFd>,
}

/// A frame `adopted` that nobody can work with. The caller drops the holder as one of an unknown version.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Other descriptors than ring, page and two eventfds, with or without a spill.
    #[error("{0} descriptors came with the adoption")]
    Descriptors(usize),
    /// Ring or page cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Why output cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// See [`ReadError`].
    #[error(transparent)]
    Ring(#[from] ReadError),
    /// The bytes are in a spill that was made after this adoption: the holder has dropped the connection. The caller
    /// adopts it again; if the holder is gone, output up to `end` is lost, and the ring goes on there.
    #[error("output up to {end} was moved after this adoption had ended")]
    Moved {
        /// Offset at which the ring goes on.
        end: u64,
    },
    /// The spill cannot be read (a failing disk). What it holds from the offset asked for to `end` is lost; the ring
    /// goes on at `end`.
    #[error("the spill cannot be read: {source}")]
    Spill {
        /// Offset at which the ring goes on.
        end: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Adopted {
    /// Takes the descriptors that came with `header`, in their order. `daemon_epoch` is the caller's own.
    pub fn new(header: Header, fds: Vec<OwnedFd>, daemon_epoch: u64) -> Result<Self, AdoptError> {
        let count = fds.len();
        let mut fds = fds.into_iter();
        let mut next = || fds.next().ok_or(AdoptError::Descriptors(count));
        let [ring, page, wake_daemon, wake_holder] = [next()?, next()?, next()?, next()?];
        let spill = fds.next();
        if fds.next().is_some() {
            return Err(AdoptError::Descriptors(count));
        }
        let ring = Consumer::map(ring.as_fd(), page.as_fd(), daemon_epoch)?;
        Ok(Self { header, ring, wake_daemon, wake_holder, spill })
    }

    /// Appends up to `max` bytes of output from offset `from` on to `out`, spill first, then ring; returns how many, 0:
    /// nothing lies beyond `from` now. Fewer than `max` come at the seams: ask again until 0.
    ///
    /// `from` begins at what was acknowledged last and grows by what was returned. `out` is as before on an error.
    pub fn read(&mut self, from: u64, max: usize, out: &mut Vec<u8>) -> Result<usize, OutputError> {
        match self.ring.copy_out(from, max, out)? {
            Copied::Bytes(bytes) => Ok(bytes),
            Copied::Nothing => Ok(0),
            Copied::Spilled { start, end } => self.read_spill(from, start, end, max, out),
        }
    }

    fn read_spill(&self, from: u64, start: u64, end: u64, max: usize, out: &mut Vec<u8>) -> Result<usize, OutputError> {
        let lost = |source: io::Error| OutputError::Spill { end, source };
        let file = self.spill.as_ref().ok_or(OutputError::Moved { end })?;
        let position = from.checked_sub(start).ok_or(OutputError::Moved { end })?;
        let length = out.len();
        let bytes = usize::try_from(end - from).unwrap_or(usize::MAX).min(max).min(SPILL_READ_BYTES_MAX);
        out.resize(length + bytes, 0);
        let read = rustix::io::retry_on_intr(|| {
            let target = out.get_mut(length..).unwrap_or_default();
            rustix::io::pread(file, target, position)
        });
        let read = read.map_err(io::Error::from).and_then(|read| match read {
            0 if bytes > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        });
        // A former daemon may have read what its successor let go of.
        let current = self.ring.check_current();
        out.truncate(length + read.as_ref().ok().filter(|_| current.is_ok()).copied().unwrap_or(0));
        current?;
        read.map_err(lost)
    }

    /// The ring, for everything else: marks, sleeping, the header, the epoch.
    pub fn ring(&self) -> &Consumer {
        &self.ring
    }

    /// Output below `to` is in the journal: the holder may let go of it, and is woken if it waits for that.
    ///
    /// # Panics
    /// If `to` shrinks, or was not read.
    pub fn ack(&mut self, to: u64) {
        if self.ring.ack(to) {
            // Full: it has been told often enough.
            let _told = rustix::io::write(&self.wake_holder, &1_u64.to_ne_bytes());
        }
    }

    /// The eventfd (non-blocking) that becomes readable after [`Consumer::sleep`]; to be read empty with
    /// [`Adopted::woken`].
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake_daemon.as_fd()
    }

    /// Empties the eventfd; then read again.
    pub fn woken(&self) {
        // Empty: another round has read it.
        let _count = rustix::io::read(&self.wake_daemon, &mut [0; 8]);
    }
}
