//! What is seen of a stream and sent on it, and whether it may be so.

use abide_terminal::ClientId;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::{Frame, Mode};
use abide_wire::Code;

use super::Stream;
use crate::machine::Machine;

impl Stream {
    pub(super) fn note_sent(&mut self, bytes: &[u8]) {
        self.sent_frames.extend(bytes);
        while let Some(frame) = self.sent_frames.next_frame().unwrap() {
            let Frame::Input { owner_epoch, input_offset, bytes } = frame else { continue };
            let sent = self.past.sent.entry((self.incarnation, owner_epoch.0)).or_default();
            for (at, byte) in (input_offset.0..).zip(bytes) {
                let before = sent.insert(at, byte);
                assert!(before.is_none_or(|before| before == byte), "a resend sends the same");
            }
        }
    }

    fn told(&mut self, epoch: u32, applied: u64) {
        let told = self.past.told.entry((self.incarnation, epoch)).or_default();
        *told = applied.max(*told);
    }

    /// Checks what the caller of the link sees.
    pub(super) fn see(&mut self, machine: &mut Machine, id: &ClientId, event: StreamEvent) {
        let (session, number) = (self.session, self.number);
        machine.tell(|| match &event {
            StreamEvent::Output { offset, bytes } => format!("stream {number} of {id}: {offset} + {}", bytes.len()),
            other => format!("stream {number} of {id}: {other:?}"),
        });
        match event {
            StreamEvent::Attached(attached) => {
                self.incarnation = attached.incarnation.0;
                self.epoch = attached.owner_epoch.0;
                match self.position {
                    Some(position) => assert_eq!(position, attached.offset.0, "a stream goes on where it stood"),
                    None => self.position = Some(attached.offset.0),
                }
                if attached.mode == Mode::Owner {
                    machine.truth.owner_is(session, self.incarnation, attached.owner_epoch.0, id, number);
                }
            }
            StreamEvent::Output { offset, bytes } => {
                assert!(!self.exited, "no byte after the end");
                assert_eq!(self.position, Some(offset.0), "output is dense");
                machine.truth.check_output(session, offset.0, &bytes);
                machine.tally.add("bytes seen", bytes.len() as u64);
                self.position = Some(offset.0 + bytes.len() as u64);
            }
            StreamEvent::Hole(hole) => {
                machine.tally.count("holes were told");
                self.holes.push((hole.offset.0, hole.lost_bytes));
                machine.truth.check_hole(session, hole.code, hole.offset.0, hole.lost_bytes);
                self.position = self.position.map(|position| position + hole.lost_bytes.unwrap_or(0));
            }
            StreamEvent::TakenBack { from, to } => {
                machine.tally.count("output was taken back");
                assert!(machine.truth.has_taken_back(), "what was seen stands: {from:?} {to:?}");
                self.position = Some(from.0);
            }
            StreamEvent::Skipped { from, to } => {
                assert!(machine.limits.retention_bytes > 0, "nothing is trimmed here");
                // Where marks alone were trimmed they stood at one place.
                assert!(from <= to && self.position.is_none_or(|position| position == from.0), "{from:?} {to:?}");
                machine.truth.check_trimmed(session, to.0);
                machine.tally.count("streams were told of what was trimmed");
                self.position = Some(to.0);
            }
            StreamEvent::OwnershipChanged(change)
                if change.mode == Mode::Owner && change.owner_epoch.0 > self.epoch =>
            {
                self.epoch = change.owner_epoch.0;
                assert_eq!(change.owner.as_ref(), Some(id), "the owner is told that it is");
                machine.truth.owner_is(session, self.incarnation, change.owner_epoch.0, id, number);
            }
            StreamEvent::InputApplied(told) => {
                let applied = machine.truth.applied_in(session, self.incarnation, told.owner_epoch.0);
                assert!(told.input_offset.0 <= applied, "what was told to be applied is");
                self.told(told.owner_epoch.0, told.input_offset.0);
            }
            StreamEvent::InputLost { owner_epoch, applied, accepted } => {
                machine.tally.count("input was named as lost or unknown");
                if let Some(applied) = applied {
                    let truly = machine.truth.applied_in(session, self.incarnation, owner_epoch.0);
                    assert_eq!(truly, applied.0, "an exact count of {accepted:?} in {owner_epoch:?}");
                    self.told(owner_epoch.0, applied.0);
                }
            }
            StreamEvent::Restored(restored) => {
                self.incarnation = self.incarnation.max(restored.incarnation.0);
                // What had ended goes on: somebody asked for that.
                self.exited = false;
            }
            StreamEvent::Exited(_) => self.exited = true,
            StreamEvent::Snapshot { .. }
            | StreamEvent::Resized(_)
            | StreamEvent::OwnershipChanged(_)
            | StreamEvent::Refused(_)
            | StreamEvent::Time(_)
            | StreamEvent::Away => {}
            StreamEvent::Lagged(_) | StreamEvent::Backpressure(_) => panic!("streams follow here"),
        }
    }

    /// Whether it was told the end of the session in order.
    pub(crate) fn saw_all(&self) -> bool {
        self.ended == Some(StreamEnd::Finished(Code::SessionExited))
    }
}
