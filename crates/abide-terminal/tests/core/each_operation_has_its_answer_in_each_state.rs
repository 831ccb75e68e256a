//! The table of operations by state, for the owner and for somebody else: what is answered, and what is recorded.

use abide_terminal::protocol::Mode;
use abide_terminal::session::{
    Asker, Attach, HolderInput, Input, Now, Op, Output, Reply, Session, Size, StreamId, Target,
};
use abide_terminal::store::{Event, Facts};
use abide_terminal::{
    ByteOffset, ClientId, EventNumber, Exit, ExitKind, Incarnation, InputOffset, OwnerEpoch, Takeover,
};

use crate::world::{LIMITS, created};

const NOW: Now = Now { boot_ms: 1_000, wall_ms: 5_000 };
const ADA: &str = "ada";
const BOB: &str = "bob";
const LATER: &str = "waits";

/// Columns: accepted, starting, running, terminating, exited, finalized. A name behind a `+` is an event.
const TABLE: &[(&str, &str, [&str; 6])] = &[
    ("attach", ADA, [LATER, LATER, "ok +owner_changed", "ok +owner_changed", "ok", "ok"]),
    ("attach again", ADA, [LATER, LATER, "ok", "ok", "ok", "ok"]),
    ("attach", BOB, [LATER, LATER, "SESSION_OWNED", "SESSION_OWNED", "ok", "ok"]),
    ("observe", BOB, [LATER, LATER, "ok", "ok", "ok", "ok"]),
    (
        "signal",
        ADA,
        ["SESSION_STARTING", "SESSION_STARTING", "ok", "SESSION_TERMINATING", "SESSION_EXITED", "SESSION_EXITED"],
    ),
    ("signal", BOB, [FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, "SESSION_EXITED"]),
    (
        "write",
        ADA,
        ["SESSION_STARTING", "SESSION_STARTING", "ok", "SESSION_TERMINATING", "SESSION_EXITED", "SESSION_EXITED"],
    ),
    ("write", BOB, [FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, "SESSION_EXITED"]),
    (
        "resize",
        ADA,
        ["ok +resized", "ok +resized", "ok +resized", "SESSION_TERMINATING", "SESSION_EXITED", "SESSION_EXITED"],
    ),
    ("resize", BOB, [FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, "SESSION_EXITED"]),
    ("kill", ADA, ["ok +exited +finalized", "ok +kill", "ok +kill", "already", "already", "already"]),
    ("kill", BOB, [FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, "already", "already"]),
    ("takeover", ADA, ["ok", "ok", "ok", "ok", "ok", "ok"]),
    ("takeover", BOB, ["ok +owner_changed", "ok +owner_changed", "ok +owner_changed", "ok +owner_changed", "ok", "ok"]),
    (
        "takeover with a size",
        BOB,
        [
            "ok +owner_changed +resized",
            "ok +owner_changed +resized",
            "ok +owner_changed +resized",
            "ok +owner_changed",
            "ok",
            "ok",
        ],
    ),
    ("release", ADA, ["ok +owner_changed", "ok +owner_changed", "ok +owner_changed", "ok +owner_changed", "ok", "ok"]),
    ("release", BOB, [FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, "ok", "ok"]),
    ("release to itself", ADA, ["ok", "ok", "ok", "ok", "ok", "ok"]),
    ("release to a stranger", ADA, ["BAD_REQUEST", "BAD_REQUEST", "BAD_REQUEST", "BAD_REQUEST", "ok", "ok"]),
    ("rename", ADA, ["ok +renamed", "ok +renamed", "ok +renamed", "ok +renamed", "ok +renamed", "ok +renamed"]),
    ("rename", BOB, [FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, "ok +renamed"]),
    ("remove", BOB, ["SESSION_RUNNING", "SESSION_RUNNING", "SESSION_RUNNING", "SESSION_RUNNING", LATER, "ok +removed"]),
    (
        "recover",
        BOB,
        ["SESSION_RUNNING", "SESSION_RUNNING", "SESSION_RUNNING", "SESSION_RUNNING", LATER, "BAD_REQUEST"],
    ),
    (
        "kill, stale",
        ADA,
        ["OWNER_CHANGED", "OWNER_CHANGED", "OWNER_CHANGED", "OWNER_CHANGED", "OWNER_CHANGED", "OWNER_CHANGED"],
    ),
];

const FORBIDDEN: &str = "ROLE_FORBIDDEN";

