//! A holder as its frames describe it, with a program that ends, forks and refuses to die as the history wants it.

use std::collections::{BTreeSet, VecDeque};

use abide_terminal::procs::ProcessId;
use abide_terminal::session::{Frame, HolderInput};
use abide_terminal::{InputOffset, OwnerEpoch};

use abide_sim::Rng;

/// What was sent to a holder and is not read yet.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Frame(Frame),
    Input { epoch: OwnerEpoch, offset: InputOffset, len: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    NotStarted,
    Runs,
    Failed,
    Ended(u32),
}

pub(crate) struct Holder {
    pub(crate) inbox: VecDeque<Sent>,
    /// What the daemon has not read yet.
    pub(crate) outbox: VecDeque<HolderInput>,
    pub(crate) program: Program,
    pub(crate) epoch: OwnerEpoch,
    pub(crate) applied: InputOffset,
    pub(crate) former: Option<(OwnerEpoch, InputOffset)>,
    pub(crate) size: (u16, u16),
    /// Processes beside the program, by pid; those in `stubborn` cannot be ended.
    pub(crate) others: BTreeSet<u32>,
    pub(crate) stubborn: bool,
    /// The PTY has ended for it.
    pub(crate) abandoned: bool,
    /// The connection has ended.
    pub(crate) gone: bool,
    pub(crate) starts: u32,
}

pub(crate) const LEADER: ProcessId = ProcessId { pid: 4711, start_time: 99 };

impl Holder {
    pub(crate) fn new(epoch: OwnerEpoch, size: (u16, u16), stubborn: bool) -> Self {
        Self {
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            program: Program::NotStarted,
            epoch,
            applied: InputOffset(0),
            former: None,
            size,
            others: BTreeSet::new(),
            stubborn,
            abandoned: false,
            gone: false,
            starts: 0,
        }
    }

    /// What its header says to the daemon that adopts it.
    pub(crate) fn adopted(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
        self.outbox.push_back(HolderInput::Adopted {
            owner_epoch: self.epoch,
            input_applied: self.applied,
            former: self.former,
            size: self.size,
        });
        if let Program::Ended(status) = self.program {
            self.outbox.push_back(HolderInput::Ended { status });
        }
    }

    pub(crate) fn end(&mut self, status: u32) {
        if self.program == Program::Runs {
            self.program = Program::Ended(status);
            self.outbox.push_back(HolderInput::Ended { status });
        }
    }

    /// Whether all output that will ever be there is there.
    pub(crate) fn output_ended(&self) -> bool {
        self.abandoned || (matches!(self.program, Program::Ended(_)) && self.others.is_empty())
    }

    /// Reads one thing that was sent.
    pub(crate) fn read(&mut self, random: &mut Rng) {
        match self.inbox.pop_front() {
            Some(Sent::Frame(frame)) => self.frame(&frame, random),
            Some(Sent::Input { epoch, offset, len }) if epoch == self.epoch => {
                assert!(offset <= self.applied, "a gap reached the holder");
                self.applied = InputOffset(self.applied.0.max(offset.0 + len));
            }
            Some(Sent::Input { .. }) | None => {}
        }
    }

    fn frame(&mut self, frame: &Frame, random: &mut Rng) {
        match frame {
            Frame::Start(_) => self.start(random),
            Frame::Owner(epoch) => {
                if *epoch > self.epoch {
                    if self.applied.0 > 0 {
                        self.former = Some((self.epoch, self.applied));
                    }
                    self.epoch = *epoch;
                    self.applied = InputOffset(0);
                }
                self.outbox.push_back(HolderInput::OwnerOk { epoch: self.epoch, former: self.former });
            }
            Frame::Resize(size) => self.size = (size.cols, size.rows),
            Frame::Signal(number, _) => {
                let heeds = !self.stubborn && random.one_in(4);
                if (*number == 9 && !self.stubborn) || (matches!(number, 1 | 15) && heeds) {
                    self.end(u32::from(*number));
                }
            }
            Frame::SignalProcess(process, number) => {
                if !self.stubborn && (*number == 9 || (matches!(number, 1 | 15) && random.one_in(2))) {
                    self.others.remove(&process.pid);
                }
            }
            Frame::Hangup | Frame::Collect(_) => self.gone = true,
            Frame::Abandon => self.abandoned = true,
        }
    }

    fn start(&mut self, random: &mut Rng) {
        if self.program == Program::NotStarted {
            self.starts += 1;
            self.program = if random.one_in(5) { Program::Failed } else { Program::Runs };
        }
        self.outbox.push_back(match self.program {
            Program::Failed => HolderInput::Failed { step: 6, errno: 2 },
            _ => HolderInput::Started { pid: LEADER.pid, start_time: LEADER.start_time },
        });
    }
}
