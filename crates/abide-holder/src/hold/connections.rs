//! Connections: probes, and the one that is the daemon's.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use abide_ring::{Page, VERSION};
use rustix::event::EventfdFlags;
use rustix::io::{Errno, IoSlice};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags};

use super::program;
use super::serve::{Holder, Program};
use crate::frames::{FRAME_BYTES_MAX, FromHolder, Pong, ToHolder};

/// Probes at once; one more replaces the one that came longest ago.
pub(super) const PROBES_MAX: usize = 8;
/// Connections accepted in one round.
const ACCEPTS_MAX: usize = 16;
/// What a probe may say fits: `adopt` has 33 bytes.
const PROBE_BUFFER_BYTES: usize = 64;
/// One whole frame.
pub(super) const LINK_BUFFER_BYTES: usize = 4 + FRAME_BYTES_MAX;
/// Answers: `adopted` is the longest, and one answer at a time waits for the socket (beside `started` and `ended`).
pub(super) const SCRATCH_BYTES: usize = 8192;

/// A connection that has not said `adopt`.
pub(super) struct Probe {
    pub(super) socket: OwnedFd,
    buffer: [u8; PROBE_BUFFER_BYTES],
    filled: usize,
}

/// The daemon's connection, and its adoption's eventfds.
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) wake_daemon: OwnedFd,
    pub(super) wake_holder: OwnedFd,
}

/// What becomes of a connection after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Keep,
    Close,
    Adopt(u64),
}

