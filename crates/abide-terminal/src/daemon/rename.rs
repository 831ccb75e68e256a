//! Another name for a session: kept free for it from the request to the answer.

use super::sessions::{Sessions, Waiting};
use crate::ids::{ClientId, SessionId};
use crate::protocol::{Rename, WireError};
use crate::record::State;
use crate::session::{Asker, Input, Op};

impl Sessions {
    pub(super) fn rename(&mut self, rename: &Rename, client: ClientId, waiting: Waiting) {
        let name = rename.name.as_str();
        let id = match self.find(&rename.session).and_then(|id| self.reserve(id, name)) {
            Ok(id) => id,
            Err(error) => return self.refuse(waiting, error),
        };
        let asker = self.asker(waiting);
        self.renames.insert(asker, name.to_owned());
        let op = Op::Rename(name.to_owned());
        self.feed(id, Input::Request { asker: Some(asker), client, owner_epoch: None, op });
    }

    /// Keeps the name for this session. One that has ended shares its name with whoever has it.
    fn reserve(&mut self, id: SessionId, name: &str) -> Result<SessionId, WireError> {
        if self.has_ended(id) {
            return Ok(id);
        }
        let other = self.names.get(name).filter(|named| **named != id).and_then(|named| self.record_of(*named));
        if let Some(other) = other {
            return Err(WireError::name_taken(&other));
        }
        self.names.insert(name.to_owned(), id);
        Ok(id)
    }

    /// A rename is about to be answered: names that its session neither has nor is about to get are free again.
    pub(super) fn end_rename(&mut self, id: SessionId, asker: Asker) {
        if self.renames.remove(&asker).is_none() {
            return;
        }
        let ended = self.has_ended(id);
        let Some(entry) = self.entries.get(&id) else { return };
        let present = &entry.facts().record().name;
        let renames = &self.renames;
        self.names.retain(|name, named| {
            *named != id || !ended && (name == present || renames.values().any(|coming| coming == name))
        });
    }

    fn has_ended(&self, id: SessionId) -> bool {
        self.entries.get(&id).is_none_or(|entry| entry.facts().state() == State::Finalized)
    }
}
