//! A start: what is found of the sessions of the daemon before, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use abide_holder::{BootId, ProbeError, ProbeTimeouts, State as HolderState};
use abide_journal::{AppendOptions, Entry, Error as JournalError, Journal, Log};
use abide_wire::Code;
use tokio::sync::Semaphore;

use super::hub::Msg;
use super::orphans::orphan_name;
use super::sessions::Sessions;
use super::shared::{Shared, exit_file, holder_socket, of_exit_file};
use crate::ids::{ByteOffset, DaemonEpoch, Incarnation, SessionId};
use crate::procs::{self, ProcessId};
use crate::protocol::{EntryOutcome, Lost, ReportEntry};
use crate::record::State;
use crate::recover::{
    self, Child, Decision, ExitFile, ExitSource, HolderEffect, Missing, Outcome, Pong, Probe, SessionEffect,
};
use crate::session::{Gone, HolderInput, Input};
use crate::store::{self, Facts};
use crate::stream;

/// Holders that are asked at a time.
const PROBES_MAX: usize = 64;

/// A holder that does not answer is asked again after this.
pub(super) const PROBE_AGAIN: Duration = Duration::from_secs(5);

/// Asks every holder socket in the directory who is there; changes nothing.
pub(super) async fn probe_all(sockets: Vec<(SessionId, PathBuf)>) -> BTreeMap<SessionId, Asked> {
    let slots = Arc::new(Semaphore::new(PROBES_MAX));
    let mut asked = tokio::task::JoinSet::new();
    for (session, socket) in sockets {
        let slots = Arc::clone(&slots);
        asked.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (session, ask(session, socket).await)
        });
    }
    asked.join_all().await.into_iter().collect()
}

/// What answered at a holder's socket, and the process that did.
pub(super) struct Asked {
    probe: Probe,
    holder: Option<u32>,
}

pub(super) async fn probe(session: SessionId, socket: PathBuf) -> Probe {
    ask(session, socket).await.probe
}

async fn ask(session: SessionId, socket: PathBuf) -> Asked {
    let asked = tokio::task::spawn_blocking(move || abide_holder::probe(&socket, ProbeTimeouts::default()));
    let asked = asked.await;
    let holder = asked.as_ref().ok().and_then(|asked| asked.as_ref().ok()).map(|pong| pong.pid);
    let probe = match asked {
        Ok(Ok(pong)) if pong.version != abide_holder::VERSION => Probe::UnknownVersion,
        Ok(Ok(pong)) => Probe::Pong(Pong {
            same_session: pong.session == session.to_bytes(),
            incarnation: Incarnation(pong.incarnation),
            boot: BootId(pong.boot_id),
            child: match pong.state {
                Some(HolderState::Waiting) => Child::NotStarted,
                Some(HolderState::Running) => Child::Alive,
                Some(HolderState::Ended | HolderState::Failed) => Child::Ended,
                None => return Asked { probe: Probe::UnknownVersion, holder },
            },
            daemon_epoch: DaemonEpoch(pong.daemon_epoch),
            program: pong.child_pid,
        }),
        Ok(Err(ProbeError::Absent | ProbeError::Stale)) => Probe::None,
        Ok(Err(ProbeError::Foreign(_))) => Probe::UnknownVersion,
        Ok(Err(ProbeError::Silent | ProbeError::Os(_))) | Err(_) => Probe::Silent,
    };
    Asked { probe, holder }
}

/// The epochs that holders have seen.
pub(super) fn epochs(probes: &BTreeMap<SessionId, Asked>) -> impl Iterator<Item = DaemonEpoch> {
    probes.values().filter_map(|found| match &found.probe {
        Probe::Pong(pong) => Some(pong.daemon_epoch),
        _ => None,
    })
}

/// What the files and processes around a session say.
struct Surroundings {
    exit_status: Option<(u32, ByteOffset)>,
    left: Vec<ProcessId>,
}

