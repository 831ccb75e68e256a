//! What follows a loss: by policy, by what can be started, and by what was asked for; and nothing where nothing may.

use abide_terminal::protocol::WireError;
use abide_terminal::session::{Gone, HolderInput, Input, Op, Output, Restart};
use abide_terminal::store::{Event, MarkKind, RESTORES_MAX, RESTORES_MS};
use abide_terminal::{Cause, Incarnation, Restore, RestoreAs, State};
use abide_wire::Code;

use crate::script::{START, STARTED, Script, ada, answers, appended};

const LOST: Gone = Gone { status: None, rebooted: true, errno: 0 };

fn kill() -> Event {
    Event::Kill { deadline_at: 9_000, t0_boot_ms: 1_000, grace_ms: 4_000, signal: None, by: None }
}

/// A session with this policy whose holder goes in this way; what is appended behind its end.
fn lost(restore: Restore, history: &[Event], gone: Gone) -> (Script, Vec<Output>) {
    let mut script = Script::with(restore, history);
    assert_eq!(appended(&script.feed(Input::Holder(HolderInput::Gone(gone)))), ["exited"]);
    let out = script.write();
    (script, out)
}

fn restart() -> Restart {
    Restart { boot_id: "b".to_owned(), name: Some("it-2".to_owned()) }
}

fn prepares(out: &[Output]) -> Option<RestoreAs> {
    out.iter().find_map(|output| match output {
        Output::PrepareRestore(what) => Some(*what),
        _ => None,
    })
}

#[test]
fn each_policy_has_its_consequence() {
    for (policy, events, prepared) in [
        (Restore::Never, vec!["finalized"], None),
        (Restore::Offer, vec!["recovered", "finalized"], None),
        (Restore::Shell, vec![], Some(RestoreAs::Shell)),
        (Restore::Command, vec![], Some(RestoreAs::Command)),
    ] {
        let (mut script, out) = lost(policy, &[START, STARTED], LOST);
        assert_eq!((appended(&out), prepares(&out)), (events, prepared), "{policy:?}");
        script.write();
        let recovery = script.session.facts().record().recovery.clone();
        let offered = recovery.map(|recovery| (recovery.outcome, recovery.code));
        let expected = (policy == Restore::Offer).then(|| ("offered".to_owned(), Some("HOST_REBOOTED".to_owned())));
        assert_eq!(offered, expected);
    }
}

#[test]
fn a_program_that_ended_or_was_killed_is_not_restored() {
    let ended = Gone { status: Some(256), rebooted: true, errno: 0 };
    for (history, gone) in
        [(vec![START, STARTED], ended), (vec![START, STARTED, kill()], LOST), (vec![START, kill()], LOST)]
    {
        for policy in [Restore::Offer, Restore::Command] {
            let (_, out) = lost(policy, &history, gone);
            assert_eq!((appended(&out), prepares(&out)), (vec!["finalized"], None), "{history:?}");
        }
    }
}

