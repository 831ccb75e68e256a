//! A program that runs in a holder without a record is recorded, adopted and told of as started; it is never launched.

use abide_terminal::session::{Frame, Gone, HolderInput, Input, Output, Refusal};
use abide_terminal::store::Facts;
use abide_terminal::{ExitKind, Incarnation, State, Takeover};

use crate::script::{Script, appended};
use crate::world::created;

fn taken_in() -> Script {
    let mut script = Script::of(Facts::new(created(None, Takeover::Allow)));
    let mut out = Vec::new();
    script.session.take_in(&mut out);
    assert_eq!(appended(&out), ["created", "start"], "one unit: it was started, by whomever");
    script
}

#[test]
fn it_is_adopted_where_it_is() {
    let mut script = taken_in();
    assert_eq!(script.write(), [Output::CreateLog]);
    assert_eq!(script.feed(Input::LogCreated), [Output::Adopt]);
    let adopted = HolderInput::Adopted {
        owner_epoch: abide_terminal::OwnerEpoch(0),
        input_applied: abide_terminal::InputOffset(0),
        former: None,
        size: (80, 24),
    };
    // A holder that is told again answers with what it did first.
    assert_eq!(script.feed(Input::Holder(adopted)), [Output::ToHolder(Frame::Start(Incarnation(1)))]);
    assert_eq!(appended(&script.feed(Input::Holder(HolderInput::Started { pid: 7, start_time: 8 }))), ["started"]);
    script.write();
    assert_eq!(script.session.facts().state(), State::Running);
}

#[test]
fn one_whose_holder_dies_on_the_way_is_lost_and_not_started() {
    let mut script = taken_in();
    script.write();
    script.feed(Input::LogCreated);
    let gone = Gone { status: None, rebooted: false, errno: 0 };
    let out = script.feed(Input::Holder(HolderInput::Gone(gone)));
    assert_eq!(appended(&out), ["exited"]);
    script.write();
    let exit = script.session.facts().record().exit.clone().map(|exit| exit.kind);
    assert_eq!(exit, Some(ExitKind::Lost("HOLDER_LOST".to_owned())));
}

#[test]
fn without_room_its_record_waits() {
    let mut script = taken_in();
    assert_eq!(script.feed(Input::Refused(Refusal::Full)), []);
    assert_eq!(appended(&script.feed(Input::Space)), ["created", "start"]);
    assert_eq!(script.write(), [Output::CreateLog]);
}
