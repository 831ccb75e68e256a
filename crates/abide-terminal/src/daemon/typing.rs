//! What the owner types: passed on to the holder, held while another owner is handed in, and told of once it is written.

use bytes::Bytes;

use super::connection::{json_frame, tagged};
use super::sessions::Sessions;
use super::shared::now;
use crate::ids::{InputOffset, OwnerEpoch, SessionId};
use crate::protocol::{ErrorMessage, InputApplied, StreamMessage};
use crate::session::StreamId;

/// Input counts are told this long after input that was not told of, in milliseconds.
const APPLIED_MS: u64 = 100;

/// Input counts are told at once when they have moved this far, in bytes.
const APPLIED_BYTES: u64 = 32 << 10;

/// While that much input is under way the holder's count is looked at this often, in milliseconds.
const APPLIED_LOOK_MS: u64 = 2;

impl Sessions {
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
