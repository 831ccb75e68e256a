//! Who may type: one client at most. Each change begins a new owner epoch, which fences what the former owner sent.

use super::core::{Busy, Holder, Session};
use super::io::{Asker, Frame, HolderInput, Input, Now, Op, Output, Reply, Size, StreamId, Target};
use super::transition::{Then, reply};
use super::window::Window;
use crate::ids::{ClientId, InputOffset, OwnerEpoch};
use crate::protocol::{Mode, WireError};
use crate::record::{Cause, State, Takeover};
use crate::store::{Event, MarkKind};

/// How long a holder may take to confirm a new owner, in milliseconds. Without an answer nothing is told of the
/// former owner's input.
const HANDOVER_MS_MAX: u64 = 2_000;

/// Sizes that follow each other within this are merged to the last one, in milliseconds.
const RESIZE_MERGE_MS: u64 = 20;

/// What the holder said of a new owner.
pub(super) enum Confirmed {
    /// Nothing, in time.
    No,
    /// Input is counted anew; the last epoch in which any was written, and how much.
    Former(Option<(OwnerEpoch, InputOffset)>),
}

impl Session {
    pub(super) fn request(
        &mut self,
        now: Now,
        asker: Option<Asker>,
        client: &ClientId,
        owner_epoch: Option<OwnerEpoch>,
        op: Op,
        out: &mut Vec<Output>,
    ) {
        if let Some(removed_at) = self.removed_at {
            let gone = WireError::gone(&self.facts.id().to_string(), removed_at);
            return reply(asker, Reply::Error(gone), out);
        }
        let current = self.facts.record().owner_epoch;
        let stale = owner_epoch.filter(|epoch| *epoch != current);
        let again = Input::Request { asker, client: client.clone(), owner_epoch: None, op: op.clone() };
        let refused = match (stale, op) {
            (Some(_), _) => Err(WireError::owner_changed(self.facts.record())),
            (None, Op::Kill { grace_ms, force, signal }) => {
                self.ask_kill(now, asker, client, (grace_ms, force, signal), out)
            }
            (None, Op::Signal(number, target)) => self.ask_signal(asker, client, number, target, out),
            (None, Op::Resize(size)) => self.ask_resize(now, asker, client, size, again, out),
            (None, Op::Write(offset)) => self.ask_write(now, asker, client, offset, again, out),
            (None, Op::Takeover(size)) => self.ask_takeover(asker, client, size, again, out),
            (None, Op::Release { to }) => self.ask_release(asker, client, to, out),
            (None, Op::Recover(wish)) => self.ask_recover(now, asker, wish, again, out),
            (None, Op::Rename(name)) => self.ask_rename(asker, client, name, out),
            (None, Op::Remove) => self.ask_remove(asker, again, out),
        };
        if let Err(error) = refused {
            match asker {
                Some(asker) => out.push(Output::Answer(asker, Reply::Error(error))),
                None => out.push(Output::Complain(client.clone(), error)),
            }
        }
    }

    fn ask_signal(
        &mut self,
        asker: Option<Asker>,
        client: &ClientId,
        number: u8,
        target: Target,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        self.must_own(client)?;
        self.must_run()?;
        self.to_holder(Frame::Signal(number, target), out);
        reply(asker, Reply::Signalled, out);
        Ok(())
    }

    fn ask_write(
        &mut self,
        now: Now,
        asker: Option<Asker>,
        client: &ClientId,
        offset: Option<InputOffset>,
        again: Input,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        self.must_own(client)?;
        self.must_run()?;
        if offset.is_none() && self.owner_stream().is_some() {
            return Err(WireError::input_on_stream(self.facts.record()));
        }
        if self.holder == Holder::Adopted {
            out.extend(asker.map(|asker| Output::Write(asker, offset)));
        } else {
            self.wait_for_holder(now, again);
        }
        Ok(())
    }

    pub(super) fn owns(&self, client: &ClientId) -> bool {
        self.facts.record().owner.as_ref() == Some(client)
    }

    pub(super) fn must_own(&self, client: &ClientId) -> Result<(), WireError> {
        if self.owns(client) { Ok(()) } else { Err(self.not_allowed()) }
    }

