use super::*;

const HERE: BootId = BootId([1; 16]);
const BEFORE: BootId = BootId([2; 16]);

fn session(stage: Stage) -> Session {
    Session { stage, incarnation: Incarnation(2), boot: HERE, log_end: ByteOffset(100) }
}

fn pong(child: Child) -> Pong {
    Pong {
        same_session: true,
        incarnation: Incarnation(2),
        boot: HERE,
        child,
        daemon_epoch: DaemonEpoch(7),
        program: 9,
    }
}

fn facts(session: Option<Session>, probe: Probe) -> Facts {
    Facts { boot: HERE, session, probe, exit_file: None, processes_left: false, orphans: Orphans::Adopt }
}

fn lost(stage: Stage) -> Facts {
    facts(Some(session(stage)), Probe::None)
}

fn held(stage: Stage, child: Child) -> Facts {
    facts(Some(session(stage)), Probe::Pong(pong(child)))
}

fn exit_file(output_head: u64) -> ExitFile {
    ExitFile { output_head: ByteOffset(output_head) }
}

#[track_caller]
fn check(facts: &Facts, outcome: Option<Outcome>, code: Option<Code>, session: SessionEffect, holder: HolderEffect) {
    assert_eq!(decide(facts), Decision { outcome, code, session, holder }, "{facts:?}");
}

fn ends(exit: ExitSource, missing: Missing) -> SessionEffect {
    SessionEffect::End { exit, missing }
}

#[test]
fn a_living_program_is_adopted() {
    for stage in [Stage::Accepted, Stage::Starting, Stage::Running, Stage::Terminating, Stage::Exited] {
        let facts = held(stage, Child::Alive);
        check(&facts, Some(Outcome::Alive), None, SessionEffect::GoOn, HolderEffect::Adopt);
    }
}

#[test]
fn an_ended_program_is_adopted_for_its_output_and_status() {
    for stage in [Stage::Accepted, Stage::Starting, Stage::Running, Stage::Terminating, Stage::Exited] {
        let facts = held(stage, Child::Ended);
        check(&facts, Some(Outcome::Ended), None, SessionEffect::GoOn, HolderEffect::Adopt);
    }
}

#[test]
fn a_holder_that_waits_for_its_start_is_adopted() {
    for stage in [Stage::Accepted, Stage::Starting] {
        let facts = held(stage, Child::NotStarted);
        check(&facts, Some(Outcome::Alive), None, SessionEffect::GoOn, HolderEffect::Adopt);
    }
}

#[test]
fn a_holder_that_waits_for_its_start_is_not_that_of_a_program_that_ran() {
    for (stage, effect) in [
        (Stage::Running, ends(ExitSource::Loss, Missing::Unknown)),
        (Stage::Exited, SessionEffect::Finalize { missing: Missing::Unknown }),
    ] {
        let facts = held(stage, Child::NotStarted);
        check(&facts, Some(Outcome::Unrecoverable), Some(Code::HolderLost), effect, HolderEffect::Hangup);
    }
}

#[test]
fn a_holder_of_an_unknown_version_is_left_alone() {
    for session in [None, Some(session(Stage::Running)), Some(session(Stage::Finalized))] {
        let facts = facts(session, Probe::UnknownVersion);
        let code = Some(Code::HolderProtoUnsupported);
        check(&facts, Some(Outcome::Pending), code, SessionEffect::None, HolderEffect::LeaveAlone);
    }
}

#[test]
fn a_silent_holder_is_left_alone() {
    let facts = facts(Some(Session { boot: BEFORE, ..session(Stage::Running) }), Probe::Silent);
    let code = Some(Code::HolderUnresponsive);
    check(&facts, Some(Outcome::Pending), code, SessionEffect::None, HolderEffect::LeaveAlone);
}

#[test]
fn a_holder_of_another_boot_or_place_is_out_of_reach() {
    let another_boot = Pong { boot: BEFORE, ..pong(Child::Alive) };
    let another_session = Pong { same_session: false, ..pong(Child::Ended) };
    for pong in [another_boot, another_session] {
        let facts = facts(Some(session(Stage::Running)), Probe::Pong(pong));
        let code = Some(Code::HolderUnresponsive);
        check(&facts, Some(Outcome::Pending), code, SessionEffect::None, HolderEffect::LeaveAlone);
    }
}

#[test]
fn an_exit_file_tells_the_true_end() {
    for (boot, head) in [(HERE, 100), (BEFORE, 100), (HERE, 99)] {
        let session = Some(Session { boot, ..session(Stage::Running) });
        let facts = Facts { exit_file: Some(exit_file(head)), processes_left: true, ..facts(session, Probe::None) };
        let effect = ends(ExitSource::File, Missing::Nothing);
        check(&facts, Some(Outcome::Ended), None, effect, HolderEffect::None);
    }
}

