//! A holder that must be told again of the owner that the registry has changes nobody's mode.

use abide_terminal::protocol::Mode;
use abide_terminal::session::{Asker, Attach, Frame, HolderInput, Input, Output, StreamId};
use abide_terminal::{InputOffset, OwnerEpoch};

use crate::script::{START, STARTED, Script, ada};

#[test]
fn adoption_makes_nobody_an_owner() {
    let mut script = Script::after(&[START, STARTED]);
    let attach = Attach { stream: StreamId(1), client: ada(), mode: Mode::Observer, size: None, owner_epoch: None };
    script.feed(Input::Attach(Asker(1), attach));
    let adopted = HolderInput::Adopted {
        owner_epoch: OwnerEpoch(0),
        input_applied: InputOffset(0),
        former: None,
        size: (80, 24),
    };
    let out = script.feed(Input::Holder(adopted));
    assert_eq!(out, [Output::ToHolder(Frame::Owner(OwnerEpoch(1)))]);
    let out = script.feed(Input::Holder(HolderInput::OwnerOk { epoch: OwnerEpoch(1), former: None }));
    assert_eq!(out, [Output::Drain]);
    assert_eq!(script.session.mode(StreamId(1)), Some(Mode::Observer));
}