    /// Why somebody who does not own the session may not change it. Nobody owns one that is over.
    fn not_allowed(&self) -> WireError {
        match self.facts.state() {
            State::Finalized => WireError::exited(self.facts.record()),
            _ => self.role_forbidden(),
        }
    }

    pub(super) fn role_forbidden(&self) -> WireError {
        WireError::not_owner(self.facts.record())
    }

    /// Whether a stream may write, in this epoch, to a program that can read.
    pub(super) fn may_write(&self, stream: StreamId, epoch: OwnerEpoch) -> Result<(), WireError> {
        let owner = self.streams.get(&stream).filter(|viewer| viewer.mode == Mode::Owner && self.owns(&viewer.client));
        if owner.is_none() || epoch != self.facts.record().owner_epoch {
            return Err(self.not_allowed());
        }
        self.must_run()
    }

    fn must_run(&self) -> Result<(), WireError> {
        let record = self.facts.record();
        match record.state {
            State::Running => Ok(()),
            State::Starting => Err(WireError::starting(record)),
            State::Terminating => Err(WireError::terminating(record)),
            State::Exited | State::Finalized => Err(WireError::exited(record)),
        }
    }

    pub(super) fn client_here(&mut self, client: &ClientId) {
        if self.owns(client) {
            self.grace_until = None;
            self.owner_away = false;
        }
    }

    pub(super) fn client_gone(&mut self, now: Now, client: &ClientId) {
        if self.owns(client) {
            self.owner_away = true;
            if self.facts.state() < State::Exited {
                self.grace_until = Some(now.boot_ms + self.limits.owner_grace_ms);
            }
        }
    }

    pub(super) fn lapse(&mut self, out: &mut Vec<Output>) {
        self.change_owner(None, Cause::Lapsed, Then::Nothing, out);
    }

    /// Records a change of owner.
    pub(super) fn change_owner(&mut self, owner: Option<ClientId>, cause: Cause, then: Then, out: &mut Vec<Output>) {
        let (event, mark) = self.change_of_owner(owner, cause);
        self.propose(event, Some(mark), then, out);
    }

    /// The holder knows a later owner than the registry, which lost that change: whoever it was, the epoch is over.
    pub(super) fn epoch_lost(&mut self, then: Then, out: &mut Vec<Output>) {
        let (event, mark) = self.change_of_owner(None, Cause::Lapsed);
        self.report(event, Some(mark), then, out);
    }

    pub(super) fn change_of_owner(&self, owner: Option<ClientId>, cause: Cause) -> (Event, MarkKind) {
        let former = self.facts.record().owner.clone();
        let owner_epoch = self.facts.next_owner_epoch().max(self.epoch_known.next());
        let event = Event::OwnerChanged { former: former.clone(), owner: owner.clone(), owner_epoch, cause };
        (event, MarkKind::OwnerChanged { former, owner, owner_epoch, cause })
    }

    /// A change of owner is written: streams change their modes, the holder is told.
    pub(super) fn owner_changed(&mut self, now: Now, former: Option<ClientId>, then: Then, out: &mut Vec<Output>) {
        self.grace_until = None;
        self.owner_away = false;
        self.hand_over(now, former, then, out);
    }

    /// Tells the holder of the present owner epoch. Until it has answered nothing else is done, so that no input of
    /// the new owner passes it, and the former owner learns how much of its own was applied.
    pub(super) fn hand_over(&mut self, now: Now, former: Option<ClientId>, then: Then, out: &mut Vec<Output>) {
        if self.holder == Holder::Adopted && self.facts.state() < State::Exited {
            self.to_holder(Frame::Owner(self.facts.record().owner_epoch), out);
            self.busy = Busy::Handing { until: now.boot_ms + HANDOVER_MS_MAX, former, then };
        } else {
            self.window = Window::new(self.facts.record().owner_epoch, InputOffset(0));
            if !matches!(then, Then::GoOn) {
                self.change_modes(former.as_ref(), None, then.is_of_attach(), out);
            }
            self.then(now, then, out);
        }
    }

