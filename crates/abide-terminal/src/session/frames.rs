//! What the rules say to a holder, and hear of it, as frames of its protocol.

use abide_holder::frames::{self, FromHolder, ToHolder};
use abide_holder::{Header, State};

use super::io::{Frame, HolderInput, Target};
use crate::ids::{InputOffset, OwnerEpoch};

impl Frame {
    /// The frame as it is sent.
    pub fn to_holder(&self) -> ToHolder<'static> {
        match *self {
            Self::Start(incarnation) => ToHolder::Start { incarnation: incarnation.0 },
            Self::Resize(size) => {
                ToHolder::Resize { cols: size.cols, rows: size.rows, xpixel: size.pixels.0, ypixel: size.pixels.1 }
            }
            Self::Signal(number, whom) => ToHolder::Signal { number, target: target(whom) },
            Self::SignalProcess(process, number) => {
                ToHolder::SignalProcess { pid: process.pid, start_time: process.start_time, number }
            }
            Self::Owner(epoch) => ToHolder::Owner { owner_epoch: epoch.0 },
            Self::Hangup => ToHolder::Hangup,
            Self::Collect(offset) => ToHolder::Collect { eof_offset: offset.0 },
            Self::Abandon => ToHolder::Abandon,
        }
    }
}

fn target(target: Target) -> frames::Target {
    match target {
        Target::Leader => frames::Target::Leader,
        Target::Foreground => frames::Target::Foreground,
        Target::LeadersGroup => frames::Target::LeaderGroup,
    }
}

impl HolderInput {
    /// What a session hears of a holder that was just adopted, by its header.
    pub fn adopted(header: &Header) -> impl Iterator<Item = Self> {
        let former = (header.former_epoch != 0 || header.former_applied != 0)
            .then_some((OwnerEpoch(header.former_epoch), InputOffset(header.former_applied)));
        let adopted = Self::Adopted {
            owner_epoch: OwnerEpoch(header.owner_epoch),
            input_applied: InputOffset(header.input_applied),
            former,
            size: (header.cols, header.rows),
        };
        let ended = (header.state == State::Ended).then_some(Self::Ended { status: header.wait_status });
        std::iter::once(adopted).chain(ended)
    }

    /// What it hears of a frame; none if that is nothing to the session.
    pub fn heard(frame: &FromHolder) -> Option<Self> {
        Some(match *frame {
            FromHolder::Started { pid, start_time } => Self::Started { pid, start_time },
            FromHolder::Failed { step, errno } => Self::Failed { step, errno },
            FromHolder::OwnerOk { owner_epoch, former_epoch, former_applied } => Self::OwnerOk {
                epoch: OwnerEpoch(owner_epoch),
                former: (former_epoch != 0).then_some((OwnerEpoch(former_epoch), InputOffset(former_applied))),
            },
            FromHolder::Ended { wait_status } => Self::Ended { status: wait_status },
            FromHolder::Pong(_) | FromHolder::Adopted(_) | FromHolder::Refused { .. } | FromHolder::Done { .. } => {
                return None;
            }
        })
    }
}
