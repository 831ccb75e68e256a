//! What the owner types: passed on to the holder, held while another owner is handed in, and told of once it is written.

use bytes::Bytes;

use super::connection::{json_frame, tagged};
use super::sessions::{Sessions, Waiting};
use super::shared::now;
use crate::ids::{InputOffset, OwnerEpoch, SessionId};
use crate::protocol::{ErrorMessage, InputApplied, StreamMessage, WireError, Written};
use crate::session::{Asker, StreamId};

/// Input counts are told this long after input that was not told of, in milliseconds.
const APPLIED_MS: u64 = 100;

/// Input counts are told at once when they have moved this far, in bytes.
const APPLIED_BYTES: u64 = 32 << 10;

/// While that much input is under way the holder's count is looked at this often, in milliseconds.
const APPLIED_LOOK_MS: u64 = 2;

/// A write is answered after this with what was applied so far, in milliseconds.
const WRITE_MS_MAX: u64 = 5_000;

/// A request that types, whose bytes are on their way.
pub(super) struct Write {
    pub(super) waiting: Waiting,
    epoch: OwnerEpoch,
    /// Behind its last byte.
    end: InputOffset,
    answer_by: u64,
}

impl Sessions {
    /// Takes the bytes of a request that may type, and passes on what of them is new.
    pub(super) fn write(&mut self, id: SessionId, asker: Asker, offset: Option<InputOffset>) {
        let Some(waiting) = self.askers.remove(&asker) else { return };
        let (Waiting::Control { input, .. }, Some(entry)) = (&waiting, self.entries.get_mut(&id)) else { return };
        match entry.core.write(offset, input.len(), entry.applied()) {
            Ok((epoch, begin, known)) => {
                let end = InputOffset(begin.0 + input.len() as u64);
                if let Some(link) = &entry.link
                    && known < input.len()
                {
                    link.input(epoch, InputOffset(begin.0 + known as u64), &input[known..]);
                }
                entry.writes.push(Write { waiting, epoch, end, answer_by: now().boot_ms + WRITE_MS_MAX });
                self.look_soon(id);
            }
            Err(error) => self.refuse(waiting, error),
        }
    }

    /// Answers the writes that have reached the terminal, whose epoch is over, or that have waited for long enough.
    pub(super) fn answer_writes(&mut self, id: SessionId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.writes.is_empty() || entry.core.is_handing_over() {
            return;
        }
        let ((epoch, _), applied, now) = (entry.core.input_end(), entry.applied(), now().boot_ms);
        let is_done = |write: &Write| write.epoch != epoch || write.end <= applied || write.answer_by <= now;
        let (done, waiting): (Vec<Write>, _) = std::mem::take(&mut entry.writes).into_iter().partition(is_done);
        entry.writes = waiting;
        for Write { waiting, epoch: typed_in, end, .. } in done {
            let Some(entry) = self.entries.get(&id) else { return };
            let count = if typed_in == epoch { Some(applied) } else { entry.core.final_count(typed_in) };
            match count {
                Some(input_applied) => {
                    let written = Written { owner_epoch: typed_in, input_offset: end, input_applied };
                    self.answer_now(waiting, written);
                }
                None => self.refuse(waiting, WireError::input_untold()),
            }
        }
    }

    /// Passes input of the owner on to the holder, or says why not.
    pub(super) fn input(
        &mut self,
        id: SessionId,
        stream: StreamId,
        epoch: OwnerEpoch,
        offset: InputOffset,
        bytes: Bytes,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let applied = entry.applied();
        match entry.core.input(stream, epoch, offset, bytes.len(), applied) {
            Ok(Some(known)) => {
                if let Some(link) = &entry.link
                    && known < bytes.len()
                {
                    link.input(epoch, InputOffset(offset.0 + known as u64), &bytes[known..]);
                }
            }
            Ok(None) => entry.held.push_back((stream, epoch, offset, bytes)),
            Err(error) => {
                if let Some(viewer) = entry.viewers.get(&stream) {
                    let place = error.number("input_offset").unwrap_or(offset.0);
                    let error = error.with("input_offset", place);
                    viewer.outbox.push(&[json_frame(&tagged(ErrorMessage { id: None, error }))]);
                }
            }
        }
    }

    /// The owner was handed in: what it sent meanwhile goes on.
    pub(super) fn take_held_input(&mut self, id: SessionId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.held.is_empty() || entry.core.is_handing_over() {
            return;
        }
        for (stream, epoch, offset, bytes) in std::mem::take(&mut entry.held) {
            self.input(id, stream, epoch, offset, bytes);
        }
        self.look_soon(id);
    }

    /// Arranges for the owner to be told of its input.
    pub(super) fn look_soon(&mut self, id: SessionId) {
        let now = now().boot_ms;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (_, end) = entry.core.input_end();
        let bulk = end.0.saturating_sub(entry.told.1.0) >= APPLIED_BYTES;
        let due = now + if bulk { APPLIED_LOOK_MS } else { APPLIED_MS };
        if entry.look_at.is_none_or(|at| at > due) {
            entry.look_at = Some(due);
            self.publish(id);
        }
    }

    /// Looks whether input was applied, tells the owner if it is time to, and looks again while some is under way.
    pub(super) fn look_at_input(&mut self, id: SessionId) {
        let now = now().boot_ms;
        self.answer_writes(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.core.is_handing_over() {
            return;
        }
        let (epoch, end) = entry.core.input_end();
        let applied = entry.applied();
        let told = if entry.told.0 == epoch { entry.told.1 } else { InputOffset(0) };
        let due = entry.look_at.is_some_and(|at| at <= now);
        if due || applied.0.saturating_sub(told.0) >= APPLIED_BYTES {
            self.tell_applied(id, false);
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if due {
            entry.look_at = None;
        }
        if applied < end && entry.look_at.is_none() {
            let bulk = end.0 - applied.0 >= APPLIED_BYTES;
            entry.look_at = Some(now + if bulk { APPLIED_LOOK_MS } else { APPLIED_MS });
        }
        self.publish(id);
    }

    /// Tells the owner's stream how much of its input was applied, if that has moved or `always`.
    pub(super) fn tell_applied(&mut self, id: SessionId, always: bool) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.core.is_handing_over() {
            return;
        }
        let (epoch, _) = entry.core.input_end();
        let now = (epoch, entry.applied());
        if now == entry.told && !always {
            return;
        }
        entry.told = now;
        if let Some(viewer) = entry.core.owner_stream().and_then(|stream| entry.viewers.get(&stream)) {
            let told = InputApplied { owner_epoch: now.0, input_offset: now.1, is_final: false };
            viewer.outbox.push(&[json_frame(&StreamMessage::InputApplied(told))]);
        }
    }
}
