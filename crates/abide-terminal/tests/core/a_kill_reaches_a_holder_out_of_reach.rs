//! A session whose holder answers nobody, or in no words that are known, can be killed all the same: it is hung up when its
//! grace is over, and not before.

use abide_terminal::session::{Input, Op, Output};
use abide_terminal::store::{Event, Facts};
use abide_terminal::{EventNumber, Exit, ExitKind, Takeover};

use crate::script::{START, STARTED, Script, ada, answers, appended};
use crate::world::created;

#[test]
fn it_is_hung_up_when_its_grace_is_over() {
    let mut facts = Facts::new(created(Some(ada()), Takeover::Allow));
    for (number, event) in (1..).zip([START, STARTED]) {
        facts.apply(EventNumber(number), 5_000, &event);
    }
    let mut script = Script::of(facts);
    let out = script.ask(Op::Kill { grace_ms: 4_000, force: false, signal: None });
    assert_eq!(appended(&out), ["kill"]);
    let out = script.write();
    assert_eq!(answers(&out), ["ok"]);
    assert!(!out.contains(&Output::HangUp));
    script.boot_ms += 3_999;
    assert!(!script.feed(Input::Timeout).contains(&Output::HangUp));
    script.boot_ms += 1;
    let hung_up = script.feed(Input::Timeout).into_iter().filter(|output| *output == Output::HangUp).count();
    assert_eq!(hung_up, 1);
    script.boot_ms += 1_000;
    let out = script.feed(Input::Timeout);
    assert!(!out.contains(&Output::HangUp), "once");
    assert!(matches!(script.session.facts().record().state, abide_terminal::State::Terminating));
    assert_eq!(appended(&out), ["exited"]);
}

#[test]
fn a_kill_of_the_daemon_before_goes_on() {
    let mut facts = Facts::new(created(Some(ada()), Takeover::Allow));
    let kill = Event::Kill { deadline_at: 9_000, t0_boot_ms: 500, grace_ms: 4_000, signal: None, by: Some(ada()) };
    for (number, event) in (1..).zip([START, STARTED, kill]) {
        facts.apply(EventNumber(number), 5_000, &event);
    }
    let mut script = Script::of(facts);
    assert!(!script.feed(Input::OutOfReach).contains(&Output::HangUp), "its grace is not over");
    script.boot_ms = 4_500;
    assert!(script.feed(Input::Timeout).contains(&Output::HangUp));
}

#[test]
fn one_that_was_given_up_by_the_daemon_before_is_hung_up() {
    let lost =
        Exit { kind: ExitKind::Lost("HOLDER_UNRESPONSIVE".into()), forced: false, survivors: vec![], drain: None };
    for (history, hung_up) in [
        (vec![START, Event::Exited { exit: lost.clone() }], true),
        (vec![START, STARTED, Event::Exited { exit: lost }], false),
    ] {
        let mut facts = Facts::new(created(Some(ada()), Takeover::Allow));
        for (number, event) in (1..).zip(history) {
            facts.apply(EventNumber(number), 5_000, &event);
        }
        assert_eq!(Script::of(facts).feed(Input::OutOfReach).contains(&Output::HangUp), hung_up);
    }
}
