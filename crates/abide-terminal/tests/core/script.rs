//! A session that is led by hand, one input after the other.

use abide_terminal::session::{Asker, HolderInput, Input, Now, Op, Output, Refusal, Reply, Session};
use abide_terminal::store::{Event, Facts};
use abide_terminal::{ClientId, EventNumber, Incarnation, InputOffset, OwnerEpoch, Takeover};

use crate::world::{LIMITS, created};

pub(crate) const START: Event = Event::Start { incarnation: Incarnation(1) };
pub(crate) const STARTED: Event = Event::Started { pid: 7, start_time: 8 };

pub(crate) struct Script {
    pub(crate) session: Session,
    pub(crate) boot_ms: u64,
    pub(crate) number: u64,
}

impl Script {
    /// A session of which these events are recorded, its holder adopted.
    pub(crate) fn after(history: &[Event]) -> Self {
        let mut facts = Facts::new(created(Some(ada()), Takeover::Allow));
        for (number, event) in (1..).zip(history) {
            facts.apply(EventNumber(number), 5_000, event);
        }
        let mut script = Self { session: Session::new(facts, LIMITS), boot_ms: 1_000, number: 100 };
        let adopted = HolderInput::Adopted {
            owner_epoch: OwnerEpoch(1),
            input_applied: InputOffset(0),
            former: None,
            size: (80, 24),
        };
        script.feed(Input::Holder(adopted));
        script
    }

    pub(crate) fn feed(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.session.handle(Now { boot_ms: self.boot_ms, wall_ms: 5_000 }, input, &mut out);
        out
    }

    pub(crate) fn write(&mut self) -> Vec<Output> {
        self.number += 1;
        self.feed(Input::Written(EventNumber(self.number), 6_000))
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
    let name = |output: &Output| match output {
        Output::Append(event, _) => Some(event.name()),
        _ => None,
    };
    out.iter().filter_map(name).collect()
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