#[test]
fn end_restore_and_owner_are_one_unit_and_the_launch_waits_for_the_disk() {
    let (mut script, _) = lost(Restore::Command, &[START, STARTED], LOST);
    let out = script.feed(Input::RestorePrepared(Ok(restart())));
    let [Output::Append(unit)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(appended(&out), ["finalized", "restoring", "owner_changed"]);
    let marks = unit.iter().filter(|(_, mark)| mark.is_some()).count();
    assert_eq!(marks, 3);
    let incarnation = Incarnation(2);
    let mark = MarkKind::Restoring { incarnation, r#as: RestoreAs::Command, code: "HOST_REBOOTED".to_owned() };
    assert!(unit.iter().any(|(_, found)| found.as_ref() == Some(&mark)));

    let out = script.write();
    assert_eq!(out, [], "nothing is launched that the registry may still lose");
    let record = script.session.facts().record().clone();
    assert_eq!((record.state, record.incarnation, record.name.as_str()), (State::Starting, incarnation, "it-2"));
    assert_eq!((record.owner, record.owner_epoch.0, record.exit), (Some(ada()), 2, None), "who is there stays");
    let out = script.durable();
    assert_eq!(out, [Output::RemoveFiles(Incarnation(1)), Output::Launch]);
    assert_eq!(script.adopt(2), ["start"]);
    script.write();
    assert_eq!(appended(&script.feed(started())), ["started"]);
    script.write();
    assert_eq!(script.session.facts().state(), State::Running);
}

fn started() -> Input {
    Input::Holder(HolderInput::Started { pid: 9, start_time: 10 })
}

#[test]
fn an_owner_who_is_away_has_nothing_after_a_restore() {
    let mut script = Script::with(Restore::Shell, &[START, STARTED]);
    script.feed(Input::ClientGone(ada()));
    script.feed(Input::Holder(HolderInput::Gone(LOST)));
    script.write();
    let out = script.feed(Input::RestorePrepared(Ok(restart())));
    let [Output::Append(unit)] = &out[..] else { panic!("{out:?}") };
    let owner = unit.iter().find_map(|(event, _)| match event {
        Event::OwnerChanged { owner, cause, .. } => Some((owner.clone(), *cause)),
        _ => None,
    });
    assert_eq!(owner, Some((None, Cause::Restored)));
}

#[test]
fn a_restore_that_cannot_be_started_is_named_and_ends_the_session() {
    let (mut script, _) = lost(Restore::Command, &[START, STARTED], LOST);
    let out = script.feed(Input::RestorePrepared(Err(WireError::new(Code::CwdMissing, "gone"))));
    assert_eq!(appended(&out), ["recovered", "finalized"]);
    script.write();
    let record = script.session.facts().record();
    let recovery = record.recovery.as_ref().map(|recovery| (recovery.outcome.as_str(), recovery.code.as_deref()));
    assert_eq!((record.state, recovery), (State::Finalized, Some(("unrecoverable", Some("CWD_MISSING")))));
    // Whoever mends that may have it restored.
    assert_eq!(prepares(&script.ask(Op::Recover(None))), Some(RestoreAs::Command));
}

#[test]
fn so_many_restores_in_a_short_time_are_followed_by_none() {
    let mut script = Script::with(Restore::Command, &[START, STARTED]);
    let mut restores = 0;
    loop {
        script.feed(Input::Holder(HolderInput::Gone(LOST)));
        let out = script.write();
        if prepares(&out).is_none() {
            assert_eq!(appended(&out), ["recovered", "finalized"]);
            script.write();
            break;
        }
        script.feed(Input::RestorePrepared(Ok(restart())));
        script.write();
        restores += 1;
        script.durable();
        script.adopt(script.session.facts().record().owner_epoch.0);
        script.write();
        script.feed(started());
        script.write();
    }
    assert_eq!(restores, RESTORES_MAX);
    let code = script.session.facts().record().recovery.clone().and_then(|recovery| recovery.code);
    assert_eq!(code.as_deref(), Some("RESTORE_FAILED"));
    let refused = answers(&script.ask(Op::Recover(None)));
    assert_eq!(refused, [r#"RESTORE_FAILED {"reason":"crash_loop"}"#]);
    script.wall_ms += RESTORES_MS;
    assert!(prepares(&script.ask(Op::Recover(None))).is_some(), "later it may be tried again");
}

#[test]
fn recover_says_why_it_does_nothing() {
    let ended = Gone { status: Some(0), rebooted: false, errno: 0 };
    for (policy, gone, refused) in [
        (Restore::Offer, ended, r#"BAD_REQUEST {"reason":"not_lost"}"#),
        (Restore::Never, LOST, r#"BAD_REQUEST {"reason":"policy"}"#),
    ] {
        let (mut script, _) = lost(policy, &[START, STARTED], gone);
        script.write();
        assert_eq!(answers(&script.ask(Op::Recover(Some(RestoreAs::Shell)))), [refused]);
    }
}

#[test]
fn a_program_that_is_restored_on_request_is_told_when_it_runs() {
    for (wish, what) in [(None, RestoreAs::Shell), (Some(RestoreAs::Command), RestoreAs::Command)] {
        let (mut script, _) = lost(Restore::Offer, &[START, STARTED], LOST);
        script.write();
        assert_eq!(prepares(&script.ask(Op::Recover(wish))), Some(what));
        let again = answers(&script.ask(Op::Recover(wish)));
        assert_eq!(again, ["SESSION_STARTING {}"], "one at a time");
        let out = script.feed(Input::RestorePrepared(Ok(restart())));
        assert_eq!(appended(&out), ["restoring", "owner_changed"]);
        script.write();
        script.durable();
        script.adopt(2);
        script.write();
        script.feed(started());
        let out = script.write();
        assert_eq!(answers(&out), ["ok"]);
        assert_eq!(script.session.facts().restored_as, Some(what));
        assert_eq!(script.session.facts().record().owner, None, "nobody owns what somebody restored");
    }
}