impl Sessions {
    /// Decides every session that is not Finalized, and every holder without one, and sets out to do it.
    pub(super) fn recover(&mut self, mut probes: BTreeMap<SessionId, Asked>) {
        self.drop_buried();
        self.probed = probes.values().filter_map(|found| found.holder).collect();
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        for id in ids {
            if let Ok(log) = self.shared.journal.log(&store::session_log(id)) {
                self.open_log(id, log);
            }
            let owner = self.entries.get(&id).and_then(|entry| entry.facts().record().owner.clone());
            if let Some(owner) = owner {
                // Nobody is connected yet: owners begin their grace.
                self.feed(id, Input::ClientGone(owner));
            }
            let probe = probes.remove(&id).map_or(Probe::None, |found| found.probe);
            let finalized = self.entries.get(&id).is_some_and(|entry| entry.facts().state() == State::Finalized);
            if !finalized || probe != Probe::None {
                self.decide(id, probe);
            }
            self.publish(id);
        }
        for (id, found) in probes {
            if found.probe == Probe::None {
                // The socket of a dead holder, and nothing that needs it.
                let _ = self.shared.dirs.holder_sockets.remove_socket(&holder_socket(id));
            }
            self.decide(id, found.probe);
        }
        self.sweep();
        self.make_room();
    }

    /// Removes the exit records that no session needs: of those that are gone or have ended, and of programs before the
    /// present one.
    fn sweep(&self) {
        for name in self.shared.dirs.exits.names().unwrap_or_default() {
            let Some((session, incarnation)) = name.to_str().and_then(of_exit_file) else { continue };
            let facts = self.entries.get(&session).map(super::sessions::Entry::facts);
            let needed = facts
                .is_some_and(|facts| facts.state() != State::Finalized && facts.record().incarnation == incarnation);
            if !needed && let Some(name) = name.to_str() {
                let _ = self.shared.dirs.exits.remove_file(name);
            }
        }
    }

    /// Drops the logs of removed sessions that a daemon before this one did not come to drop.
    fn drop_buried(&self) {
        for info in self.shared.journal.logs() {
            let removed = store::session_of_log(&info.name)
                .is_some_and(|id| self.tombstones.iter().any(|tombstone| tombstone.id == id));
            if removed && let Ok(log) = self.shared.journal.log(&info.name) {
                // Not waited for: if it fails, the next start does it again.
                drop(log.drop_log());
            }
        }
    }

    /// Decides one session by what answered at its holder's socket.
    pub(super) fn decide(&mut self, id: SessionId, probe: Probe) {
        if probe == Probe::None && self.entries.get(&id).is_some_and(|entry| entry.core.is_finalizing()) {
            let gone = Gone { status: None, rebooted: false, errno: 0 };
            return self.feed(id, Input::Holder(HolderInput::Gone(gone)));
        }
        let facts = self.entries.get(&id).map(|entry| entry.facts().clone());
        let log_end =
            self.entries.get(&id).and_then(|entry| entry.log.as_ref()).map_or(0, |log| stream::written(log).offset.0);
        let boot = self.shared.boot;
        let session = facts.as_ref().map(|facts| recover::Session::of(facts, boot, ByteOffset(log_end)));
        // The process table is read for those alone whose holder is not there.
        let looked_for = facts.as_ref().zip(session).filter(|(_, session)| !recover::is_served(boot, session, &probe));
        let around =
            looked_for.map(|(facts, session)| surroundings(&self.shared, facts, session.boot == boot, &self.holders()));
        let decision = recover::decide(&recover::Facts {
            boot,
            session,
            probe,
            exit_file: around
                .as_ref()
                .and_then(|around| around.exit_status)
                .map(|(_, output_head)| ExitFile { output_head }),
            processes_left: around.as_ref().is_some_and(|around| !around.left.is_empty()),
            orphans: self.shared.options.orphans,
        });
        let name = facts.as_ref().map_or_else(|| orphan_name(id), |facts| facts.record().name.clone());
        self.report_decision(id, name, &decision);
        self.act(id, probe, &decision, around);
    }

    fn report_decision(&mut self, session: SessionId, name: String, decision: &Decision) {
        let Some(outcome) = decision.outcome else { return };
        let lost_bytes = match decision.session {
            SessionEffect::End { missing, .. } | SessionEffect::Finalize { missing } => match missing {
                Missing::Nothing => None,
                Missing::Bytes(bytes) => Some(Lost { bytes: Some(bytes) }),
                Missing::Unknown => Some(Lost { bytes: None }),
            },
            _ => None,
        };
        tracing::info!(%session, outcome = outcome.as_str(), code = ?decision.code, "recovered");
        self.report.sessions.retain(|entry| entry.session != session);
        self.report.sessions.push(ReportEntry {
            session,
            name,
            outcome: told(outcome),
            code: decision.code,
            lost_bytes,
            detail: None,
        });
    }

