//! Bytes between terminal and ring, the spill, and the program's end.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::program::{self, Failure};
use super::serve::{Child, Holder, Program};
use crate::core::{Room, Source};
use crate::exit_record::{EXIT_RECORD_VERSION, ExitRecord};
use crate::frames::FromHolder;

/// Reads in one round, before input and signals are looked at again.
const READS_MAX: usize = 64;
/// A read that gives less has probably emptied the terminal (a full one gives 4,095): waiting is cheaper than asking.
const SHORT_READ_BYTES: usize = 2048;
/// Reads of what a program left behind, at its end; others may go on printing for ever.
const LAST_READS_MAX: usize = 4096;

/// Why a round of reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Nothing more is there now, or it is another's turn.
    Enough,
    /// No process has the terminal open.
    Closed,
    /// No room.
    Full,
}

impl Holder {
    /// Takes what the terminal has.
    pub(super) fn read_output(&mut self) {
        if self.take_output(READS_MAX, SHORT_READ_BYTES) == Stop::Closed {
            match self.program {
                Program::Ended(_) => self.end_output(),
                _ => self.rest_terminal(),
            }
        }
    }

    fn take_output(&mut self, reads_max: usize, short_read_bytes: usize) -> Stop {
        for _ in 0..reads_max {
            if !self.make_room() {
                return Stop::Full;
            }
            let Some(master) = &self.master else { return Stop::Enough };
            let mut room = 0;
            let read = self.output.ring_mut().fill(|free| {
                room = free.len();
                rustix::io::retry_on_intr(|| rustix::io::read(master, &mut *free))
            });
            match read {
                Ok(0) => return Stop::Closed,
                Ok(bytes) => {
                    self.wake_daemon();
                    if bytes < short_read_bytes.min(room) {
                        return Stop::Enough;
                    }
                }
                Err(Errno::AGAIN) => return Stop::Enough,
                // EIO: closed on the other side. Anything else would not get better either.
                Err(_) => return Stop::Closed,
            }
        }
        Stop::Enough
    }

    /// Whether there is room to read into, after spilling if that makes some.
    fn make_room(&mut self) -> bool {
        loop {
            match self.output.room() {
                Ok(Room::Read) => return true,
                Ok(Room::Full) => return false,
                Ok(Room::Spill { from, position, bytes }) => {
                    let (files, hooks) = (&mut self.files, &self.hooks);
                    let valid = self.output.ring();
                    match valid.with_valid(from, bytes, |valid| files.write_spill(position, valid, hooks)) {
                        Ok(written) if written > 0 => self.output.spilled(written as u64),
                        _ => self.output.spill_failed(),
                    }
                }
                Err(_broken) => self.drop_link(),
            }
        }
    }

    /// Writes what waits, as far as the terminal takes it.
    pub(super) fn write_input(&mut self) {
        self.write_blocked = false;
        if self.look_again.is_some() {
            return;
        }
        while let (Some(master), Some((source, bytes))) = (&self.master, self.input.due()) {
            match rustix::io::retry_on_intr(|| rustix::io::write(master, bytes)) {
                Ok(written) if written > 0 => {
                    self.input.wrote(source, written);
                    if source == Source::Owner {
                        self.output.ring_mut().set_input_applied(self.input.applied());
                    }
                }
                Ok(_) | Err(Errno::AGAIN) => {
                    self.write_blocked = true;
                    return;
                }
                // The program has closed its terminal: what waits is written if it opens it again.
                Err(_) => return,
            }
        }
    }

    /// The output is at its end: nothing more is read, and the terminal is closed.
    pub(super) fn end_output(&mut self) {
        if self.eof {
            return;
        }
        self.eof = true;
        self.master = None;
        self.look_again = None;
        self.write_blocked = false;
        self.input.clear();
        self.output.ring_mut().set_eof();
        self.wake_daemon();
    }

    /// The descriptor that tells of the program's next step.
    pub(super) fn child_event(&self) -> Option<&OwnedFd> {
        match &self.program {
            Program::Starting { report, .. } => Some(report),
            Program::Running(child) => Some(&child.pidfd),
            Program::Waiting | Program::Ended(_) | Program::Failed(_) => None,
        }
    }

    /// The start succeeded or failed, or the program ended.
    pub(super) fn child_moved(&mut self) {
        match std::mem::replace(&mut self.program, Program::Waiting) {
            Program::Starting { child, report } => match program::read_report(report.as_fd()) {
                None => self.started(child),
                Some(failure) => {
                    // It ends by itself right after its report.
                    let _status = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
                    self.failed(failure);
                }
            },
            Program::Running(child) => match ended_status(&child) {
                Some(status) => self.ended(child, status),
                None => self.program = Program::Running(child),
            },
            other => self.program = other,
        }
    }

    fn started(&mut self, child: Child) {
        self.output.ring_mut().set_running(program::raw(child.pid), child.start_time);
        self.program = Program::Running(child);
        self.answer_start();
        self.wake_daemon();
        self.write_input();
    }

    /// The program cannot be started; there is no output.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.program = Program::Failed(failure);
        self.output.ring_mut().set_failed(failure.step, failure.errno);
        self.end_output();
        self.answer_start();
        if self.leaving.is_some() {
            self.finish();
        }
    }

    /// Exit file, then header, then frame: what is told is safe.
    fn ended(&mut self, child: Child, wait_status: u32) {
        if self.leaving.is_some() {
            self.program = Program::Ended(child);
            self.finish();
            return;
        }
        let closed = self.take_output(LAST_READS_MAX, 1) == Stop::Closed;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let exited_ms = u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0);
        let record = ExitRecord {
            version: EXIT_RECORD_VERSION,
            session: self.session,
            incarnation: self.incarnation,
            boot_id: crate::BootId(self.boot_id),
            pid: program::raw(child.pid),
            wait_status,
            exited_ms,
            output_head: self.output.ring().head(),
        };
        // Without room for it the status is still here, until it is collected.
        let _left_out = self.files.write_exit(&record, &self.hooks);
        self.program = Program::Ended(child);
        self.output.ring_mut().set_ended(wait_status, exited_ms);
        self.wake_daemon();
        self.answer(&FromHolder::Ended { wait_status });
        if closed || self.look_again.is_some() {
            self.look_again = None;
            self.read_output();
        }
    }

    pub(super) fn kill_child(&mut self) {
        if let Program::Starting { child, .. } | Program::Running(child) = &self.program {
            // ESRCH: it ended just now, which is what was wanted.
            let _sent = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
        }
    }
}

/// The wait status of an ended child, which stays unreaped; `None` while it lives.
fn ended_status(child: &Child) -> Option<u32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), options).ok()??;
    let code = |code: Option<i32>| code.and_then(|code| u32::try_from(code).ok()).unwrap_or(0);
    Some(if status.exited() {
        (code(status.exit_status()) & 0xff) << 8
    } else {
        code(status.terminating_signal()) | if status.dumped() { 0x80 } else { 0 }
    })
}
