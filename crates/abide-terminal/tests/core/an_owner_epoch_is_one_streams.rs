//! What two streams type is never counted together: each owner epoch is one stream's, which alone may go on with it.

use abide_terminal::protocol::Mode;
use abide_terminal::session::{Asker, Attach, Frame, HolderInput, Input, Op, Output, StreamId};
use abide_terminal::{ClientId, InputOffset, OwnerEpoch};

use crate::script::{START, STARTED, Script, ada, answers, appended};

fn attach(stream: u64, owner_epoch: Option<u32>) -> Input {
    let owner_epoch = owner_epoch.map(OwnerEpoch);
    let attach = Attach { stream: StreamId(stream), client: ada(), mode: Mode::Owner, size: None, owner_epoch };
    Input::Attach(Asker(stream), attach)
}

/// A session in whose epoch 1 stream 1 types.
fn typing() -> Script {
    let mut script = Script::after(&[START, STARTED]);
    assert_eq!(answers(&script.feed(attach(1, Some(1)))), ["ok"]);
    script
}

/// Another stream of the owner asks for its place; the holder has said how much was written in epoch 1.
fn taken_by_another(script: &mut Script) -> Vec<Output> {
    assert_eq!(appended(&script.feed(attach(2, None))), ["owner_changed"]);
    assert_eq!(script.session.next_owner_stream(), None, "nobody who is there types from then on");
    assert_eq!(script.write(), [Output::ToHolder(Frame::Owner(OwnerEpoch(2)))]);
    let former = Some((OwnerEpoch(1), InputOffset(3)));
    script.feed(Input::Holder(HolderInput::OwnerOk { epoch: OwnerEpoch(2), former }))
}

#[test]
fn a_second_stream_of_the_owner_counts_anew_and_the_first_learns_its_count() {
    let mut script = typing();
    let out = taken_by_another(&mut script);
    let told = [Output::InputFinal(StreamId(1), OwnerEpoch(1), InputOffset(3)), Output::Replaced(StreamId(1))];
    assert_eq!(out[..2], told);
    assert_eq!(answers(&out), ["ok"]);
    assert_eq!(script.session.owner_stream(), Some(StreamId(2)));
    assert_eq!(script.session.input_end(), (OwnerEpoch(2), InputOffset(0)));
}

#[test]
fn the_stream_that_comes_back_goes_on_with_its_epoch() {
    let mut script = typing();
    let out = script.feed(attach(2, Some(1)));
    assert_eq!(out[0], Output::Replaced(StreamId(1)));
    assert_eq!((answers(&out).as_slice(), appended(&out).as_slice()), (&["ok".to_owned()][..], &[][..]));
    taken_by_another(&mut script);
    assert_eq!(appended(&script.feed(attach(3, Some(1)))), ["owner_changed"], "that epoch is over");
}

#[test]
fn an_epoch_that_no_stream_had_is_had_by_the_first() {
    let mut script = typing();
    script.feed(attach(2, None));
    script.write();
    // It leaves before the holder has answered: nobody types, and nobody counts in that epoch.
    script.feed(Input::StreamGone(StreamId(2)));
    let out = script.feed(Input::Holder(HolderInput::OwnerOk { epoch: OwnerEpoch(2), former: None }));
    assert_eq!(out[1], Output::Replaced(StreamId(1)));
    assert_eq!(script.session.owner_stream(), None);
    assert_eq!(answers(&script.feed(attach(3, None))), ["ok"]);
    assert_eq!(appended(&script.feed(attach(4, None))), ["owner_changed"]);
}

#[test]
fn under_another_daemon_no_epoch_is_known_to_be_free() {
    let mut script = Script::after(&[START, STARTED]);
    assert_eq!(appended(&script.feed(attach(1, None))), ["owner_changed"]);
}

#[test]
fn a_stream_that_may_have_been_told_of_its_epoch_has_had_it() {
    for written in [false, true] {
        let mut script = Script::after(&[START, STARTED]);
        let watch = Attach { stream: StreamId(1), client: bob(), mode: Mode::Observer, size: None, owner_epoch: None };
        script.feed(Input::Attach(Asker(1), watch));
        let takeover = Op::Takeover(None);
        script.feed(Input::Request { asker: Some(Asker(2)), client: bob(), owner_epoch: None, op: takeover });
        assert_eq!(script.session.next_owner_stream(), Some(StreamId(1)), "it reads so in its output");
        // Its connection is cut, at once or while the holder is told.
        if written {
            script.write();
            script.feed(Input::StreamGone(StreamId(1)));
        } else {
            script.feed(Input::StreamGone(StreamId(1)));
            script.write();
        }
        script.feed(Input::Holder(HolderInput::OwnerOk { epoch: OwnerEpoch(2), former: None }));
        let another = Attach { stream: StreamId(2), client: bob(), mode: Mode::Owner, size: None, owner_epoch: None };
        assert_eq!(appended(&script.feed(Input::Attach(Asker(3), another))), ["owner_changed"], "{written}");
    }
}

fn bob() -> ClientId {
    ClientId::try_from("bob".to_owned()).unwrap()
}
