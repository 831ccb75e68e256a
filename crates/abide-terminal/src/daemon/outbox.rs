//! What waits to be written to one socket: a bounded queue of byte slices, and the task that drains it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use abide_wire::Code;
use bytes::{Buf, Bytes};
use tokio::sync::{Notify, futures::Notified};

use super::client_queue::ClientQueue;
use super::levels::Meter;
use super::socket::Socket;
use crate::level::Level;

/// Slices that go out in one system call.
const SLICES_MAX: usize = 64;

/// The write side of a connection. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: Arc<Socket>,
    queue: Mutex<Queue>,
    /// Something was queued, or the outbox was closed.
    work: Notify,
    /// The queue has shrunk to the low mark, or the outbox has ended.
    room: Notify,
    limits: Limits,
    /// What its client's connections have together; none for a holder, and before the greeting.
    client: OnceLock<Arc<ClientQueue>>,
    /// How full the queue is; none where there is nobody to be told.
    meter: OnceLock<Meter>,
}

/// Bounds of one connection's queue, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Above this no more output is queued.
    pub(super) high: usize,
    /// At this a stream that waited goes on.
    pub(super) low: usize,
    /// What messages may take beyond `high`; above both the connection is given up.
    pub(super) reserve: usize,
    /// A socket that takes no byte for this long is given up.
    pub(super) stall: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    slices: VecDeque<Bytes>,
    bytes: usize,
    /// Of these its client was told.
    counted: usize,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Nothing more is taken; what is queued goes out.
    Closing,
    /// Nothing goes out any more.
    Ended,
}

impl Outbox {
    pub(super) fn new(socket: Arc<Socket>, limits: Limits) -> Self {
        let shared = Shared {
            socket,
            queue: Mutex::default(),
            work: Notify::new(),
            room: Notify::new(),
            limits,
            client: OnceLock::new(),
            meter: OnceLock::new(),
        };
        Self(Arc::new(shared))
    }

    /// The connection is this client's: what waits on it counts against its bound. If it is for a stream, there is a meter
    /// of it. Once.
    pub(super) fn belongs_to(&self, client: Arc<ClientQueue>, meter: Option<Meter>) {
        let mut queue = self.lock();
        let _ = self.0.client.set(client);
        if let Some(meter) = meter {
            let _ = self.0.meter.set(meter);
        }
        self.count(&mut queue);
    }

    /// How full the queue is.
    pub(super) fn level(&self) -> Level {
        self.0.meter.get().map_or(Level::Normal, Meter::level)
    }

    /// Tells the client's queue and the meter of what has come and gone since the last time.
    fn count(&self, queue: &mut Queue) {
        let before = std::mem::replace(&mut queue.counted, queue.bytes);
        if before == queue.bytes {
            return;
        }
        match self.client() {
            Some(client) if before < queue.bytes => client.add(queue.bytes - before),
            Some(client) => client.remove(before - queue.bytes),
            // Told of all of it once it is known.
            None => queue.counted = 0,
        }
        // The level of what has ended is nobody's.
        if queue.state != State::Ended
            && let Some(meter) = self.0.meter.get()
        {
            meter.set(queue.bytes);
        }
    }

    /// What its client's connections have together.
    pub(super) fn client(&self) -> Option<&Arc<ClientQueue>> {
        self.0.client.get()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues slices that belong together. They are written at once if nothing waits and the socket takes them.
    ///
    /// False if the connection has ended, or ends now because even its reserve is full.
    pub(super) fn push(&self, slices: &[Bytes]) -> bool {
        let mut queue = self.lock();
        if queue.state != State::Open {
            return false;
        }
        let was_empty = queue.slices.is_empty();
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            queue.bytes += slice.len();
            queue.slices.push_back(slice.clone());
        }
        if was_empty && self.write_some(&mut queue).is_err() {
            self.end(&mut queue);
            return false;
        }
        if queue.bytes > self.0.limits.high + self.0.limits.reserve {
            Self::tell_slow("its queue is full");
            self.end(&mut queue);
            return false;
        }
        self.count(&mut queue);
        if !queue.slices.is_empty() {
            self.0.work.notify_one();
        }
        true
    }

    /// How many bytes of output may be queued. Of a stream that has to wait already: none, until the queue has shrunk to its
    /// low mark, and its client's too.
    pub(super) fn room(&self, waits: bool) -> usize {
        let bytes = self.lock().bytes;
        let Limits { high, low, .. } = self.0.limits;
        if waits && (bytes > low || self.client().is_some_and(|client| !client.is_low())) {
            return 0;
        }
        high.saturating_sub(bytes).min(self.client().map_or(usize::MAX, |client| client.room()))
    }

