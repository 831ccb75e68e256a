//! Without room for its record a kill is carried out all the same, the end of the program waits behind its start, and
//! what makes room goes on.

use abide_terminal::protocol::Mode;
use abide_terminal::session::{Asker, Attach, Frame, Gone, HolderInput, Input, Op, Output, Size, StreamId};
use abide_terminal::{ByteOffset, EventNumber, ExitKind, OwnerEpoch, State};

use crate::script::{START, STARTED, Script, ada, answers, appended};

#[test]
fn a_kill_without_room_signals_on_time() {
    let mut full = Script::after(&[START, STARTED]);
    let kill = Op::Kill { grace_ms: 400, force: false, signal: None };
    assert_eq!(appended(&full.ask(kill.clone())), ["kill"]);
    let out = full.refuse();
    assert_eq!(answers(&out), [r#"JOURNAL_FULL {"signalled":true}"#]);
    let signal =
        |number| move |output: &Output| matches!(output, Output::ToHolder(Frame::Signal(n, _)) if *n == number);
    assert!(out.iter().any(signal(1)), "{out:?}");
    assert_eq!(full.session.facts().state(), State::Running);
    for (after, number) in [(200, 15), (400, 9)] {
        full.boot_ms = 1_000 + after;
        assert_eq!(full.session.poll_timeout(), Some(full.boot_ms));
        let out = full.feed(Input::Timeout);
        assert!(out.iter().any(signal(number)), "{number} after {after} ms: {out:?}");
    }
    assert_eq!(answers(&full.ask(kill)), [r#"JOURNAL_FULL {"signalled":true}"#], "asked again");
    full.feed(Input::Holder(HolderInput::Ended { status: 9 }));
    assert_eq!(appended(&full.feed(Input::Found(vec![]))), [] as [&str; 0], "the look before the end proves nothing");
    assert_eq!(appended(&full.feed(Input::Found(vec![]))), [] as [&str; 0], "its record waits behind the kill's");
    assert_eq!(appended(&full.feed(Input::Space)), ["kill"]);
    assert_eq!(appended(&full.write()), ["exited"]);
    full.write();
    let exit = full.session.facts().record().exit.clone().unwrap();
    assert_eq!(exit.kind, ExitKind::Signal("SIGKILL".into()));
}

#[test]
fn the_end_of_a_program_waits_behind_its_start() {
    let mut full = Script::after(&[START]);
    assert_eq!(appended(&full.feed(Input::Holder(HolderInput::Started { pid: 7, start_time: 8 }))), ["started"]);
    full.refuse();
    let gone = Gone { status: Some(256), rebooted: false, errno: 0 };
    assert_eq!(appended(&full.feed(Input::Holder(HolderInput::Gone(gone)))), [] as [&str; 0]);
    full.boot_ms += 60_000;
    full.feed(Input::Timeout);
    assert_eq!(appended(&full.feed(Input::Space)), ["started"]);
    assert_eq!(appended(&full.write()), ["exited"]);
    full.write();
    assert_eq!(full.session.facts().record().exit.clone().unwrap().kind, ExitKind::Code(1));
}

#[test]
fn an_attach_keeps_the_old_size() {
    let mut full = Script::after(&[START, STARTED]);
    let size = Some(Size { cols: 132, rows: 50, pixels: (0, 0) });
    let attach =
        Attach { stream: StreamId(1), client: ada(), mode: Mode::Owner, size, owner_epoch: Some(OwnerEpoch(1)) };
    assert_eq!(appended(&full.feed(Input::Attach(Asker(1), attach))), ["resized"]);
    assert_eq!(answers(&full.refuse()), ["ok"]);
    assert_eq!(full.session.owner_stream(), Some(StreamId(1)));
    assert_eq!(full.session.facts().record().cols, 80);
}

#[test]
fn a_session_whose_end_cannot_be_recorded_can_be_removed() {
    let mut full = Script::after(&[START, STARTED]);
    full.feed(Input::Holder(HolderInput::Ended { status: 0 }));
    full.write();
    assert_eq!(answers(&full.ask(Op::Remove)), [] as [&str; 0], "it waits for the end");
    assert_eq!(appended(&full.feed(Input::Drained { head: ByteOffset(3), end: true })), ["finalized"]);
    assert_eq!(appended(&full.refuse()), ["removed"]);
    full.write();
    let out = full.feed(Input::Durable(EventNumber(full.number)));
    assert_eq!(out, [Output::ToHolder(Frame::Hangup), Output::DropLog(Some(Asker(1)))]);
}