#[test]
fn an_exit_file_ahead_of_the_log_counts_what_is_missing() {
    for (boot, code) in [(HERE, Code::HolderLost), (BEFORE, Code::HostRebooted)] {
        let session = Some(Session { boot, ..session(Stage::Running) });
        let facts = Facts { exit_file: Some(exit_file(101)), ..facts(session, Probe::None) };
        let effect = ends(ExitSource::File, Missing::Bytes(1));
        check(&facts, Some(Outcome::Unrecoverable), Some(code), effect, HolderEffect::None);
    }
}

#[test]
fn a_create_that_was_cut_short_is_completed() {
    let facts = lost(Stage::Accepted);
    check(&facts, Some(Outcome::Alive), None, SessionEffect::Launch, HolderEffect::None);
}

#[test]
fn processes_of_a_dead_holder_are_ended() {
    for stage in [Stage::Starting, Stage::Running, Stage::Terminating] {
        let facts = Facts { processes_left: true, ..lost(stage) };
        let effect = SessionEffect::KillLeft;
        check(&facts, Some(Outcome::Zombie), Some(Code::HolderLost), effect, HolderEffect::None);
    }
}

#[test]
fn a_program_gone_with_its_holder_is_lost() {
    for stage in [Stage::Starting, Stage::Running, Stage::Terminating] {
        let effect = ends(ExitSource::Loss, Missing::Unknown);
        check(&lost(stage), Some(Outcome::Unrecoverable), Some(Code::HolderLost), effect, HolderEffect::None);
    }
}

#[test]
fn nothing_survives_another_boot() {
    for (stage, missing) in [(Stage::Accepted, Missing::Nothing), (Stage::Running, Missing::Unknown)] {
        let session = Some(Session { boot: BEFORE, ..session(stage) });
        let facts = Facts { processes_left: true, ..facts(session, Probe::None) };
        let effect = ends(ExitSource::Loss, missing);
        check(&facts, Some(Outcome::Unrecoverable), Some(Code::HostRebooted), effect, HolderEffect::None);
    }
}

#[test]
fn a_living_program_without_a_record_follows_the_policy_on_orphans() {
    let later = Session { incarnation: Incarnation(1), ..session(Stage::Running) };
    let code = Some(Code::JournalMissing);
    for recorded in [None, Some(later), Some(Session { stage: Stage::Finalized, ..later })] {
        let adopt = facts(recorded, Probe::Pong(pong(Child::Alive)));
        check(&adopt, Some(Outcome::Orphan), code, SessionEffect::TakeIn, HolderEffect::Adopt);
    }
    for recorded in [None, Some(Session { stage: Stage::Finalized, ..later })] {
        let end = Facts { orphans: Orphans::End, ..facts(recorded, Probe::Pong(pong(Child::Alive))) };
        check(&end, Some(Outcome::Orphan), code, SessionEffect::None, HolderEffect::Hangup);
    }
}

#[test]
fn a_living_program_of_a_closed_incarnation_is_named_and_left_alone() {
    for incarnation in [Incarnation(2), Incarnation(3)] {
        let closed = Session { incarnation, ..session(Stage::Finalized) };
        let facts = facts(Some(closed), Probe::Pong(pong(Child::Alive)));
        let code = Some(Code::JournalMissing);
        check(&facts, Some(Outcome::Orphan), code, SessionEffect::None, HolderEffect::LeaveAlone);
    }
}

#[test]
fn a_holder_that_nobody_needs_is_hung_up_and_not_reported() {
    for child in [Child::NotStarted, Child::Ended] {
        for recorded in [None, Some(session(Stage::Finalized))] {
            let facts = facts(recorded, Probe::Pong(pong(child)));
            check(&facts, None, None, SessionEffect::None, HolderEffect::Hangup);
        }
    }
}

#[test]
fn an_open_session_is_decided_beside_a_holder_that_is_not_its_own() {
    let next = Session { incarnation: Incarnation(3), ..session(Stage::Running) };
    let ended = facts(Some(next), Probe::Pong(pong(Child::Ended)));
    let lost = ends(ExitSource::Loss, Missing::Unknown);
    check(&ended, Some(Outcome::Unrecoverable), Some(Code::HolderLost), lost, HolderEffect::Hangup);

    let alive = Facts { processes_left: true, ..facts(Some(next), Probe::Pong(pong(Child::Alive))) };
    check(&alive, Some(Outcome::Unrecoverable), Some(Code::HolderLost), lost, HolderEffect::LeaveAlone);
}

#[test]
fn an_exited_session_keeps_its_end() {
    let exited = lost(Stage::Exited);
    let cases = [
        (Some(exit_file(100)), HERE, Outcome::Ended, None, Missing::Nothing),
        (Some(exit_file(130)), HERE, Outcome::Unrecoverable, Some(Code::HolderLost), Missing::Bytes(30)),
        (None, HERE, Outcome::Unrecoverable, Some(Code::HolderLost), Missing::Unknown),
        (None, BEFORE, Outcome::Unrecoverable, Some(Code::HostRebooted), Missing::Unknown),
    ];
    for (exit_file, boot, outcome, code, missing) in cases {
        let session = exited.session.map(|session| Session { boot, ..session });
        let facts = Facts { session, exit_file, processes_left: true, ..exited.clone() };
        check(&facts, Some(outcome), code, SessionEffect::Finalize { missing }, HolderEffect::None);
    }
}