    fn act(&mut self, id: SessionId, probe: Probe, decision: &Decision, around: Option<Surroundings>) {
        match decision.holder {
            HolderEffect::Hangup => hang_up(&self.shared, id),
            HolderEffect::LeaveAlone => {
                tracing::warn!(session = %id, code = ?decision.code, "a holder is left alone");
                // One that cannot be asked yet may answer later. What was decided of the others stays.
                if decision.outcome == Some(Outcome::Pending) {
                    self.feed(id, Input::OutOfReach);
                    self.probe_again(id);
                }
            }
            HolderEffect::Adopt | HolderEffect::None => {}
        }
        if let (SessionEffect::TakeIn, Probe::Pong(pong)) = (decision.session, probe) {
            self.take_in(id, &pong);
        }
        let open = self.entries.get(&id).is_some_and(|entry| entry.facts().state() != State::Finalized);
        if let Some(outcome) = decision.outcome.filter(|outcome| open && *outcome != Outcome::Pending) {
            self.feed(id, Input::Recovered(outcome.as_str(), decision.code.map(Code::as_str)));
        }
        match decision.session {
            // What was taken in is adopted once it is recorded.
            SessionEffect::None | SessionEffect::TakeIn => {}
            SessionEffect::GoOn => self.adopt(id),
            SessionEffect::Launch => {
                self.create_log(id);
            }
            SessionEffect::End { exit, missing } => self.end_lost(id, Some(exit), missing, around),
            SessionEffect::Finalize { missing } => self.end_lost(id, None, missing, around),
            SessionEffect::KillLeft => {
                let (hub, left) = (self.hub.clone(), around.map(|around| around.left).unwrap_or_default());
                tokio::spawn(async move {
                    procs::end_left(&left).await;
                    hub.tell(Msg::LeftEnded(id)).await;
                });
            }
        }
    }

    fn probe_again(&self, id: SessionId) {
        let (hub, socket) = (self.hub.clone(), self.shared.holder_paths(id, Incarnation(1)).socket);
        tokio::spawn(async move {
            tokio::time::sleep(PROBE_AGAIN).await;
            let probe = probe(id, socket).await;
            hub.tell(Msg::Probed(id, probe)).await;
        });
    }

    /// The processes that a dead holder left are gone too.
    pub(super) fn left_ended(&mut self, id: SessionId) {
        self.end_lost(id, Some(ExitSource::Loss), Missing::Unknown, None);
    }

    /// The holder died under this daemon, which has taken all that it held: what it left of the program ends too.
    pub(super) fn holder_lost(&mut self, id: SessionId, head: ByteOffset) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.link = None;
        let facts = entry.facts().clone();
        let around = surroundings(&self.shared, &facts, true, &self.holders());
        let ends = recover::left_ends(&facts, around.exit_status.is_some());
        let left = if ends { around.left } else { Vec::new() };
        let hub = self.hub.clone();
        tokio::spawn(async move {
            procs::end_left(&left).await;
            let gone = Gone { status: around.exit_status.map(|(status, _)| status), rebooted: false, errno: 0 };
            hub.tell(Msg::Session(id, Input::Drained { head, end: false })).await;
            hub.tell(Msg::Session(id, Input::Holder(HolderInput::Gone(gone)))).await;
        });
    }

    /// The holder that was to be adopted is gone. One that never was told to start its program is launched again;
    /// nothing is left to be decided of a session that has ended; of every other it is decided as at a start: what the
    /// holder had is lost, and named.
    pub(super) fn not_adopted(&mut self, id: SessionId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let facts = entry.facts();
        let accepted = facts.state() == State::Starting && !facts.start_recorded;
        if accepted || facts.state() == State::Finalized {
            let gone = Gone { status: None, rebooted: false, errno: 0 };
            self.feed(id, Input::Holder(HolderInput::Gone(gone)));
        } else {
            self.decide(id, Probe::None);
        }
    }

    /// The holders that this daemon knows: none of their processes is any session's.
    fn holders(&self) -> BTreeSet<u32> {
        let known = self.entries.values().filter_map(|entry| entry.link.as_ref()).map(super::link::Link::pid);
        known.chain(self.probed.iter().copied()).collect()
    }

    /// A session without a holder ends: what is missing of its output is named, its end recorded.
    fn end_lost(&mut self, id: SessionId, exit: Option<ExitSource>, missing: Missing, around: Option<Surroundings>) {
        let Some(entry) = self.entries.get(&id) else { return };
        let rebooted = entry.facts().created.boot_id != self.shared.boot.to_string();
        let status = match exit {
            Some(ExitSource::File) => around.as_ref().and_then(|around| around.exit_status).map(|(status, _)| status),
            _ => None,
        };
        let code = if rebooted { Code::HostRebooted } else { Code::HolderLost };
        let log = entry.log.clone();
        let killed = recover::left_ends(entry.facts(), status.is_some());
        let left = around.map(|around| around.left).filter(|_| killed).unwrap_or_default();
        let (hub, journal) = (self.hub.clone(), self.shared.journal.clone());
        tokio::spawn(async move {
            procs::end_left(&left).await;
            let mut head = 0;
            if let Some(log) = log {
                if let Some(entries) = missing.named(&log, code) {
                    let named = name_missing(&journal, entries).await;
                    if let Err(error) = named {
                        tracing::warn!(session = %id, %error, "missing output is not named in the log");
                    }
                }
                head = stream::written(&log).offset.0;
            }
            hub.tell(Msg::Session(id, Input::Drained { head: ByteOffset(head), end: false })).await;
            hub.tell(Msg::Session(id, Input::Holder(HolderInput::Gone(Gone { status, rebooted, errno: 0 })))).await;
        });
    }
}