impl Holder {
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) if self.is_own_user(&socket) => self.admit(socket),
                Ok(_stranger) => {}
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return self.rest_listener(),
            }
        }
    }

    /// Only this user's processes are heard; root is no exception.
    fn is_own_user(&self, socket: &OwnedFd) -> bool {
        let own = rustix::process::getuid();
        self.hooks.pass("peer").is_ok()
            && rustix::net::sockopt::socket_peercred(socket).is_ok_and(|peer| peer.uid == own)
    }

    fn admit(&mut self, socket: OwnedFd) {
        let free = self.probes.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.next_probe);
        self.next_probe = (slot + 1) % PROBES_MAX;
        self.probes[slot] = Some(Probe { socket, buffer: [0; PROBE_BUFFER_BYTES], filled: 0 });
    }

    pub(super) fn read_probe(&mut self, slot: usize) {
        let Some(mut probe) = self.probes[slot].take() else { return };
        let read = rustix::net::recv(&probe.socket, &mut probe.buffer[probe.filled..], RecvFlags::DONTWAIT);
        match read {
            Ok((bytes, _)) if bytes > 0 => probe.filled += bytes,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Its end, or a frame longer than any that a probe may send.
            _ => return,
        }
        let mut used = 0;
        loop {
            let (frame, bytes) = match ToHolder::decode(&probe.buffer[used..probe.filled]) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_malformed) => return,
            };
            used += bytes;
            match self.answer_probe(&probe.socket, frame) {
                Then::Keep => {}
                Then::Close => return,
                Then::Adopt(epoch) => return self.adopt(probe.socket, epoch, &probe.buffer[used..probe.filled]),
            }
        }
        probe.buffer.copy_within(used..probe.filled, 0);
        probe.filled -= used;
        if probe.filled < PROBE_BUFFER_BYTES {
            self.probes[slot] = Some(probe);
        }
    }

    fn answer_probe(&mut self, socket: &OwnedFd, frame: ToHolder<'_>) -> Then {
        match frame {
            ToHolder::Ping => {
                let pong = FromHolder::Pong(self.pong());
                self.send_to_probe(socket, &pong)
            }
            ToHolder::Adopt { daemon_epoch, session, version } => {
                if session != self.session || version != VERSION || self.leaving.is_some() {
                    return Then::Close;
                }
                let adopted_last = self.output.ring().header().daemon_epoch;
                if daemon_epoch <= adopted_last {
                    return self.send_to_probe(socket, &FromHolder::Refused { daemon_epoch: adopted_last });
                }
                Then::Adopt(daemon_epoch)
            }
            ToHolder::Hangup => {
                self.hang_up();
                Then::Keep
            }
            _ => Then::Close,
        }
    }

    pub(super) fn pong(&self) -> Pong {
        let header = self.output.ring().header();
        let pid = rustix::process::getpid();
        Pong {
            version: VERSION,
            pid: program::raw(pid),
            start_time: crate::stat::start_time(program::raw(pid)).unwrap_or(0),
            boot_id: self.boot_id,
            session: self.session,
            incarnation: self.incarnation,
            state: Some(header.state),
            child_pid: header.child_pid,
            daemon_epoch: header.daemon_epoch,
        }
    }

    /// A probe that does not read its answers is let go.
    fn send_to_probe(&mut self, socket: &OwnedFd, frame: &FromHolder) -> Then {
        self.scratch.clear();
        frame.encode(&mut self.scratch);
        let sent = rustix::net::send(socket, &self.scratch, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        if sent == Ok(self.scratch.len()) { Then::Keep } else { Then::Close }
    }

    /// Makes a probe the daemon's connection; what it sent after `adopt` is read at once.
    fn adopt(&mut self, socket: OwnedFd, daemon_epoch: u64, rest: &[u8]) {
        // Without descriptors or memory for it the connection is closed: the daemon tries again.
        let Ok((page, page_fd)) = Page::create() else { return };
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfd = || rustix::event::eventfd(0, flags);
        let (Ok(wake_daemon), Ok(wake_holder)) = (eventfd(), eventfd()) else { return };
        // The former daemon's connection is closed, and its page is looked at no more.
        self.drop_link();
        self.output.ring_mut().adopt(page, daemon_epoch);
        self.output.adopted();
        let link = Link { socket, wake_daemon, wake_holder };
        self.scratch.clear();
        FromHolder::Adopted(self.output.ring().header()).encode(&mut self.scratch);
        let spill = self.files.spill().filter(|_| !self.output.ring().spill().is_empty());
        let sent = send_adopted(&link, &self.scratch, &self.ring_fd, &page_fd, spill);
        self.link = Some(link);
        if sent != Ok(self.scratch.len()) {
            return self.drop_link();
        }
        self.inbox.extend_from_slice(rest);
        self.answer_frames();
    }

    /// No daemon any more: its cursor is taken a last time.
    pub(super) fn drop_link(&mut self) {
        self.link = None;
        self.start_asked = false;
        self.inbox.clear();
        self.outbox.clear();
        self.output.ring_mut().release();
    }

    pub(super) fn read_link(&mut self) {
        let Some(link) = &self.link else { return };
        let filled = self.inbox.len();
        let read =
            rustix::net::recv(&link.socket, rustix::buffer::spare_capacity(&mut self.inbox), RecvFlags::DONTWAIT);
        match read {
            Ok(_) if self.inbox.len() > filled => self.answer_frames(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.drop_link(),
        }
    }

    /// Answers all whole frames in the inbox, and writes the input among them. A daemon that does not take its answers
    /// is not read until it does.
    pub(super) fn answer_frames(&mut self) {
        let inbox = std::mem::take(&mut self.inbox);
        let mut used = 0;
        while self.link.is_some() && self.outbox.is_empty() {
            match ToHolder::decode(&inbox[used..]) {
                Ok(Some((frame, bytes))) => {
                    used += bytes;
                    if self.answer_daemon(frame) == Then::Close {
                        self.drop_link();
                    }
                }
                Ok(None) => break,
                Err(_malformed) => self.drop_link(),
            }
        }
        self.inbox = inbox;
        if self.link.is_some() {
            self.inbox.drain(..used);
        } else {
            self.inbox.clear();
        }
        self.write_input();
    }

    /// Tells the daemon, if there is one.
    pub(super) fn answer(&mut self, frame: &FromHolder) {
        if self.link.is_some() {
            frame.encode(&mut self.outbox);
            self.flush_outbox();
        }
    }

    pub(super) fn flush_outbox(&mut self) {
        let Some(link) = &self.link else { return };
        if self.outbox.is_empty() {
            return;
        }
        match rustix::net::send(&link.socket, &self.outbox, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => drop(self.outbox.drain(..sent)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.drop_link(),
        }
    }

    /// After moving a cursor, or changing the state: no system call unless the daemon sleeps.
    pub(super) fn wake_daemon(&self) {
        if let Some(link) = &self.link
            && self.output.ring().must_wake_daemon()
        {
            // Full: it has been told often enough.
            let _told = rustix::io::write(&link.wake_daemon, &1_u64.to_ne_bytes());
        }
    }

    pub(super) fn clear_wake(&self) {
        if let Some(link) = &self.link {
            // Empty: another round has read it.
            let _count = rustix::io::read(&link.wake_holder, &mut [0; 8]);
        }
    }

    /// Whether the daemon has all output of a program that is done.
    pub(super) fn collect_if_due(&mut self) {
        let over = self.abandoned || matches!(self.program, Program::Ended(_) | Program::Failed(_));
        let ring = self.output.ring();
        if self.eof && over && self.collect == Some(ring.head()) && ring.acked() == ring.head() {
            self.finish();
        }
    }
}

fn send_adopted(
    link: &Link,
    frame: &[u8],
    ring: &OwnedFd,
    page: &OwnedFd,
    spill: Option<&OwnedFd>,
) -> Result<usize, Errno> {
    let (to_daemon, to_holder) = (link.wake_daemon.as_fd(), link.wake_holder.as_fd());
    let fds = [ring.as_fd(), page.as_fd(), to_daemon, to_holder, spill.map_or(ring.as_fd(), AsFd::as_fd)];
    let fds = if spill.is_some() { &fds[..] } else { &fds[..4] };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(fds));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(&link.socket, &[IoSlice::new(frame)], &mut ancillary, flags)
}
