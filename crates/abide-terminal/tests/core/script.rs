//! A session that is led by hand, one input after the other.

use abide_terminal::session::{Asker, HolderInput, Input, Now, Op, Output, Refusal, Reply, Session};
use abide_terminal::store::{Event, Facts};
use abide_terminal::{ClientId, EventNumber, Incarnation, InputOffset, OwnerEpoch, Restore, Takeover};

use crate::world::{LIMITS, created};

pub(crate) const START: Event = Event::Start { incarnation: Incarnation(1) };
pub(crate) const STARTED: Event = Event::Started { pid: 7, start_time: 8 };

pub(crate) struct Script {
    pub(crate) session: Session,
    pub(crate) boot_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) number: u64,
}

impl Script {
    /// A session of which these events are recorded, its holder adopted.
    pub(crate) fn after(history: &[Event]) -> Self {
        Self::with(Restore::Never, history)
    }

    /// The same with a policy on losses.
    pub(crate) fn with(restore: Restore, history: &[Event]) -> Self {
        let mut created = created(Some(ada()), Takeover::Allow);
        created.record.restore = restore;
        let mut facts = Facts::new(created);
        for (number, event) in (1..).zip(history) {
            facts.apply(EventNumber(number), 5_000, event);
        }
        let mut script = Self::of(facts);
        script.adopt(1);
        script
    }

    /// A session of which nobody has said anything yet.
    pub(crate) fn of(facts: Facts) -> Self {
        Self { session: Session::new(facts, LIMITS), boot_ms: 1_000, wall_ms: 5_000, number: 100 }
    }

    /// A holder that knows this owner epoch is adopted; the events that follow.
    pub(crate) fn adopt(&mut self, owner_epoch: u32) -> Vec<&'static str> {
        let adopted = HolderInput::Adopted {
            owner_epoch: OwnerEpoch(owner_epoch),
            input_applied: InputOffset(0),
            former: None,
            size: (80, 24),
        };
        appended(&self.feed(Input::Holder(adopted)))
    }

    pub(crate) fn feed(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.session.handle(Now { boot_ms: self.boot_ms, wall_ms: self.wall_ms }, input, &mut out);
        out
    }

    pub(crate) fn write(&mut self) -> Vec<Output> {
        self.number += 1;
        self.feed(Input::Written(EventNumber(self.number), self.wall_ms))
    }

    /// Everything written is on the disk.
    pub(crate) fn durable(&mut self) -> Vec<Output> {
        self.feed(Input::Durable(EventNumber(u64::MAX)))
    }

    pub(crate) fn ask(&mut self, op: Op) -> Vec<Output> {
        self.feed(Input::Request { asker: Some(Asker(1)), client: ada(), owner_epoch: None, op })
    }

    pub(crate) fn refuse(&mut self) -> Vec<Output> {
        self.feed(Input::Refused(Refusal::Full))
    }
}

pub(crate) fn ada() -> ClientId {
    ClientId::try_from("ada".to_owned()).unwrap()
}

pub(crate) fn appended(out: &[Output]) -> Vec<&'static str> {
    let units = out.iter().filter_map(|output| match output {
        Output::Append(unit) => Some(unit),
        _ => None,
    });
    units.flat_map(|unit| unit.iter().map(|(event, _)| event.name())).collect()
}

pub(crate) fn answers(out: &[Output]) -> Vec<String> {
    let answer = |output: &Output| match output {
        Output::Answer(_, Reply::Error(error)) => {
            Some(format!("{} {}", error.code.as_str(), serde_json::to_string(&error.details).unwrap()))
        }
        Output::Answer(..) => Some("ok".to_owned()),
        _ => None,
    };
    out.iter().filter_map(answer).collect()
}