    /// A frame of the holder while a new owner is handed in: its answer, or something that waits.
    pub(super) fn handing(&mut self, now: Now, event: HolderInput, out: &mut Vec<Output>) {
        match event {
            HolderInput::OwnerOk { epoch, former } if epoch == self.facts.record().owner_epoch => {
                self.handed(now, &Confirmed::Former(former), out);
            }
            HolderInput::OwnerOk { .. } => {}
            HolderInput::Gone(_) => {
                self.defer(Input::Holder(event));
                self.handed(now, &Confirmed::No, out);
            }
            event => self.defer(Input::Holder(event)),
        }
    }

    /// The holder has confirmed the new owner, or was given up.
    pub(super) fn handed(&mut self, now: Now, confirmed: &Confirmed, out: &mut Vec<Output>) {
        let Busy::Handing { former: client, then, .. } = std::mem::replace(&mut self.busy, Busy::Free) else {
            return;
        };
        let epoch = self.facts.record().owner_epoch;
        self.window = Window::new(epoch, InputOffset(0));
        let before = OwnerEpoch(epoch.0.saturating_sub(1));
        let applied = match *confirmed {
            Confirmed::No => None,
            Confirmed::Former(Some((written, applied))) if written == before => Some((before, applied)),
            Confirmed::Former(_) => Some((before, InputOffset(0))),
        };
        // What was not told cannot be known: the count before it is no longer the last one.
        self.former = match *confirmed {
            Confirmed::Former(former) => former,
            Confirmed::No => None,
        };
        // A holder that is told again of the owner it has: nobody's mode changes.
        if !matches!(then, Then::GoOn) {
            self.change_modes(client.as_ref(), applied, then.is_of_attach(), out);
        }
        self.then(now, then, out);
    }

    /// The former owner's streams observe from now on; the newest stream of the new owner types. An epoch that begins
    /// with an attach is its stream's: one that typed before, of the same client, ends.
    pub(super) fn change_modes(
        &mut self,
        former: Option<&ClientId>,
        applied: Option<(OwnerEpoch, InputOffset)>,
        attaches: bool,
        out: &mut Vec<Output>,
    ) {
        let owner = self.facts.record().owner.clone();
        self.streams.retain(|id, viewer| {
            if viewer.mode == Mode::Observer {
                return true;
            }
            if let Some((epoch, applied)) = applied
                && Some(&viewer.client) == former
            {
                out.push(Output::InputFinal(*id, epoch, applied));
            }
            let owns = Some(&viewer.client) == owner.as_ref();
            if owns && attaches {
                out.push(Output::Replaced(*id));
                return false;
            }
            if !owns {
                viewer.mode = Mode::Observer;
            }
            true
        });
        // An owner who stays over a restore goes on in the same stream.
        if !attaches
            && self.owner_stream().is_none()
            && let Some((_, viewer)) =
                self.streams.iter_mut().rev().find(|(_, viewer)| Some(&viewer.client) == owner.as_ref())
        {
            viewer.mode = Mode::Owner;
        }
        if self.owner_stream().is_some() {
            self.had_epoch = self.facts.record().owner_epoch;
        }
    }

    fn ask_takeover(
        &mut self,
        asker: Option<Asker>,
        client: &ClientId,
        size: Option<Size>,
        again: Input,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        let record = self.facts.record();
        let over = record.state >= State::Exited;
        if !over && !self.owns(client) {
            if record.owner.is_some() && record.takeover == Takeover::Deny {
                return Err(WireError::takeover_denied(record));
            }
            let cause = if record.owner.is_some() { Cause::Takeover } else { Cause::Claimed };
            self.change_owner(Some(client.clone()), cause, Then::Again(Box::new(again)), out);
            return Ok(());
        }
        if let Some(size) = size
            && matches!(record.state, State::Starting | State::Running)
            && self.differs(size)
        {
            self.record_size(size, Then::Again(Box::new(again)), out);
            return Ok(());
        }
        reply(asker, Reply::TakenOver(self.facts.record().owner_epoch), out);
        Ok(())
    }

