//! What happens around a session: what clients do, how the world goes on, what breaks.

use abide_terminal::RestoreAs;
use abide_terminal::protocol::WireError;
use abide_wire::Code;

use super::*;

impl World<'_> {
    /// One thing happens, whatever it is.
    pub(crate) fn step(&mut self) {
        if self.dropped || self.never_was {
            return;
        }
        self.prepared_behind &= !self.idle();
        match self.random.below(100) {
            0..=29 => self.client_acts(),
            30..=73 => {
                self.goes_on();
            }
            74..=79 => self.settle(),
            80..=91 => self.time_passes(),
            92..=96 => self.program_acts(),
            _ => self.breaks(),
        }
    }

    fn client_acts(&mut self) {
        let any = ClientId::try_from(KINDS[self.random.index(4)].to_owned()).unwrap();
        let owner = self.core.facts().record().owner.clone().filter(|_| self.random.one_in(2));
        let client = owner.unwrap_or(any);
        if !self.clients[&client].connected {
            return self.connect(&client);
        }
        match self.random.below(30) {
            0 => self.disconnect(&client),
            1..=5 => self.attach(&client),
            6 => self.stream_ends(),
            7..=9 => self.types(),
            10 | 11 => self.resizes_in_band(&client),
            12 | 13 => {
                let size = self.any_size();
                self.ask(client, Op::Resize(size));
            }
            14 | 15 => {
                let target = [Target::Leader, Target::Foreground, Target::LeadersGroup][self.random.index(3)];
                self.ask(client, Op::Signal(2, target));
            }
            16 | 17 => {
                let size = self.any_size();
                self.ask(client, Op::Takeover(size));
            }
            18 | 19 => {
                let to = ClientId::try_from(KINDS[self.random.index(4)].to_owned()).unwrap();
                let to = self.random.one_in(2).then_some(to);
                self.ask(client, Op::Release { to });
            }
            20 | 21 => {
                let grace_ms = [0, 300, 5_000, 60_000][self.random.index(4)];
                let (force, signal) = (self.random.one_in(4), self.random.one_in(4).then_some(3));
                self.ask(client, Op::Kill { grace_ms, force, signal });
            }
            22 | 23 => {
                let wish = [None, Some(RestoreAs::Shell), Some(RestoreAs::Command)][self.random.index(3)];
                self.ask(client, Op::Recover(wish));
            }
            24 | 25 => {
                let name = ["build", "quiet-heron", "build-2"][self.random.index(3)];
                self.ask(client, Op::Rename(name.to_owned()));
            }
            26 | 27 => {
                let offset = self.random.one_in(2).then_some(InputOffset(0));
                self.ask(client, Op::Write(offset));
            }
            _ => self.ask(client, Op::Remove),
        }
    }

    fn any_size(&mut self) -> Option<Size> {
        let sizes = [(80, 24), (100, 30), (120, 40)];
        let (cols, rows) = sizes[self.random.index(3)];
        (!self.random.one_in(5)).then_some(Size { cols, rows, pixels: (0, 0) })
    }

    fn connect(&mut self, client: &ClientId) {
        let state = self.clients.get_mut(client).unwrap();
        state.connected = true;
        let owns = self.core.facts().record().owner.as_ref() == Some(client);
        if owns && self.core.facts().state() < State::Exited && self.now.boot_ms > state.gone_at {
            self.coverage.saw("grace ended by a return");
        }
        self.feed(Input::ClientHere(client.clone()));
    }

    fn disconnect(&mut self, client: &ClientId) {
        let streams: Vec<_> = self.streams.iter().filter(|(_, of)| *of == client).map(|(id, _)| *id).collect();
        for stream in streams {
            self.stream_gone(stream);
        }
        let state = self.clients.get_mut(client).unwrap();
        (state.connected, state.gone_at) = (false, self.now.boot_ms);
        self.feed(Input::ClientGone(client.clone()));
    }

    fn stream_gone(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
        self.replaced.remove(&stream);
        self.feed(Input::StreamGone(stream));
        assert_eq!(self.core.mode(stream), None);
        let waits = |asked: &Asked| matches!(&asked.what, What::Attach(attach) if attach.stream == stream);
        assert!(!self.asked.values().any(waits), "an attach of a stream that is gone is given up");
    }

    fn stream_ends(&mut self) {
        let ended = self.replaced.first().copied();
        let nth = self.random.index(self.streams.len());
        if let Some(stream) = ended.or_else(|| self.streams.keys().nth(nth).copied()) {
            self.stream_gone(stream);
        }
    }

    fn attach(&mut self, client: &ClientId) {
        self.next += 1;
        let stream = StreamId(self.next);
        let mode = if self.random.one_in(2) { Mode::Owner } else { Mode::Observer };
        // One that comes back, or another one.
        let had = self.typists.iter().rfind(|(_, typist)| *typist == client).map(|(epoch, _)| *epoch);
        let owner_epoch = had.filter(|_| self.random.one_in(2));
        let attach = Attach { stream, client: client.clone(), mode, size: self.any_size(), owner_epoch };
        let record = self.core.facts().record();
        let expected = match record.state {
            _ if self.removed => vec!["SESSION_GONE"],
            State::Starting => {
                vec!["ok", "SESSION_STARTING", "SESSION_OWNED", "LIMIT_OBSERVERS", "DETACHED", "SESSION_GONE"]
            }
            State::Running | State::Terminating if mode == Mode::Owner => {
                let free = record.owner.is_none() || record.owner.as_ref() == Some(client);
                match (free, self.adopted) {
                    (true, true) => vec!["ok", "DETACHED"],
                    (false, true) => vec!["SESSION_OWNED"],
                    // It waits for the holder, and may find another state then.
                    (_, false) => {
                        vec!["ok", "SESSION_STARTING", "SESSION_OWNED", "LIMIT_OBSERVERS", "DETACHED", "SESSION_GONE"]
                    }
                }
            }
            _ if self.core.observers() >= LIMITS.observers_max => vec!["LIMIT_OBSERVERS"],
            _ => vec!["ok"],
        };
        self.streams.insert(stream, client.clone());
        let asker = self.asker(What::Attach(attach.clone()), Some(expected));
        self.feed(Input::Attach(asker, attach));
    }

    fn ask(&mut self, client: ClientId, op: Op) {
        let record = self.core.facts().record();
        let current = record.owner_epoch;
        let epoch = match self.random.below(8) {
            0 => Some(current),
            1 => Some(OwnerEpoch(current.0 + 1)),
            _ => None,
        };
        let expected = self.expected(&client, &op, epoch);
        let idle = self.idle();
        if let Op::Kill { force, .. } = op
            && idle
            && (expected == ["already"] || expected == ["ok"])
            && let Some(kill) = &mut self.kill
            && force
        {
            kill.deadline = kill.deadline.min(self.now.boot_ms);
            match self.state() {
                State::Starting => self.coverage.saw("forced while starting"),
                State::Terminating => self.coverage.saw("forced"),
                _ => {}
            }
        }
        if matches!(op, Op::Takeover(_)) && self.owns(&client) && idle && epoch.is_none() {
            self.coverage.saw("takeover of one's own");
        }
        if let (Op::Kill { force: true, .. }, false) = (&op, idle) {
            // It is looked at later; from then on it may kill, whatever the record says.
            self.forced = true;
        }
        // A recover waits for the end of the session, and for what comes of it.
        let waits = matches!(op, Op::Recover(_)) && self.state() >= State::Exited;
        let asker = self.asker(What::Op(client.clone(), op.clone(), epoch), Some(expected).filter(|_| !waits));
        self.feed(Input::Request { asker: Some(asker), client, owner_epoch: epoch, op });
    }

    fn owns(&self, client: &ClientId) -> bool {
        self.core.facts().record().owner.as_ref() == Some(client)
    }

    /// The table of operations by state, as the specification has it.
    fn expected(&self, client: &ClientId, op: &Op, epoch: Option<OwnerEpoch>) -> Vec<&'static str> {
        let record = self.core.facts().record();
        let (owns, owned, over) = (self.owns(client), record.owner.is_some(), record.state >= State::Exited);
        if self.removed {
            return vec!["SESSION_GONE"];
        }
        if epoch.is_some_and(|epoch| epoch != record.owner_epoch) {
            return vec!["OWNER_CHANGED"];
        }
        match op {
            Op::Signal(..) | Op::Resize(_) => match record.state {
                State::Finalized => vec!["SESSION_EXITED"],
                _ if !owns => vec!["ROLE_FORBIDDEN"],
                State::Starting if matches!(op, Op::Resize(_)) => vec!["ok"],
                State::Starting => vec!["SESSION_STARTING"],
                State::Running => vec!["ok"],
                State::Terminating => vec!["SESSION_TERMINATING"],
                State::Exited => vec!["SESSION_EXITED"],
            },
            Op::Write(offset) => match record.state {
                State::Finalized => vec!["SESSION_EXITED"],
                _ if !owns => vec!["ROLE_FORBIDDEN"],
                State::Starting => vec!["SESSION_STARTING"],
                State::Running if offset.is_none() && self.core.owner_stream().is_some() => vec!["INPUT_ON_STREAM"],
                State::Running if self.adopted => vec!["ok"],
                // It waits for the holder, and is looked at again.
                State::Running => vec![
                    "ok",
                    "SESSION_STARTING",
                    "SESSION_TERMINATING",
                    "SESSION_EXITED",
                    "SESSION_GONE",
                    "ROLE_FORBIDDEN",
                    "INPUT_ON_STREAM",
                ],
                State::Terminating => vec!["SESSION_TERMINATING"],
                State::Exited => vec!["SESSION_EXITED"],
            },
            Op::Kill { .. } if over => vec!["already"],
            Op::Kill { .. } if !owns => vec!["ROLE_FORBIDDEN"],
            Op::Kill { .. } if self.core.facts().kill.is_some() => vec!["already"],
            Op::Kill { .. } => vec!["ok"],
            Op::Takeover(_) if over || owns || !owned => vec!["ok"],
            Op::Takeover(_) if record.takeover == Takeover::Deny => vec!["TAKEOVER_DENIED"],
            Op::Takeover(_) => vec!["ok"],
            Op::Release { .. } if over => vec!["ok"],
            Op::Release { to: Some(to) } if owns && to != client && !self.attached(to) => vec!["BAD_REQUEST"],
            Op::Release { .. } if owns || !owned => vec!["ok"],
            Op::Release { .. } => vec!["ROLE_FORBIDDEN"],
            Op::Rename(_) if owns || !owned => vec!["ok"],
            Op::Rename(_) => vec!["ROLE_FORBIDDEN"],
            Op::Recover(_) => vec!["SESSION_RUNNING"],
            // A lost program's session may run again by the time that its end is recorded.
            Op::Remove if record.state == State::Exited && record.restore.acts().is_some() => {
                vec!["ok", "SESSION_GONE", "SESSION_RUNNING"]
            }
            Op::Remove if over => vec!["ok", "SESSION_GONE"],
            Op::Remove => vec!["SESSION_RUNNING"],
        }
    }

    fn attached(&self, client: &ClientId) -> bool {
        self.streams.iter().any(|(id, of)| of == client && self.core.mode(*id).is_some())
    }

    fn resizes_in_band(&mut self, client: &ClientId) {
        let Some(size) = self.any_size() else { return };
        let record = self.core.facts().record();
        let taken = self.idle()
            && self.owns(client)
            && record.state == State::Running
            && (size.cols, size.rows) != (record.cols, record.rows);
        self.feed(Input::Request {
            asker: None,
            client: client.clone(),
            owner_epoch: None,
            op: Op::Resize(Some(size)),
        });
        if taken && self.journal.under_way.is_none() {
            let due = self.core.poll_timeout().expect("a size that is held back has a time");
            assert!(due <= self.now.boot_ms + 20);
            self.coverage.saw("resizes merged");
        }
    }

    /// A stream sends input: what follows on what it sent, mostly.
    fn types(&mut self) {
        let nth = self.random.index(self.streams.len());
        let owner = self.core.owner_stream().filter(|_| !self.random.one_in(4));
        let Some(stream) = owner.or_else(|| self.streams.keys().nth(nth).copied()) else { return };
        let record = self.core.facts().record();
        let current = record.owner_epoch;
        let epoch = if self.random.one_in(8) { OwnerEpoch(current.0.saturating_sub(1)) } else { current };
        let applied = self.holder.as_ref().map_or(InputOffset(0), |holder| holder.applied);
        let end = if self.accepted.0 == current { self.accepted.1 } else { 0 };
        let offset = match self.random.below(8) {
            0 => end + 1,
            1 => end.saturating_sub(3),
            _ => end,
        };
        let len = if self.random.one_in(3) { 40_000 } else { self.random.below(5) };
        let may = self.streams.get(&stream) == record.owner.as_ref() && self.core.mode(stream) == Some(Mode::Owner);
        let expected = match record.state {
            State::Finalized => Err("SESSION_EXITED"),
            _ if !may || epoch != current => Err("ROLE_FORBIDDEN"),
            State::Starting => Err("SESSION_STARTING"),
            State::Terminating => Err("SESSION_TERMINATING"),
            State::Exited => Err("SESSION_EXITED"),
            State::Running if self.core.is_handing_over() => Ok(None),
            State::Running if !self.adopted => return,
            // An epoch that the registry lost is still to be recorded: the input waits for the one behind it.
            State::Running if self.holder.as_ref().is_some_and(|holder| holder.epoch > current) => Ok(None),
            State::Running if offset > end => Err("INPUT_GAP"),
            State::Running if offset + len > applied.0 + WINDOW => Err("INPUT_QUEUE_FULL"),
            State::Running => Ok(Some((end - offset).min(len))),
        };
        let state = record.state;
        let got = self.core.input(stream, epoch, InputOffset(offset), usize::try_from(len).unwrap(), applied);
        self.say(|| format!("input {stream:?} {epoch} {offset}+{len}: {got:?}"));
        let outcome = match &got {
            Ok(known) => Ok(known.map(|known| known as u64)),
            Err(error) => Err(error.code.as_str()),
        };
        assert_eq!(outcome, expected, "input of {stream:?} in {state:?}");
        if self.idle() {
            let name = outcome.err().unwrap_or("ok");
            self.coverage.asked("write", format!("{state:?}"), name.to_owned());
        }
        match outcome {
            Err("INPUT_GAP") => self.coverage.saw("input gap"),
            Err("INPUT_QUEUE_FULL") => self.coverage.saw("input window full"),
            Err("ROLE_FORBIDDEN") if epoch != current => self.coverage.saw("input stale"),
            Ok(Some(known)) => {
                if known > 0 {
                    self.coverage.saw("input repeated");
                }
                self.accepted = (current, end.max(offset + len));
                if let Some(holder) = &mut self.holder
                    && known < len
                {
                    let offset = InputOffset(offset + known);
                    holder.inbox.push_back(Sent::Input { epoch, offset, len: len - known });
                }
            }
            _ => {}
        }
    }

    /// Something that is under way goes on; false if nothing is.
    fn goes_on(&mut self) -> bool {
        let first = self.random.below(10);
        (0..10).any(|nth| match (first + nth) % 10 {
            0 => self.journal_writes(),
            1 => self.journal_syncs(),
            2 => self.log_is_created(),
            3 => self.launch_ends(),
            4 => self.holder_reads(),
            5 => self.holder_is_heard(),
            6 => self.output_is_taken(),
            7 => self.processes_are_found(),
            8 => self.restore_is_prepared(),
            _ => self.rest_is_told(),
        })
    }

    /// Everything that is under way comes to its end.
    pub(crate) fn settle(&mut self) {
        let mut turns = 0;
        while self.goes_on() {
            turns += 1;
            assert!(turns < 10_000, "it never comes to rest");
        }
    }

    fn journal_writes(&mut self) -> bool {
        let refused = self.journal.full && (self.essential_full || self.journal.needs_room());
        match (&self.journal.under_way, refused) {
            (None, _) => return false,
            (Some(_), true) => self.refuse(Refusal::Full),
            (Some(_), false) => self.write(),
        }
        true
    }

    fn journal_syncs(&mut self) -> bool {
        let due = self.journal.durable < self.journal.last();
        if due {
            // One event, or all of them.
            let behind = self.journal.events.iter().map(|(number, _)| *number).find(|at| *at > self.journal.durable);
            let all = self.random.one_in(2);
            self.journal.durable = behind.filter(|_| !all).unwrap_or(self.journal.last());
            self.feed(Input::Durable(self.journal.durable));
        }
        due
    }

    fn log_is_created(&mut self) -> bool {
        let due = std::mem::take(&mut self.log_due);
        if due {
            self.sync();
            self.log_there = true;
            self.feed(Input::LogCreated);
        }
        due
    }

    fn launch_ends(&mut self) -> bool {
        let due = std::mem::take(&mut self.launching);
        if due && self.random.one_in(4) {
            self.feed(Input::Holder(HolderInput::Gone(Gone { status: None, rebooted: false, errno: 0 })));
        } else if due {
            let record = self.core.facts().record();
            let mut holder = Holder::new(record.owner_epoch, (record.cols, record.rows), self.stubborn);
            // Another owner may have come while it was launched.
            if self.random.one_in(10) {
                holder.epoch = OwnerEpoch(record.owner_epoch.0.saturating_sub(1));
            }
            self.adopt(holder);
        }
        due
    }

    fn adopt(&mut self, mut holder: Holder) {
        holder.adopted();
        let first = holder.outbox.pop_front().expect("it says what it is");
        self.accepted = (holder.epoch, holder.applied.0);
        self.holder = Some(holder);
        (self.adopted, self.hoping) = (true, true);
        self.end_told = false;
        self.feed(Input::Holder(first));
    }

    fn holder_reads(&mut self) -> bool {
        let Some(holder) = &mut self.holder else { return false };
        if holder.inbox.is_empty() || holder.gone || !self.adopted {
            return false;
        }
        let before = (holder.epoch, holder.applied.0);
        holder.read(&mut self.random);
        if holder.epoch != before.0 {
            self.written.insert(before.0, before.1);
        }
        true
    }

    fn holder_is_heard(&mut self) -> bool {
        let state = self.state();
        let Some(holder) = self.holder.as_mut().filter(|_| self.adopted) else { return false };
        if let Some(said) = holder.outbox.pop_front() {
            if matches!(said, HolderInput::Started { .. } | HolderInput::Failed { .. }) {
                let in_time = self.start_by.take().is_some_and(|by| self.now.boot_ms < by);
                self.runs |= in_time && matches!(said, HolderInput::Started { .. });
            }
            if let HolderInput::Ended { .. } = said
                && state == State::Terminating
                && !holder.others.is_empty()
            {
                self.coverage.saw("ended, others left");
            }
            self.feed(Input::Holder(said));
            return true;
        }
        if holder.gone {
            self.holder_gone(None);
        }
        self.lost.is_some()
    }

    /// The holder's connection has ended; its exit file may tell how its program did.
    fn holder_gone(&mut self, status: Option<u32>) {
        if let Some(holder) = self.holder.take() {
            if matches!(self.state(), State::Finalized) {
                assert!(holder.starts <= 1);
            }
            let told = match holder.program {
                Program::Ended(known) => status.or(self.random.one_in(2).then_some(known)),
                _ => None,
            };
            (self.lost, self.rest_due) = (Some(Gone { status: told, rebooted: false, errno: 0 }), true);
            self.adopted = false;
        }
    }

    fn rest_is_told(&mut self) -> bool {
        if std::mem::take(&mut self.rest_due) {
            self.feed(Input::Drained { head: ByteOffset(self.head), end: false });
            return true;
        }
        let Some(gone) = self.lost.take() else { return false };
        self.hoping &= !self.idle();
        self.feed(Input::Holder(HolderInput::Gone(gone)));
        true
    }

    fn output_is_taken(&mut self) -> bool {
        let ended = self.holder.as_ref().is_some_and(Holder::output_ended);
        let due = self.adopted && self.draining && ended && !self.end_told && !self.journal.full;
        if due {
            self.end_told = true;
            self.feed(Input::Drained { head: ByteOffset(self.head), end: true });
        }
        due
    }

    fn processes_are_found(&mut self) -> bool {
        let due = std::mem::take(&mut self.finding);
        if due {
            let mut found = Vec::new();
            if let Some(holder) = &self.holder {
                if holder.program == Program::Runs {
                    found.push(process(LEADER));
                }
                found.extend(holder.others.iter().map(|pid| process(ProcessId { pid: *pid, start_time: 100 })));
            }
            self.feed(Input::Found(found));
        }
        due
    }

    fn restore_is_prepared(&mut self) -> bool {
        let due = std::mem::take(&mut self.preparing);
        if due {
            let prepared = if self.random.one_in(4) {
                Err(WireError::new(Code::CommandNotFound, "gone"))
            } else {
                Ok(Restart { boot_id: "b".to_owned(), name: None })
            };
            self.prepared_behind = !self.idle();
            self.feed(Input::RestorePrepared(prepared));
        }
        due
    }

    fn time_passes(&mut self) {
        let due = self.core.poll_timeout();
        let to = match (self.random.below(4), due) {
            (0, _) | (_, None) => self.now.boot_ms + self.random.below(50),
            (1, _) => self.now.boot_ms + self.random.below(3_000),
            (_, Some(due)) => due.max(self.now.boot_ms),
        };
        self.clock_to(to);
    }

    /// Time goes on, and every timer on the way there is told of.
    pub(crate) fn clock_to(&mut self, to: u64) {
        self.now =
            Now { boot_ms: to.max(self.now.boot_ms), wall_ms: self.now.wall_ms + 1 + to - self.now.boot_ms.min(to) };
        let handing = self.core.is_handing_over();
        let mut turns = 0;
        while self.core.poll_timeout().is_some_and(|due| due <= self.now.boot_ms) {
            self.feed(Input::Timeout);
            turns += 1;
            assert!(turns < 20, "a timer that never passes: {:?}", self.core.poll_timeout());
            if self.dropped || self.never_was {
                return;
            }
        }
        if handing && turns > 0 {
            self.coverage.saw("handover without an answer");
        }
        if self.idle() && self.state() == State::Starting && !self.journal.full {
            assert!(self.start_by.is_none_or(|by| self.now.boot_ms < by), "a start has its deadline");
        }
    }

    fn program_acts(&mut self) {
        let Some(holder) = &mut self.holder else { return };
        if holder.program == Program::Runs {
            match self.random.below(5) {
                0 | 1 => {
                    let status = [0, 256, 15][self.random.index(3)];
                    holder.end(status);
                }
                2 | 3 => {
                    let pid = 5_000 + u32::try_from(self.random.below(3)).unwrap();
                    holder.others.insert(pid);
                }
                _ => self.head += self.random.below(100),
            }
        } else if !holder.stubborn {
            holder.others.pop_first();
        }
    }

    /// Something fails, or dies.
    fn breaks(&mut self) {
        match self.random.below(8) {
            0 | 1 => {
                self.journal.full = true;
                self.essential_full = self.random.one_in(2);
            }
            2 | 3 => self.space(),
            4 if self.journal.under_way.is_some() && !self.journal.full => {
                let refusal = if self.random.one_in(4) { Refusal::Failed } else { Refusal::Full };
                self.refuse(refusal);
                self.essential_full = true;
            }
            5 => {
                let status = self.holder.as_ref().and_then(|holder| match holder.program {
                    Program::Ended(status) => Some(status),
                    _ => None,
                });
                if self.adopted {
                    self.holder_gone(status);
                }
            }
            6 => self.daemon_dies(),
            _ => {}
        }
    }

    /// Another daemon takes up what the registry tells; what was under way was written, or not.
    fn daemon_dies(&mut self) {
        if self.journal.events.is_empty() || self.removed {
            return;
        }
        if self.random.one_in(2) && !self.journal.full {
            self.journal.write(self.id, self.now.wall_ms);
        }
        self.journal.under_way = None;
        self.say(|| "the daemon dies".to_owned());
        self.asked.clear();
        let Some(facts) = self.journal.facts(self.id).cloned() else {
            self.dropped = true;
            return;
        };
        self.coverage.saw(match facts.state() {
            State::Starting => "daemon died in Starting",
            State::Running => "daemon died in Running",
            State::Terminating => "daemon died in Terminating",
            State::Exited => "daemon died in Exited",
            State::Finalized => "daemon died in Finalized",
        });
        self.kill = facts.kill.map(|kill| KillModel { deadline: kill.t0_boot_ms + kill.grace_ms, sigkill_at: None });
        let owner = facts.record().owner.clone();
        self.core = Session::new(facts, LIMITS);
        (self.adopted, self.hoping, self.draining) = (false, false, false);
        (self.launching, self.finding, self.preparing) = (false, false, false);
        self.prepared_behind = false;
        (self.lost, self.rest_due, self.log_due) = (None, false, false);
        (self.launches, self.runs) = (0, false);
        self.streams.clear();
        self.replaced.clear();
        for client in self.clients.values_mut().filter(|client| client.connected) {
            (client.connected, client.gone_at) = (false, self.now.boot_ms);
        }
        self.journal.full = false;
        if let Some(owner) = owner {
            self.clients.get_mut(&owner).unwrap().gone_at = self.now.boot_ms;
            self.feed(Input::ClientGone(owner));
        }
        self.sync();
        self.start_by = (self.state() == State::Starting).then_some(self.now.boot_ms + 10_000);
        let holder = self.holder.take().filter(|holder| !holder.gone);
        self.recover(holder);
    }

    fn recover(&mut self, holder: Option<Holder>) {
        let state = self.state();
        if state == State::Finalized {
            return;
        }
        match holder {
            Some(mut holder) => {
                // A failed sync may have taken a change of owner back.
                if self.random.one_in(8) {
                    self.written.insert(holder.epoch, holder.applied.0);
                    holder.former =
                        Some((holder.epoch, holder.applied)).filter(|former| former.1.0 > 0).or(holder.former);
                    (holder.epoch, holder.applied) = (self.core.facts().next_owner_epoch().next(), InputOffset(0));
                }
                self.feed(Input::Recovered("alive", None));
                self.adopt(holder);
            }
            None if state == State::Starting && !self.core.facts().start_recorded => {
                self.feed(Input::Recovered("alive", None));
                self.log_due = true;
            }
            None => {
                self.feed(Input::Recovered("unrecoverable", Some("HOLDER_LOST")));
                (self.lost, self.rest_due) = (Some(Gone { status: None, rebooted: false, errno: 0 }), true);
            }
        }
    }

    /// The session is ended and removed, without any more faults; then everybody was answered.
    pub(crate) fn finish(&mut self) {
        self.say(|| "-- the end".to_owned());
        self.space();
        self.settle();
        for _ in 0..1_000 {
            // A program that is restored is ended too.
            self.feed(Input::Terminate { grace_ms: 1_000 });
            self.settle();
            self.space();
            if self.dropped || self.never_was || self.removed || self.state() == State::Finalized {
                break;
            }
            let next = self.core.poll_timeout().unwrap_or(self.now.boot_ms + 1_000);
            self.clock_to(next);
        }
        self.settle();
        if !self.dropped && !self.never_was {
            assert_eq!(self.state(), State::Finalized, "it never ends");
            assert!(self.holder.is_none(), "a holder is left");
            if !self.removed {
                let client = ClientId::try_from(KINDS[1].to_owned()).unwrap();
                self.ask(client, Op::Remove);
                self.settle();
            }
        }
        let stale = self.asked.values().any(|asked| matches!(asked.what, What::Op(_, Op::Remove, Some(_))));
        if !self.dropped && !self.never_was && !stale && !self.removed {
            let client = ClientId::try_from(KINDS[1].to_owned()).unwrap();
            let asker = self.asker(What::Op(client.clone(), Op::Remove, None), None);
            self.feed(Input::Request { asker: Some(asker), client, owner_epoch: None, op: Op::Remove });
            self.settle();
        }
        assert!(self.dropped || self.never_was, "it is never removed");
        assert!(self.asked.is_empty(), "nobody answered {:?}", self.asked);
    }
}

fn process(id: ProcessId) -> Process {
    Process {
        id,
        parent: 1,
        group: id.pid,
        session: LEADER.pid,
        terminal: 0,
        uid: 0,
        ended: false,
        command: "p".into(),
    }
}
