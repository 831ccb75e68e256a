//! What a former owner is told of its input is exact, or nothing at all.

use abide_terminal::protocol::Mode;
use abide_terminal::session::{Asker, Attach, HolderInput, Input, Op, Output, Reply, StreamId};
use abide_terminal::{ClientId, InputOffset, OwnerEpoch};

use crate::script::{START, STARTED, Script};

type Count = Option<(OwnerEpoch, InputOffset)>;

const fn count(epoch: u32, applied: u64) -> (OwnerEpoch, InputOffset) {
    (OwnerEpoch(epoch), InputOffset(applied))
}

/// Another client becomes the owner; the holder answers with this, or not in time.
fn takeover(script: &mut Script, name: &str, former: Count) {
    let client = ClientId::try_from(name.to_owned()).unwrap();
    let op = Op::Takeover(None);
    script.feed(Input::Request { asker: None, client, owner_epoch: None, op });
    script.write();
    let epoch = script.session.facts().record().owner_epoch;
    if former.is_some() {
        script.feed(Input::Holder(HolderInput::OwnerOk { epoch, former }));
    } else {
        script.boot_ms += 2_000;
        script.feed(Input::Timeout);
    }
    assert!(!script.session.is_handing_over());
}

/// What somebody who attaches now is told.
fn told(script: &mut Script) -> Count {
    let client = ClientId::try_from("dan".to_owned()).unwrap();
    let attach = Attach { stream: StreamId(9), client, mode: Mode::Observer, size: None, owner_epoch: None };
    let out = script.feed(Input::Attach(Asker(9), attach));
    script.feed(Input::StreamGone(StreamId(9)));
    match &out[..] {
        [Output::Answer(_, Reply::Attached(attached))] => attached.former,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_count_that_nobody_told_is_unknown() {
    let mut script = Script::after(&[START, STARTED]);
    takeover(&mut script, "bob", Some(count(1, 40)));
    assert_eq!(told(&mut script), Some(count(1, 40)));
    takeover(&mut script, "cy", None);
    assert_eq!(told(&mut script), None, "bob may have written since");
    let late = HolderInput::OwnerOk { epoch: OwnerEpoch(3), former: Some(count(2, 7)) };
    script.feed(Input::Holder(late));
    assert_eq!(told(&mut script), Some(count(2, 7)), "told late, but told");
    let stale = HolderInput::OwnerOk { epoch: OwnerEpoch(2), former: Some(count(1, 40)) };
    script.feed(Input::Holder(stale));
    assert_eq!(told(&mut script), Some(count(2, 7)));
}
