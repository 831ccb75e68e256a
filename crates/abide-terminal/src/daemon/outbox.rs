//! What waits to be written to one socket: a bounded queue of byte slices, and the task that drains it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::{Notify, futures::Notified};

use super::client_queue::ClientQueue;
use super::socket::Socket;

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
        };
        Self(Arc::new(shared))
    }

    /// The connection is this client's: what waits on it counts against its bound. Once.
    pub(super) fn belongs_to(&self, client: Arc<ClientQueue>) {
        let queue = self.lock();
        client.add(queue.bytes);
        let _ = self.0.client.set(client);
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
            if let Some(client) = self.client() {
                client.add(slice.len());
            }
        }
        if was_empty && self.write_some(&mut queue).is_err() {
            self.end(&mut queue);
            return false;
        }
        if queue.bytes > self.0.limits.high + self.0.limits.reserve {
            self.end(&mut queue);
            return false;
        }
        if !queue.slices.is_empty() {
            self.0.work.notify_one();
        }
        true
    }

    /// Whether output may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes < self.0.limits.high && self.client().is_none_or(|client| client.has_room())
    }

    /// Waits until the queue has shrunk to its low mark, and its client's too. False if the connection has ended.
    pub(super) async fn room(&self) -> bool {
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
                match self.write_some(&mut queue) {
                    Ok(written) if waiting => Some(written),
                    Ok(_) => None,
                    Err(_) => break,
                }
            };
            match progress {
                None => work.await,
                Some(0) => match tokio::time::timeout(self.0.limits.stall, self.0.socket.writable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => break,
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
        if let Some(client) = self.client() {
            client.remove(written);
        }
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

    fn end(&self, queue: &mut Queue) {
        queue.state = State::Ended;
        queue.slices.clear();
        let left = std::mem::take(&mut queue.bytes);
        if let Some(client) = self.client() {
            client.remove(left);
        }
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
        outbox.belongs_to(Arc::clone(client));
        (outbox, theirs)
    }

    #[tokio::test]
    async fn streams_of_one_client_share_its_bound() {
        let client = Arc::new(ClientQueue::new(2 << 20));
        let (slow, mut reader) = outbox(&client);
        let (other, _their_end) = outbox(&client);
        let (stranger, _strangers_end) = outbox(&Arc::new(ClientQueue::new(2 << 20)));
        let bytes = 4 << 20;
        assert!(slow.push(&[Bytes::from(vec![7; bytes])]));
        assert!(!other.has_room() && stranger.has_room(), "what one stream leaves lying, the client's others wait for");
        tokio::spawn(slow.clone().run());
        let reading = tokio::task::spawn_blocking(move || {
            let mut read = vec![0; bytes];
            reader.read_exact(&mut read).unwrap();
        });
        assert!(other.room().await && other.has_room());
        reading.await.unwrap();

        // What a connection leaves behind is nobody's.
        assert!(stranger.push(&[Bytes::from(vec![7; bytes])]));
        assert!(!stranger.has_room());
        stranger.end(&mut stranger.lock());
        assert!(stranger.client().is_some_and(|client| client.is_low()));
    }
}
