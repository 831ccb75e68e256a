//! What the daemon's frames do. `docs/holder.md` has them as a table.

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::termios::Winsize;

use super::connections::Then;
use super::program;
use super::serve::{Child, Holder, Program};
use crate::frames::{FromHolder, Target, ToHolder};

impl Holder {
    pub(super) fn answer_daemon(&mut self, frame: ToHolder<'_>) -> Then {
        match frame {
            ToHolder::Ping => {
                let pong = FromHolder::Pong(self.pong());
                self.answer(&pong);
            }
            // A connection is adopted once; another daemon has a connection of its own.
            ToHolder::Adopt { .. } => return Then::Close,
            ToHolder::Start { incarnation } => return self.start(incarnation),
            ToHolder::Input { owner_epoch, input_offset, bytes } => {
                // Dropped or not: `input_applied` tells. A closed terminal takes no more.
                if !self.eof {
                    let _accepted = self.input.accept(owner_epoch, input_offset, bytes);
                }
            }
            ToHolder::Inject { bytes } => {
                if !self.eof {
                    let _fits = self.input.inject(bytes);
                    // Before owner input that comes later, though it be in the same read.
                    self.write_input();
                }
            }
            ToHolder::Resize { cols, rows, xpixel, ypixel } => {
                self.resize(Winsize { ws_col: cols, ws_row: rows, ws_xpixel: xpixel, ws_ypixel: ypixel });
            }
            ToHolder::Signal { number, target } => self.done(self.signal(number, target)),
            ToHolder::SignalProcess { pid, start_time, number } => self.done(signal_process(pid, start_time, number)),
            ToHolder::Owner { owner_epoch } => self.own(owner_epoch),
            ToHolder::Hangup => self.hang_up(),
            ToHolder::Collect { eof_offset } => self.collect = Some(eof_offset),
            ToHolder::Abandon => self.abandon(),
        }
        Then::Keep
    }

    fn done(&mut self, result: Result<(), Errno>) {
        let errno = result.map_or_else(|errno| u32::try_from(errno.raw_os_error()).unwrap_or(u32::MAX), |()| 0);
        self.answer(&FromHolder::Done { errno });
    }

    /// Starts the program, once. Answered when it is known whether it runs.
    fn start(&mut self, incarnation: u64) -> Then {
        if incarnation != self.incarnation || self.leaving.is_some() {
            return Then::Close;
        }
        self.start_asked = true;
        if !matches!(self.program, Program::Waiting) {
            self.answer_start();
            return Then::Keep;
        }
        match self.plan.start(self.size, &self.hooks) {
            Ok(spawned) => {
                self.master = Some(spawned.master);
                let child = Child { pid: spawned.pid, pidfd: spawned.pidfd, start_time: spawned.start_time };
                self.program = Program::Starting { child, report: spawned.report };
            }
            Err(failure) => self.failed(failure),
        }
        Then::Keep
    }

    /// Answers `start` as soon as its outcome is known. Repeated meanwhile, it is answered once.
    pub(super) fn answer_start(&mut self) {
        let answer = match &self.program {
            Program::Waiting | Program::Starting { .. } => return,
            Program::Running(child) | Program::Ended(child) => {
                FromHolder::Started { pid: program::raw(child.pid), start_time: child.start_time }
            }
            Program::Failed(failure) => FromHolder::Failed { step: failure.step, errno: failure.errno },
        };
        if std::mem::take(&mut self.start_asked) {
            self.answer(&answer);
        }
    }

    /// A size with 0 is unknown, and no size.
    fn resize(&mut self, size: Winsize) {
        let same = |a: &Winsize, b: &Winsize| {
            (a.ws_col, a.ws_row, a.ws_xpixel, a.ws_ypixel) == (b.ws_col, b.ws_row, b.ws_xpixel, b.ws_ypixel)
        };
        if size.ws_col == 0 || size.ws_row == 0 || same(&size, &self.size) {
            return;
        }
        self.size = size;
        if let Some(master) = &self.master {
            // Fails only for a descriptor that is no terminal.
            let _set = rustix::termios::tcsetwinsize(master, size);
        }
        self.output.ring_mut().set_size(size.ws_col, size.ws_row);
    }

    fn own(&mut self, owner_epoch: u32) {
        let changed = self.input.own(owner_epoch);
        let (former_epoch, former_applied) = self.input.former();
        let owner_epoch = self.input.owner_epoch();
        if changed {
            self.output.ring_mut().set_owner(owner_epoch, former_epoch, former_applied);
        }
        self.answer(&FromHolder::OwnerOk { owner_epoch, former_epoch, former_applied });
    }

    fn abandon(&mut self) {
        match self.program {
            Program::Waiting | Program::Failed(_) => {}
            Program::Starting { .. } | Program::Running(_) | Program::Ended(_) => {
                self.abandoned = true;
                self.end_output();
            }
        }
    }

    fn signal(&self, number: u8, target: Target) -> Result<(), Errno> {
        let signal = Signal::from_named_raw(i32::from(number)).ok_or(Errno::INVAL)?;
        let child = self.program.child().ok_or(Errno::SRCH)?;
        match target {
            Target::Leader if matches!(self.program, Program::Ended(_)) => Err(Errno::SRCH),
            Target::Leader => rustix::process::pidfd_send_signal(&child.pidfd, signal),
            // Unreaped, so the number is still its own.
            Target::LeaderGroup => rustix::process::kill_process_group(child.pid, signal),
            Target::Foreground => {
                let group = self.foreground(child).ok_or(Errno::SRCH)?;
                rustix::process::kill_process_group(group, signal)
            }
        }
    }

    /// The foreground group, if there is one: 0 once the leader is dead, and a number that another session's group has
    /// by now, are none.
    fn foreground(&self, child: &Child) -> Option<Pid> {
        let group = rustix::termios::tcgetpgrp(self.master.as_ref()?).ok()?;
        match rustix::process::getsid(Some(group)) {
            Ok(session) if session != child.pid => None,
            // Its first process may be gone: as long as others are in it, the number is theirs.
            Ok(_) | Err(_) => Some(group),
        }
    }
}

/// Signals a process that is neither the leader's nor ours, if it is still the one that is meant.
fn signal_process(pid: u32, start_time: u64, number: u8) -> Result<(), Errno> {
    let signal = Signal::from_named_raw(i32::from(number)).ok_or(Errno::INVAL)?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    if pid == rustix::process::getpid() {
        return Err(Errno::PERM);
    }
    // The descriptor holds on to one process, whose start time is then seen.
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    if crate::stat::start_time(program::raw(pid))? != start_time {
        return Err(Errno::SRCH);
    }
    rustix::process::pidfd_send_signal(&pidfd, signal)
}
