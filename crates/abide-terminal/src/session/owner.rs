//! Who may type: one client at most. Each change begins a new owner epoch, which fences what the former owner sent.

use super::core::{Busy, Holder, Session, Then};
use super::io::{Asker, Frame, HolderInput, Input, Now, Op, Output, Reply, Size, StreamId, Target};
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
        let current = self.facts.record().owner_epoch;
        let stale = owner_epoch.filter(|epoch| *epoch != current);
        let again = Input::Request { asker, client: client.clone(), owner_epoch: None, op: op.clone() };
        let refused = match (stale, op) {
            (Some(_), _) => Err(WireError::owner_changed(self.facts.record())),
            (None, Op::Kill { grace_ms, force, signal }) => {
                self.ask_kill(now, asker, client, (grace_ms, force, signal), out)
            }
            (None, Op::Signal(number, target)) => self.ask_signal(asker, client, number, target, out),
            (None, Op::Resize(size)) => self.ask_resize(now, asker, client, size, out),
            (None, Op::Takeover(size)) => self.ask_takeover(asker, client, size, again, out),
            (None, Op::Release { to }) => self.ask_release(asker, client, to, out),
            (None, Op::Remove) => self.ask_remove(asker, out),
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
        if let Some(asker) = asker {
            out.push(Output::Answer(asker, Reply::Signalled));
        }
        Ok(())
    }

    pub(super) fn owns(&self, client: &ClientId) -> bool {
        self.facts.record().owner.as_ref() == Some(client)
    }

    pub(super) fn must_own(&self, client: &ClientId) -> Result<(), WireError> {
        if self.owns(client) { Ok(()) } else { Err(self.role_forbidden()) }
    }

    pub(super) fn role_forbidden(&self) -> WireError {
        WireError::not_owner(self.facts.record())
    }

    /// Whether a stream may write, in this epoch, to a program that can read.
    pub(super) fn may_write(&self, stream: StreamId, epoch: OwnerEpoch) -> Result<(), WireError> {
        let viewer = self.streams.get(&stream).ok_or_else(|| self.role_forbidden())?;
        let record = self.facts.record();
        if viewer.mode != Mode::Owner || !self.owns(&viewer.client) || epoch != record.owner_epoch {
            return Err(self.role_forbidden());
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
        }
    }

    pub(super) fn client_gone(&mut self, now: Now, client: &ClientId) {
        if self.owns(client) && self.facts.state() < State::Exited {
            self.grace_until = Some(now.boot_ms + self.limits.owner_grace_ms);
        }
    }

    pub(super) fn lapse(&mut self, out: &mut Vec<Output>) {
        self.grace_until = None;
        self.change_owner(None, Cause::Lapsed, None, out);
    }

    /// Records a change of owner. With `again` the operation that needs it goes on afterwards and may be refused;
    /// without, the change has happened and waits for room.
    pub(super) fn change_owner(
        &mut self,
        owner: Option<ClientId>,
        cause: Cause,
        again: Option<Input>,
        out: &mut Vec<Output>,
    ) {
        let former = self.facts.record().owner.clone();
        let owner_epoch = self.facts.next_owner_epoch();
        let event = Event::OwnerChanged { former: former.clone(), owner: owner.clone(), owner_epoch, cause };
        let mark = MarkKind::OwnerChanged { former, owner, owner_epoch, cause };
        match again {
            Some(input) => self.propose(event, Some(mark), Then::Again(Box::new(input)), out),
            None => self.report(event, Some(mark), out),
        }
    }

    /// A change of owner is written: streams change their modes, the holder is told.
    pub(super) fn owner_changed(&mut self, now: Now, former: Option<ClientId>, then: Then, out: &mut Vec<Output>) {
        self.grace_until = None;
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
            self.change_modes(former.as_ref(), None, out);
            self.then(then);
        }
    }

    /// A frame of the holder while a new owner is handed in: its answer, or something that waits.
    pub(super) fn handing(&mut self, event: HolderInput, out: &mut Vec<Output>) {
        match event {
            HolderInput::OwnerOk { epoch, former } if epoch == self.facts.record().owner_epoch => {
                self.handed(&Confirmed::Former(former), out);
            }
            HolderInput::OwnerOk { .. } => {}
            HolderInput::Gone(_) => {
                self.defer(Input::Holder(event));
                self.handed(&Confirmed::No, out);
            }
            event => self.defer(Input::Holder(event)),
        }
    }

    /// The holder has confirmed the new owner, or was given up.
    pub(super) fn handed(&mut self, confirmed: &Confirmed, out: &mut Vec<Output>) {
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
        if let Confirmed::Former(former) = *confirmed {
            self.former = former;
        }
        self.change_modes(client.as_ref(), applied, out);
        self.then(then);
    }

    /// The former owner's streams observe from now on; the newest stream of the new owner types.
    fn change_modes(
        &mut self,
        former: Option<&ClientId>,
        applied: Option<(OwnerEpoch, InputOffset)>,
        out: &mut Vec<Output>,
    ) {
        let owner = self.facts.record().owner.clone();
        for (id, viewer) in &mut self.streams {
            if viewer.mode == Mode::Owner && Some(&viewer.client) != owner.as_ref() {
                viewer.mode = Mode::Observer;
                if let Some((epoch, applied)) = applied
                    && Some(&viewer.client) == former
                {
                    out.push(Output::InputFinal(*id, epoch, applied));
                }
            }
        }
        let newest = self.streams.iter_mut().rev().find(|(_, viewer)| Some(&viewer.client) == owner.as_ref());
        if let Some((_, viewer)) = newest {
            viewer.mode = Mode::Owner;
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
            self.change_owner(Some(client.clone()), cause, Some(again), out);
            return Ok(());
        }
        if !over
            && let Some(size) = size
            && self.differs(size)
        {
            self.record_size(size, Then::Again(Box::new(again)), out);
            return Ok(());
        }
        if let Some(asker) = asker {
            out.push(Output::Answer(asker, Reply::TakenOver(self.facts.record().owner_epoch)));
        }
        Ok(())
    }

    fn ask_release(
        &mut self,
        asker: Option<Asker>,
        client: &ClientId,
        to: Option<ClientId>,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        if self.facts.state() < State::Exited {
            if self.owns(client) {
                if let Some(to) = &to
                    && !self.streams.values().any(|viewer| viewer.client == *to)
                {
                    return Err(WireError::bad_request("to", "is not attached to this session"));
                }
                // Asked again by somebody who owns it no longer, it only has to be answered.
                let done =
                    Input::Request { asker, client: client.clone(), owner_epoch: None, op: Op::Release { to: None } };
                self.change_owner(to, Cause::Released, Some(done), out);
                return Ok(());
            }
            if self.facts.record().owner.is_some() {
                return Err(self.role_forbidden());
            }
        }
        if let Some(asker) = asker {
            out.push(Output::Answer(asker, Reply::Released(self.facts.record().owner_epoch)));
        }
        Ok(())
    }

    fn ask_resize(
        &mut self,
        now: Now,
        asker: Option<Asker>,
        client: &ClientId,
        size: Option<Size>,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        self.must_own(client)?;
        if self.facts.state() != State::Starting {
            self.must_run()?;
        }
        if let Some(asker) = asker {
            let record = self.facts.record();
            let (cols, rows) = size.map_or((record.cols, record.rows), |size| (size.cols, size.rows));
            out.push(Output::Answer(asker, Reply::Resized(cols, rows)));
        }
        let Some(size) = size.filter(|size| self.differs(*size)) else {
            self.resize_due = None;
            return Ok(());
        };
        let due = self.resized_at.map(|at| at + RESIZE_MERGE_MS).filter(|due| *due > now.boot_ms);
        match due {
            Some(due) => self.resize_due = Some((due, client.clone(), size)),
            None => self.record_size(size, Then::Nothing, out),
        }
        Ok(())
    }

    pub(super) fn resize_now(&mut self, _now: Now, out: &mut Vec<Output>) {
        if let Some((_, client, size)) = self.resize_due.take()
            && self.owns(&client)
            && self.differs(size)
            && matches!(self.facts.state(), State::Starting | State::Running)
        {
            self.record_size(size, Then::Nothing, out);
        }
    }

    pub(super) fn differs(&self, size: Size) -> bool {
        (size.cols, size.rows) != (self.facts.record().cols, self.facts.record().rows)
    }

    pub(super) fn record_size(&mut self, size: Size, then: Then, out: &mut Vec<Output>) {
        self.facts.created.pixels = size.pixels;
        let (cols, rows) = (size.cols, size.rows);
        self.propose(Event::Resized { cols, rows }, Some(MarkKind::Resized { cols, rows }), then, out);
    }

    pub(super) fn resize_recorded(&mut self, now: Now, out: &mut Vec<Output>) {
        self.resized_at = Some(now.boot_ms);
        let record = self.facts.record();
        let size = Size { cols: record.cols, rows: record.rows, pixels: self.facts.created.pixels };
        self.to_holder(Frame::Resize(size), out);
    }

    fn ask_remove(&mut self, asker: Option<Asker>, out: &mut Vec<Output>) -> Result<(), WireError> {
        if self.facts.state() != State::Finalized {
            return Err(WireError::running(self.facts.record()));
        }
        self.propose(Event::Removed { cause: "request".to_owned() }, None, Then::Answer(asker), out);
        Ok(())
    }
}