/// Names missing output, once there is room for that.
async fn name_missing(journal: &Journal, entries: Vec<(Log, Entry)>) -> Result<(), JournalError> {
    let mut space = journal.space();
    space.get();
    loop {
        match journal.append_batch(entries.clone(), AppendOptions::default()).await {
            Err(JournalError::Full) => drop(tokio::time::timeout(PROBE_AGAIN, space.changed()).await),
            named => return named.map(drop),
        }
    }
}

fn told(outcome: Outcome) -> EntryOutcome {
    match outcome {
        Outcome::Alive => EntryOutcome::Alive,
        Outcome::Ended => EntryOutcome::Ended,
        Outcome::Zombie => EntryOutcome::Zombie,
        Outcome::Unrecoverable => EntryOutcome::Unrecoverable,
        Outcome::Orphan => EntryOutcome::Orphan,
        Outcome::Pending => EntryOutcome::Pending,
    }
}

/// What lies around a session without a holder. Of a program of another boot no process is left.
fn surroundings(shared: &Shared, facts: &Facts, same_boot: bool, holders: &BTreeSet<u32>) -> Surroundings {
    let record = facts.record();
    let exit_status = read_exit(shared, record.id, record.incarnation);
    if !same_boot {
        return Surroundings { exit_status, left: Vec::new() };
    }
    let leader = record.pid.map(|pid| ProcessId { pid, start_time: facts.leader_start });
    let left = procs::table().map(|table| {
        let marked: BTreeSet<u32> =
            table.iter().map(|process| process.id.pid).filter(|pid| procs::carries_session(*pid, record.id)).collect();
        let guarded = procs::Guarded { daemon: std::process::id(), holders, uid: rustix::process::getuid().as_raw() };
        let evidence = procs::Evidence { in_cgroup: &BTreeSet::new(), marked: &marked };
        procs::left_behind(&table, leader, &guarded, &evidence).iter().map(|process| process.id).collect()
    });
    Surroundings { exit_status, left: left.unwrap_or_default() }
}

/// The exit record of one program start, if it is whole and of this boot or another.
pub(super) fn read_exit(shared: &Shared, id: SessionId, incarnation: Incarnation) -> Option<(u32, ByteOffset)> {
    let mut text = Vec::new();
    let mut file = shared.dirs.exits.read_file(&exit_file(id, incarnation)).ok()?;
    std::io::Read::read_to_end(&mut file, &mut text).ok()?;
    let record = abide_holder::ExitRecord::from_json(&text).ok()?;
    let same = record.session == id.to_bytes() && record.incarnation == incarnation.0;
    same.then_some((record.wait_status, ByteOffset(record.output_head)))
}

/// Ends a holder that no session needs.
pub(super) fn hang_up(shared: &Shared, id: SessionId) {
    let socket = shared.holder_paths(id, Incarnation(1)).socket;
    tokio::task::spawn_blocking(move || {
        let mut frame = Vec::new();
        abide_holder::ToHolder::Hangup.encode(&mut frame);
        let sent = abide_holder::connect(&socket).and_then(|mut holder| std::io::Write::write_all(&mut holder, &frame));
        if let Err(error) = sent {
            tracing::debug!(%error, "a holder that no session needs is gone already");
        }
    });
}
