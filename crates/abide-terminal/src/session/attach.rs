//! Attaching a stream: claim, resize, answer, each when it is due.

use super::core::{Holder, Session, Viewer};
use super::io::{Asker, Attach, Attached, Input, Now, Output, Reply};
use super::transition::{Then, answer, asker_of};
use crate::protocol::{Mode, WireError};
use crate::record::{Cause, State};

/// How long an attach or a write waits for a program that is being started or adopted, in milliseconds.
const HOLDER_WAIT_MS_MAX: u64 = 5_000;

impl Session {
    pub(super) fn attach(&mut self, now: Now, asker: Asker, attach: Attach, out: &mut Vec<Output>) {
        if let Some(removed_at) = self.removed_at {
            let gone = WireError::gone(&self.facts.id().to_string(), removed_at);
            out.push(Output::Answer(asker, Reply::Error(gone)));
            return;
        }
        let state = self.facts.state();
        let living = state < State::Exited;
        // An owner's input is counted from what its holder says: a holder that was not adopted yet is waited for.
        let uncounted = living && attach.mode == Mode::Owner && self.holder != Holder::Adopted;
        if state == State::Starting || uncounted {
            return self.wait_for_holder(now, Input::Attach(asker, attach));
        }
        if living && attach.mode == Mode::Owner {
            let owns = self.owns(&attach.client);
            if !owns && self.facts.record().owner.is_some() {
                let connected = self.grace_until.is_none();
                let error = WireError::session_owned(self.facts.record(), connected);
                out.push(Output::Answer(asker, Reply::Error(error)));
                return;
            }
            if !owns || !self.may_have_epoch(&attach) {
                let client = attach.client.clone();
                let then = Then::Again(Box::new(Input::Attach(asker, attach)));
                self.change_owner(Some(client), Cause::Claimed, then, out);
                return;
            }
            if state == State::Running
                && let Some(size) = attach.size
                && self.differs(size)
            {
                self.record_size(size, Then::Again(Box::new(Input::Attach(asker, attach))), out);
                return;
            }
        }
        let mode = if living { attach.mode } else { Mode::Observer };
        if mode == Mode::Observer && self.observers() >= self.limits.observers_max {
            let error = WireError::observers_limit(self.limits.observers_max);
            out.push(Output::Answer(asker, Reply::Error(error)));
            return;
        }
        if mode == Mode::Owner {
            self.replace_owner_streams(out);
            self.had_epoch = self.facts.record().owner_epoch;
        }
        self.streams.insert(attach.stream, Viewer { client: attach.client, mode });
        out.push(Output::Answer(asker, Reply::Attached(Attached { mode, former: self.former })));
    }

    /// Whether an owner's stream may count its input in the present epoch: it has done so before, or no stream has. What two
    /// of them typed in one epoch could not be told apart once a connection, or the daemon, is lost.
    fn may_have_epoch(&self, attach: &Attach) -> bool {
        let present = self.facts.record().owner_epoch;
        attach.owner_epoch == Some(present) || self.had_epoch < present
    }

    fn replace_owner_streams(&mut self, out: &mut Vec<Output>) {
        self.streams.retain(|id, viewer| {
            let replaced = viewer.mode == Mode::Owner;
            if replaced {
                out.push(Output::Replaced(*id));
            }
            !replaced
        });
    }

    /// Looks at this again when the program runs and its holder was adopted.
    pub(super) fn wait_for_holder(&mut self, now: Now, input: Input) {
        self.waiting.push((now.boot_ms + HOLDER_WAIT_MS_MAX, input));
    }

    pub(super) fn give_up_waiting(&mut self, now: Now, out: &mut Vec<Output>) {
        let record = self.facts.record();
        self.waiting.retain(|(until, input)| {
            let over = *until <= now.boot_ms;
            if over {
                answer(asker_of(input), WireError::starting(record), out);
            }
            !over
        });
    }
}
