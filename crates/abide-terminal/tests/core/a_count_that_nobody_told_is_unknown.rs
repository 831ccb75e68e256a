//! What a former owner is told of its input is exact, or nothing at all.

use abide_terminal::protocol::Mode;
use abide_terminal::session::{Asker, Attach, HolderInput, Input, Op, Output, Reply, StreamId};
use abide_terminal::{ClientId, InputOffset, OwnerEpoch};

use crate::script::{START, STARTED, Script};

type Count = Option<(OwnerEpoch, InputOffset)>;

#[expect(clippy::unnecessary_wraps, reason = "it stands where a count that nobody told stands too")]
fn count(epoch: u32, applied: u64) -> Count {
    Some((OwnerEpoch(epoch), InputOffset(applied)))
}

/// Another client becomes the owner; the holder answers with this, or not in time.
fn takeover(script: &mut Script, name: &str, former: Option<Count>) {
    let client = ClientId::try_from(name.to_owned()).unwrap();
    let op = Op::Takeover(None);
    script.feed(Input::Request { asker: None, client, owner_epoch: None, op });
    script.write();
    let epoch = script.session.facts().record().owner_epoch;
    if let Some(former) = former {
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
    let attach = Attach { stream: StreamId(9), client, mode: Mode::Observer, size: None };
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
    assert_eq!(told(&mut script), count(1, 40));
    takeover(&mut script, "cy", None);
    assert_eq!(told(&mut script), None, "bob may have written since");
    let late = HolderInput::OwnerOk { epoch: OwnerEpoch(3), former: count(2, 7) };
    script.feed(Input::Holder(late));
    assert_eq!(told(&mut script), count(2, 7), "told late, but told");
    let stale = HolderInput::OwnerOk { epoch: OwnerEpoch(2), former: count(1, 40) };
    script.feed(Input::Holder(stale));
    assert_eq!(told(&mut script), count(2, 7));
}