    fn ask_release(
        &mut self,
        asker: Option<Asker>,
        client: &ClientId,
        to: Option<ClientId>,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        let over = self.facts.state() >= State::Exited;
        let to_itself = to.as_ref() == Some(client);
        if !over && self.owns(client) && !to_itself {
            if let Some(to) = &to
                && !self.streams.values().any(|viewer| viewer.client == *to)
            {
                return Err(WireError::bad_request("to", "is not attached to this session"));
            }
            self.change_owner(to, Cause::Released, Then::Released(asker), out);
            return Ok(());
        }
        if !over && !self.owns(client) && self.facts.record().owner.is_some() {
            return Err(self.role_forbidden());
        }
        reply(asker, Reply::Released(self.facts.record().owner_epoch), out);
        Ok(())
    }

    fn ask_rename(
        &mut self,
        asker: Option<Asker>,
        client: &ClientId,
        name: String,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        let record = self.facts.record();
        if record.owner.is_some() && !self.owns(client) {
            return Err(self.role_forbidden());
        }
        if record.name == name {
            reply(asker, Reply::Renamed, out);
        } else {
            self.propose(Event::Renamed { name }, None, Then::Renamed(asker), out);
        }
        Ok(())
    }

    fn ask_resize(
        &mut self,
        now: Now,
        asker: Option<Asker>,
        client: &ClientId,
        size: Option<Size>,
        again: Input,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        self.must_own(client)?;
        if self.facts.state() != State::Starting {
            self.must_run()?;
        }
        let Some(size) = size.filter(|size| self.differs(*size)) else {
            self.resize_due = None;
            let record = self.facts.record();
            reply(asker, Reply::Resized(record.cols, record.rows), out);
            return Ok(());
        };
        // Whoever waits for an answer sets the pace; only what a stream sends is merged.
        let due = self.resized_at.map(|at| at + RESIZE_MERGE_MS).filter(|due| *due > now.boot_ms);
        match due {
            Some(due) if asker.is_none() => self.resize_due = Some((due, client.clone(), size)),
            _ => self.record_size(size, Then::Again(Box::new(again)), out),
        }
        Ok(())
    }

    /// The merged size is due: it is asked for as if it came now.
    pub(super) fn resize_now(&mut self) {
        if let Some((_, client, size)) = self.resize_due.take()
            && self.owns(&client)
        {
            self.defer(Input::Request { asker: None, client, owner_epoch: None, op: Op::Resize(Some(size)) });
        }
    }

    pub(super) fn differs(&self, size: Size) -> bool {
        (size.cols, size.rows) != (self.facts.record().cols, self.facts.record().rows)
    }

    pub(super) fn record_size(&mut self, size: Size, then: Then, out: &mut Vec<Output>) {
        self.pixels = size.pixels;
        self.resize_due = None;
        let (cols, rows) = (size.cols, size.rows);
        self.propose(Event::Resized { cols, rows }, Some(MarkKind::Resized { cols, rows }), then, out);
    }

    pub(super) fn resize_recorded(&mut self, now: Now, out: &mut Vec<Output>) {
        self.resized_at = Some(now.boot_ms);
        let record = self.facts.record();
        let size = Size { cols: record.cols, rows: record.rows, pixels: self.pixels };
        self.to_holder(Frame::Resize(size), out);
    }

    fn ask_remove(&mut self, asker: Option<Asker>, again: Input, out: &mut Vec<Output>) -> Result<(), WireError> {
        match self.facts.state() {
            State::Finalized => {}
            // A full store: removing makes room, so it does not wait for the end to be recorded.
            State::Exited if self.owes("finalized") => {}
            State::Exited => {
                self.leaving.push(again);
                return Ok(());
            }
            _ => return Err(WireError::running(self.facts.record())),
        }
        self.propose(Event::Removed { cause: "request".to_owned() }, None, Then::Removed(asker), out);
        Ok(())
    }

    /// A session that has ended goes, unless a restore or a request came first.
    pub(super) fn expire(&mut self, cause: &str, out: &mut Vec<Output>) {
        if self.facts.state() == State::Finalized && self.removed_at.is_none() {
            self.propose(Event::Removed { cause: cause.to_owned() }, None, Then::Removed(None), out);
        }
    }
}