    /// Waits until the queue has shrunk to its low mark, and its client's too. False if the connection has ended.
    pub(super) async fn shrunk(&self) -> bool {
        loop {
            let shrunk = self.0.room.notified();
            let client_shrunk = self.client().map(|client| client.shrunk());
            {
                let queue = self.lock();
                if queue.state == State::Ended {
                    return false;
                }
                if queue.bytes <= self.0.limits.low && self.client().is_none_or(|client| client.is_low()) {
                    return true;
                }
            }
            tokio::select! {
                () = shrunk => {}
                () = some_or_never(client_shrunk) => {}
            }
        }
    }

    /// Takes nothing more; what is queued is still written, then the socket is shut down.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        if queue.state == State::Open {
            queue.state = State::Closing;
        }
        drop(queue);
        self.0.work.notify_one();
    }

    /// Writes what is queued until the connection ends: one task runs this.
    pub(super) async fn run(self) {
        loop {
            let work = self.0.work.notified();
            let progress = {
                let mut queue = self.lock();
                match queue.state {
                    State::Ended => break,
                    State::Closing if queue.slices.is_empty() => break,
                    _ => {}
                }
                let waiting = !queue.slices.is_empty();
                let written = self.write_some(&mut queue);
                self.count(&mut queue);
                match written {
                    Ok(written) if waiting => Some(written),
                    Ok(_) => None,
                    Err(_) => break,
                }
            };
            match progress {
                None => work.await,
                Some(0) => match tokio::time::timeout(self.0.limits.stall, self.0.socket.writable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => {
                        Self::tell_slow("it takes no byte");
                        break;
                    }
                },
                // Others get their turn between two writes.
                Some(_) => tokio::task::yield_now().await,
            }
        }
        self.end(&mut self.lock());
    }

    /// Writes what the socket takes now; 0 if it takes nothing.
    fn write_some(&self, queue: &mut Queue) -> io::Result<usize> {
        if queue.slices.is_empty() {
            return Ok(0);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (place, slice) in slices.iter_mut().zip(&queue.slices) {
            *place = IoSlice::new(slice);
            count += 1;
        }
        let written = self.0.socket.write(&slices[..count])?;
        let above = queue.bytes > self.0.limits.low;
        queue.bytes -= written;
        let mut rest = written;
        while let Some(slice) = queue.slices.front_mut() {
            if rest < slice.len() {
                slice.advance(rest);
                break;
            }
            rest -= slice.len();
            queue.slices.pop_front();
        }
        if above && queue.bytes <= self.0.limits.low {
            self.0.room.notify_waiters();
        }
        Ok(written)
    }

    /// Whoever reads nothing cannot be told why its connection ends: the log is.
    fn tell_slow(why: &str) {
        tracing::warn!(code = %Code::SlowSubscriber, "a connection is closed: {why}");
    }

    fn end(&self, queue: &mut Queue) {
        queue.state = State::Ended;
        queue.slices.clear();
        queue.bytes = 0;
        self.count(queue);
        // The peer sees the end, and so does the task that reads from it.
        let _ = rustix::net::shutdown(self.0.socket.as_ref(), rustix::net::Shutdown::Both);
        self.0.room.notify_waiters();
        self.0.work.notify_one();
    }
}

/// Waits for what is there to be waited for.
async fn some_or_never(waited: Option<Notified<'_>>) {
    match waited {
        Some(waited) => waited.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const LIMITS: Limits = Limits { high: 8 << 20, low: 1 << 20, reserve: 0, stall: Duration::from_mins(1) };

    fn outbox(client: &Arc<ClientQueue>) -> (Outbox, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let outbox = Outbox::new(Arc::new(Socket::new(ours).unwrap()), LIMITS);
        outbox.belongs_to(Arc::clone(client), None);
        (outbox, theirs)
    }

    #[tokio::test]
    async fn streams_of_one_client_share_its_bound() {
        let client = Arc::new(ClientQueue::new(2 << 20, None));
        let (slow, mut reader) = outbox(&client);
        let (other, _their_end) = outbox(&client);
        let (stranger, _strangers_end) = outbox(&Arc::new(ClientQueue::new(2 << 20, None)));
        let bytes = 4 << 20;
        assert!(slow.push(&[Bytes::from(vec![7; bytes])]));
        assert!(
            other.room(false) == 0 && stranger.room(false) > 0,
            "what one stream leaves lying, the client's others wait for"
        );
        tokio::spawn(slow.clone().run());
        let reading = tokio::task::spawn_blocking(move || {
            let mut read = vec![0; bytes];
            reader.read_exact(&mut read).unwrap();
        });
        assert!(other.shrunk().await && other.room(true) > 0);
        reading.await.unwrap();

        // What a connection leaves behind is nobody's.
        assert!(stranger.push(&[Bytes::from(vec![7; bytes])]));
        assert_eq!(stranger.room(false), 0);
        stranger.end(&mut stranger.lock());
        assert!(stranger.client().is_some_and(|client| client.is_low()));
    }
}