fn client(name: &str) -> ClientId {
    ClientId::try_from(name.to_owned()).unwrap()
}

/// A session that has come so far, its holder adopted.
fn session(stage: usize) -> Session {
    let exit = Exit { kind: ExitKind::Code(0), forced: false, survivors: vec![], drain: None };
    let history = [
        Event::Start { incarnation: Incarnation(1) },
        Event::Started { pid: 7, start_time: 8 },
        Event::Kill { deadline_at: 9_000, t0_boot_ms: 1_000, grace_ms: 4_000, signal: None, by: None },
        Event::Exited { exit: exit.clone() },
        Event::Finalized { end_offset: ByteOffset(3), exit },
    ];
    let mut facts = Facts::new(created(Some(client(ADA)), Takeover::Allow));
    for (number, event) in (1..).zip(&history[..stage]) {
        facts.apply(EventNumber(number), 5_000, event);
    }
    let mut session = Session::new(facts, LIMITS);
    if (1..5).contains(&stage) {
        let adopted = HolderInput::Adopted {
            owner_epoch: OwnerEpoch(1),
            input_applied: InputOffset(0),
            former: None,
            size: (80, 24),
        };
        session.handle(NOW, Input::Holder(adopted), &mut Vec::new());
    }
    session
}

fn input(operation: &str, who: &str) -> Input {
    let size = Some(Size { cols: 132, rows: 50, pixels: (0, 0) });
    let attach = |mode, owner_epoch| {
        let attach = Attach { stream: StreamId(1), client: client(who), mode, size: None, owner_epoch };
        Input::Attach(Asker(1), attach)
    };
    let kill = Op::Kill { grace_ms: 5_000, force: false, signal: None };
    let op = match operation {
        "attach" => return attach(Mode::Owner, None),
        "attach again" => return attach(Mode::Owner, Some(OwnerEpoch(1))),
        "observe" => return attach(Mode::Observer, None),
        "signal" => Op::Signal(2, Target::Leader),
        "write" => Op::Write(None),
        "resize" => Op::Resize(size),
        "kill" | "kill, stale" => kill,
        "takeover" => Op::Takeover(None),
        "takeover with a size" => Op::Takeover(size),
        "release" => Op::Release { to: None },
        "release to itself" => Op::Release { to: Some(client(who)) },
        "release to a stranger" => Op::Release { to: Some(client("dan")) },
        "rename" => Op::Rename("another".to_owned()),
        "recover" => Op::Recover(None),
        "remove" => Op::Remove,
        _ => panic!("{operation}"),
    };
    let owner_epoch = operation.ends_with("stale").then_some(OwnerEpoch(9));
    Input::Request { asker: Some(Asker(1)), client: client(who), owner_epoch, op }
}

/// What is answered, and which events are recorded, when the journal and the holder do what they are asked.
fn outcome(session: &mut Session, input: Input) -> String {
    let (mut answer, mut events) = (LATER, String::new());
    let mut inputs = vec![input];
    let mut number = 10;
    while !inputs.is_empty() {
        let mut out = Vec::new();
        session.handle(NOW, inputs.remove(0), &mut out);
        for output in out {
            match output {
                Output::Append(unit) => {
                    number += 1;
                    for (event, _) in unit.iter() {
                        events.push_str(" +");
                        events.push_str(event.name());
                    }
                    inputs.extend([Input::Written(EventNumber(number), 6_000), Input::Durable(EventNumber(number))]);
                }
                Output::ToHolder(abide_terminal::session::Frame::Owner(epoch)) => {
                    inputs.push(Input::Holder(HolderInput::OwnerOk { epoch, former: None }));
                }
                Output::Answer(Asker(1), Reply::Error(error)) => answer = error.code.as_str(),
                Output::Answer(Asker(1), Reply::Kill { already: true, .. }) => answer = "already",
                Output::Answer(Asker(1), _) | Output::DropLog(Some(Asker(1))) | Output::Write(Asker(1), _) => {
                    answer = "ok";
                }
                _ => {}
            }
        }
    }
    answer.to_owned() + &events
}

#[test]
fn each_operation_has_its_answer_in_each_state() {
    let mut pairs = 0;
    for (operation, who, answers) in TABLE {
        for (stage, expected) in answers.iter().enumerate() {
            let got = outcome(&mut session(stage), input(operation, who));
            assert_eq!(got, *expected, "{operation} by {who} in stage {stage}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 6 * TABLE.len());
}
