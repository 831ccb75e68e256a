//! The holder's state, and the one loop that waits for what happens and has the rules answer it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Pid;
use rustix::termios::Winsize;

use super::connections::{LINK_BUFFER_BYTES, Link, PROBES_MAX, Probe, SCRATCH_BYTES};
use super::files::Files;
use super::program::{Failure, Plan};
use crate::core::{Input, Output, Room};
use crate::hooks::Hooks;
use crate::spec::Spec;

/// A holder that nobody has started by then, and that has no daemon, ends.
const UNSTARTED_MS_MAX: u64 = 10_000;
/// A terminal that its program closed is looked at again so often.
const REOPEN_MS: u64 = 1_000;
/// From `hangup` to SIGKILL, and from SIGKILL to the holder's end if the program cannot die.
const HANGUP_MS: u64 = 1_000;
/// After a failed accept (no descriptor left) the listener is left alone so long.
const ACCEPT_REST_MS: u64 = 100;

/// The program's process. It stays unreaped as long as its holder lives: so its numbers are its own, and signals to it
/// and its group hit nobody else.
pub(super) struct Child {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) start_time: u64,
}

/// What has become of the program.
pub(super) enum Program {
    Waiting,
    /// Forked; `report` tells whether it became the program.
    Starting {
        child: Child,
        report: OwnedFd,
    },
    Running(Child),
    Ended(Child),
    Failed(Failure),
}

impl Program {
    pub(super) fn child(&self) -> Option<&Child> {
        match self {
            Self::Starting { child, .. } | Self::Running(child) | Self::Ended(child) => Some(child),
            Self::Waiting | Self::Failed(_) => None,
        }
    }
}

/// After `hangup`.
pub(super) enum Leaving {
    /// The terminal is closed; the program has until then to end by itself.
    Asked(Instant),
    /// It was killed; the holder ends then, whether it is dead or not.
    Killed(Instant),
}

/// Everything a holder knows.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set in one place")]
pub(super) struct Holder {
    pub(super) session: [u8; 16],
    pub(super) boot_id: [u8; 16],
    pub(super) incarnation: u64,
    pub(super) plan: Plan,
    pub(super) files: Files,
    pub(super) hooks: Hooks,
    pub(super) listener: OwnedFd,
    pub(super) ring_fd: OwnedFd,
    pub(super) output: Output,
    pub(super) input: Input,
    pub(super) program: Program,
    pub(super) size: Winsize,
    /// The terminal, until its end.
    pub(super) master: Option<OwnedFd>,
    /// The program closed its terminal, and it is looked at again then.
    pub(super) look_again: Option<Instant>,
    /// The last write found the terminal full.
    pub(super) write_blocked: bool,
    pub(super) eof: bool,
    pub(super) abandoned: bool,
    pub(super) collect: Option<u64>,
    pub(super) leaving: Option<Leaving>,
    /// The daemon waits for the answer to `start`.
    pub(super) start_asked: bool,
    pub(super) link: Option<Link>,
    pub(super) probes: [Option<Probe>; PROBES_MAX],
    pub(super) next_probe: usize,
    pub(super) inbox: Vec<u8>,
    pub(super) outbox: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    pub(super) accept_again: Option<Instant>,
    unstarted_until: Instant,
    done: bool,
}