#[test]
fn an_epoch_is_above_all_that_were_seen() {
    assert_eq!(next_epoch(DaemonEpoch(0), []), DaemonEpoch(1));
    assert_eq!(next_epoch(DaemonEpoch(4), [DaemonEpoch(9), DaemonEpoch(2)]), DaemonEpoch(10));
}

/// Every combination of facts, with one value for each way in which a number can lie.
fn all_facts() -> Vec<Facts> {
    let stages =
        [Stage::Accepted, Stage::Starting, Stage::Running, Stage::Terminating, Stage::Exited, Stage::Finalized];
    let children = [Child::NotStarted, Child::Alive, Child::Ended];
    let mut sessions = vec![None];
    for stage in stages {
        for boot in [HERE, BEFORE] {
            sessions.push(Some(Session { boot, ..session(stage) }));
        }
    }
    let mut probes = vec![Probe::None, Probe::UnknownVersion, Probe::Silent];
    for child in children {
        for incarnation in [Incarnation(1), Incarnation(2), Incarnation(3)] {
            for boot in [HERE, BEFORE] {
                for same_session in [true, false] {
                    probes.push(Probe::Pong(Pong { same_session, incarnation, boot, ..pong(child) }));
                }
            }
        }
    }
    let mut all = Vec::new();
    for &session in &sessions {
        for &probe in &probes {
            for exit_file in [None, Some(exit_file(99)), Some(exit_file(100)), Some(exit_file(101))] {
                for processes_left in [false, true] {
                    for orphans in [Orphans::Adopt, Orphans::End] {
                        all.push(Facts { boot: HERE, session, probe, exit_file, processes_left, orphans });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn every_combination_of_facts_keeps_the_rules() {
    let all = all_facts();
    assert_eq!(all.len(), 13 * 39 * 16);
    let mut outcomes = std::collections::BTreeMap::new();
    for facts in &all {
        let decision = decide(facts);
        check_rules(facts, &decision);
        *outcomes.entry(decision.outcome).or_insert(0) += 1;
    }
    println!("{} combinations: {outcomes:?}", all.len());
    assert_eq!(outcomes.len(), 7, "each outcome, and none, was reached: {outcomes:?}");
}

fn check_rules(facts: &Facts, decision: &Decision) {
    let context = || format!("{facts:?} gave {decision:?}");
    let open = facts.session.filter(|session| session.stage != Stage::Finalized);
    let alive = matches!(facts.probe, Probe::Pong(Pong { child: Child::Alive, .. }));

    // An open session always has an outcome, and a code exactly where the table has one.
    assert!(open.is_none() || decision.outcome.is_some(), "{}", context());
    let coded = match decision.outcome {
        None | Some(Outcome::Alive | Outcome::Ended) => false,
        Some(Outcome::Zombie | Outcome::Unrecoverable | Outcome::Orphan | Outcome::Pending) => true,
    };
    assert_eq!(decision.code.is_some(), coded, "{}", context());

    // A holder is treated if and only if one answered, and one out of reach is never touched.
    assert_eq!(decision.holder == HolderEffect::None, facts.probe == Probe::None, "{}", context());
    if matches!(facts.probe, Probe::UnknownVersion | Probe::Silent) {
        assert_eq!(decision.holder, HolderEffect::LeaveAlone, "{}", context());
        assert_eq!(decision.session, SessionEffect::None, "{}", context());
    }

    // Nothing that lives is ended, but the leavings of a dead holder, and orphans where that was asked for.
    if alive && decision.holder == HolderEffect::Hangup {
        assert_eq!(facts.orphans, Orphans::End, "{}", context());
    }
    if decision.session == SessionEffect::KillLeft {
        assert!(!alive && facts.processes_left, "{}", context());
        assert_eq!(decision.outcome, Some(Outcome::Zombie), "{}", context());
        assert!(open.is_some_and(|session| session.boot == facts.boot), "{}", context());
    }

    // A living holder of the recorded incarnation is never given up.
    let own = |session: &Session| {
        matches!(facts.probe, Probe::Pong(pong)
            if pong.same_session && pong.boot == facts.boot && pong.incarnation == session.incarnation)
    };
    if alive && open.is_some_and(|session| own(&session)) {
        assert_eq!(decision.holder, HolderEffect::Adopt, "{}", context());
    }

    // A program that ended by itself is not a lost one, so that no policy follows.
    if let SessionEffect::End { exit: ExitSource::Loss, .. } = decision.session {
        assert!(facts.exit_file.is_none(), "{}", context());
    }

    // What is closed stays closed, unless a later incarnation lives.
    if open.is_none() {
        assert!(matches!(decision.session, SessionEffect::None | SessionEffect::TakeIn), "{}", context());
    }
    // Adopting a holder and taking its session on are one decision.
    let taken = matches!(decision.session, SessionEffect::GoOn | SessionEffect::TakeIn);
    assert_eq!(taken, decision.holder == HolderEffect::Adopt, "{}", context());
}