/// What a round of waiting found.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each thing that is waited for")]
struct Ready {
    listener: bool,
    link_in: bool,
    link_out: bool,
    woken: bool,
    master_in: bool,
    master_out: bool,
    /// Nobody has the terminal open, and there is no room to read what it holds.
    master_closed: bool,
    child: bool,
    probes: [bool; PROBES_MAX],
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Holder {
    /// All memory that a holder ever needs is allocated here.
    pub(super) fn new(
        spec: &Spec,
        plan: Plan,
        files: Files,
        hooks: Hooks,
        (listener, ring_fd): (OwnedFd, OwnedFd),
        mut output: Output,
        input: Input,
    ) -> Self {
        let unstarted_ms = hooks.number("unstarted_ms").and_then(|ms| u64::try_from(ms).ok());
        output.ring_mut().set_size(spec.cols, spec.rows);
        Self {
            session: spec.session,
            boot_id: spec.boot_id.0,
            incarnation: spec.incarnation,
            plan,
            files,
            hooks,
            listener,
            ring_fd,
            output,
            input,
            program: Program::Waiting,
            size: Winsize { ws_col: spec.cols, ws_row: spec.rows, ws_xpixel: 0, ws_ypixel: 0 },
            master: None,
            look_again: None,
            write_blocked: false,
            eof: false,
            abandoned: false,
            collect: None,
            leaving: None,
            start_asked: false,
            link: None,
            probes: [const { None }; PROBES_MAX],
            next_probe: 0,
            inbox: Vec::with_capacity(LINK_BUFFER_BYTES),
            outbox: Vec::with_capacity(SCRATCH_BYTES),
            scratch: Vec::with_capacity(SCRATCH_BYTES),
            accept_again: None,
            unstarted_until: Instant::now() + ms(unstarted_ms.unwrap_or(UNSTARTED_MS_MAX)),
            done: false,
        }
    }

    /// Serves until nobody needs this holder any more.
    pub(super) fn serve(&mut self) {
        while !self.done {
            let (may_read, sleeps) = self.settle();
            if self.done {
                break;
            }
            let ready = self.wait(may_read, sleeps);
            self.handle(&ready);
            self.pass_deadlines(Instant::now());
        }
        self.files.remove();
    }

    /// The loop ends.
    pub(super) fn finish(&mut self) {
        self.done = true;
    }

    /// What follows from what the daemon acknowledged. Returns whether output may be read, and whether the loop may
    /// sleep: not if the daemon acknowledged more while it was asked to wake us.
    fn settle(&mut self) -> (bool, bool) {
        let room = self.output.room().unwrap_or_else(|_broken| {
            self.drop_link();
            self.output.room().unwrap_or(Room::Full)
        });
        if self.output.spill_is_over() && self.files.cut_spill().is_ok() {
            self.output.spill_cut();
        }
        self.collect_if_due();
        let awaits_ack = self.collect.is_some() || !self.output.ring().spill().is_empty();
        let sleeps = !awaits_ack || self.output.ring_mut().ask_for_space().unwrap_or(false);
        (room != Room::Full, sleeps)
    }

    fn wait(&self, may_read: bool, sleeps: bool) -> Ready {
        let timeout = if sleeps { self.next_deadline() } else { Some(Duration::ZERO) };
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        let (none, input) = (PollFlags::empty(), PollFlags::IN);
        let link = self.link.as_ref();
        let link_flags = if self.outbox.is_empty() { input } else { PollFlags::OUT };
        let mut master_flags = if may_read { input } else { none };
        master_flags.set(PollFlags::OUT, self.write_blocked);
        let master = self.master.as_ref().filter(|_| self.look_again.is_none() && !master_flags.is_empty());
        let mut fds: [PollFd<'_>; FIXED + PROBES_MAX] = std::array::from_fn(|_| self.slot(None, none));
        fds[0] = self.slot(self.accept_again.is_none().then_some(&self.listener), input);
        fds[1] = self.slot(link.map(|link| &link.socket), link_flags);
        fds[2] = self.slot(link.map(|link| &link.wake_holder), input);
        fds[3] = self.slot(master, master_flags);
        fds[4] = self.slot(self.child_event(), input);
        let mut places = [0; PROBES_MAX];
        let mut used = FIXED;
        for (place, probe) in places.iter_mut().zip(&self.probes) {
            if let Some(probe) = probe {
                fds[used] = self.slot(Some(&probe.socket), input);
                *place = used;
                used += 1;
            }
        }
        // EINTR and the like: nothing is ready, the loop comes back.
        let found = rustix::event::poll(&mut fds[..used], timeout.as_ref()).unwrap_or(0);
        if found == 0 {
            return Ready::default();
        }
        let at = |place: usize| fds[place].revents();
        let any = |place: usize| !at(place).is_empty();
        Ready {
            listener: any(0),
            link_in: any(1) && !at(1).contains(PollFlags::OUT),
            link_out: at(1).contains(PollFlags::OUT),
            woken: any(2),
            master_in: may_read && at(3).intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            master_out: at(3).contains(PollFlags::OUT),
            master_closed: !may_read && at(3).contains(PollFlags::HUP),
            child: any(4),
            probes: places.map(|place| place > 0 && any(place)),
        }
    }

    /// A place in the poll list; one without descriptor asks nothing of the listener.
    fn slot<'a>(&'a self, fd: Option<&'a OwnedFd>, flags: PollFlags) -> PollFd<'a> {
        match fd {
            Some(fd) => PollFd::from_borrowed_fd(fd.as_fd(), flags),
            None => PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::empty()),
        }
    }

    fn handle(&mut self, ready: &Ready) {
        // The daemon first: its signals and input get through whatever the program prints.
        if ready.woken {
            self.clear_wake();
        }
        if ready.link_out {
            self.flush_outbox();
            self.answer_frames();
        }
        if ready.link_in {
            self.read_link();
        }
        if ready.master_out {
            self.write_input();
        }
        if ready.master_in {
            self.read_output();
        }
        if ready.master_closed {
            self.rest_terminal();
        }
        if ready.child {
            self.child_moved();
        }
        for slot in (0..PROBES_MAX).filter(|slot| ready.probes[*slot]) {
            self.read_probe(slot);
        }
        if ready.listener {
            self.accept();
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let unstarted =
            (matches!(self.program, Program::Waiting) && self.link.is_none()).then_some(self.unstarted_until);
        let leaving = self.leaving.as_ref().map(|(Leaving::Asked(at) | Leaving::Killed(at))| *at);
        let next = [unstarted, leaving, self.look_again, self.accept_again].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn pass_deadlines(&mut self, now: Instant) {
        let due = |at: &Instant| *at <= now;
        if matches!(self.program, Program::Waiting) && self.link.is_none() && due(&self.unstarted_until) {
            self.finish();
        }
        if self.look_again.as_ref().is_some_and(due) {
            self.look_again = None;
            self.read_output();
            self.write_input();
        }
        if self.accept_again.as_ref().is_some_and(due) {
            self.accept_again = None;
        }
        match &self.leaving {
            Some(Leaving::Asked(at)) if due(at) => {
                self.kill_child();
                self.leaving = Some(Leaving::Killed(now + ms(HANGUP_MS)));
            }
            Some(Leaving::Killed(at)) if due(at) => self.finish(),
            _ => {}
        }
    }

    /// `hangup`: the terminal is closed (which tells the program), and the holder ends with the program, or soon after.
    pub(super) fn hang_up(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        self.end_output();
        match self.program {
            Program::Starting { .. } | Program::Running(_) => {
                self.leaving = Some(Leaving::Asked(Instant::now() + ms(HANGUP_MS)));
            }
            Program::Waiting | Program::Ended(_) | Program::Failed(_) => self.finish(),
        }
    }

    /// The program has closed its terminal: it may open it again.
    pub(super) fn rest_terminal(&mut self) {
        self.look_again = Some(Instant::now() + ms(REOPEN_MS));
    }

    /// No descriptor is left for a connection.
    pub(super) fn rest_listener(&mut self) {
        self.accept_again = Some(Instant::now() + ms(ACCEPT_REST_MS));
    }
}

/// Places of the poll list that are always there.
const FIXED: usize = 5;
