//! Every call ends once; what may be repeated is carried out, once, however often its connection is cut.

use std::collections::BTreeMap;
use std::time::Duration;

use abide_terminal::client::{ControlInput, ControlLink, ControlOutput, Identity, Instant};
use abide_terminal::protocol::{
    Answer, ControlEvent, ControlMessage, ControlRequest, Create, Frame, GetRecoveryReport, Nothing, Shutdown,
    ShutdownMode, WireError, message_frame, read_control, read_hello,
};
use abide_wire::{Code, RequestId};
use serde_json::{Value, json};

use crate::wire::{Wire, hello_ok};
use abide_sim::Rng;

#[derive(Default)]
struct Model {
    wire: Option<Wire>,
    greeted: bool,
    /// Sessions by the key that they were created with, and how often that was asked for.
    created: BTreeMap<String, u64>,
    shutdowns: u64,
}

impl Model {
    fn frame(&mut self, frame: Frame, random: &mut Rng) {
        let Frame::Message(text) = frame else { panic!("a control connection carries messages") };
        if !self.greeted {
            read_hello(&text).unwrap();
            self.greeted = true;
            return self.say(&ControlMessage::HelloOk(hello_ok()));
        }
        let (id, request) = read_control(&text).unwrap();
        if random.one_in(12) {
            return self.answer(id, Err(WireError::new(Code::SessionStarting, "starting")));
        }
        let result = match request {
            ControlRequest::Create(create) => {
                let key = create.key.expect("a link draws a key for each create").to_string();
                *self.created.entry(key.clone()).or_default() += 1;
                json!(key)
            }
            ControlRequest::Shutdown(_) => {
                self.shutdowns += 1;
                json!("down")
            }
            _ => json!(Nothing {}),
        };
        self.answer(id, Ok(result));
    }

    fn answer(&mut self, id: RequestId, outcome: Result<Value, WireError>) {
        self.say(&Answer::new(id, outcome));
    }

    fn say(&mut self, message: &impl serde::Serialize) {
        let mut bytes = Vec::new();
        message_frame(message, &mut bytes);
        self.wire.as_mut().unwrap().to_client.extend(bytes);
    }
}

struct History {
    link: ControlLink,
    model: Model,
    now: Instant,
    out: Vec<ControlOutput>,
    answers: BTreeMap<u64, Vec<Result<Value, WireError>>>,
    dials: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let identity =
            Identity { client_id: "c".parse().unwrap(), program: None, seed: u128::from(seed), may_start: true };
        Self {
            link: ControlLink::new(identity, Instant::default()),
            model: Model::default(),
            now: Instant::default(),
            out: Vec::new(),
            answers: BTreeMap::new(),
            dials: 0,
        }
    }

    fn handle(&mut self, input: ControlInput, reachable: bool) {
        self.link.handle(self.now, input, &mut self.out);
        let mut dial = false;
        for output in std::mem::take(&mut self.out) {
            match output {
                ControlOutput::Dial(_) => dial = true,
                ControlOutput::Send(bytes) => {
                    if let Some(wire) = &mut self.model.wire {
                        wire.to_daemon.extend(bytes);
                    }
                }
                ControlOutput::Close => self.model.wire = None,
                ControlOutput::Complete(id, outcome) => self.answers.entry(id).or_default().push(outcome),
                ControlOutput::Opened => assert!(self.model.wire.is_some(), "there is a connection"),
                ControlOutput::Event(event) => panic!("nothing is subscribed to: {event:?}"),
                ControlOutput::Ended(error) => panic!("nothing here ends a link: {error}"),
            }
        }
        if dial {
            self.dials += 1;
            if reachable {
                self.model.wire = Some(Wire::default());
                self.model.greeted = false;
                self.handle(ControlInput::Connected, reachable);
            } else {
                self.handle(ControlInput::Unreachable, reachable);
            }
        }
    }

    fn step(&mut self, random: &mut Rng, faults: bool) {
        self.now = self.now.after(Duration::from_millis(random.below(30)));
        // A daemon that was never reached is given up after a while: so the first dial succeeds.
        let reachable = !faults || self.dials == 0 || !random.one_in(3);
        if self.link.poll_timeout().is_some_and(|at| at <= self.now) {
            self.handle(ControlInput::Timeout, reachable);
        }
        if let Some(wire) = &mut self.model.wire {
            for frame in wire.at_daemon(random) {
                self.model.frame(frame, random);
            }
        }
        let frames = self.model.wire.as_mut().map(|wire| wire.at_client(random)).unwrap_or_default();
        for frame in frames {
            self.handle(ControlInput::Frame(frame), reachable);
        }
        if faults && self.model.wire.is_some() && random.one_in(8) {
            if self.model.greeted && random.one_in(3) {
                self.model
                    .say(&ControlMessage::Event(ControlEvent::Detached { code: Code::DaemonStopping, restart: true }));
            }
            self.model.wire = None;
            self.handle(ControlInput::Closed, reachable);
        }
    }
}

#[test]
fn over_any_number_of_lost_connections() {
    let (mut cuts, mut repeats, mut unknown) = (0, 0, 0);
    for seed in crate::seeds(2_000, 100_000) {
        let mut random = Rng::new(seed);
        let mut history = History::new(seed);
        let calls = 12;
        let mut asked: BTreeMap<u64, ControlRequest> = BTreeMap::new();
        for id in 0..calls {
            for _ in 0..random.below(12) {
                history.step(&mut random, true);
            }
            let request = match random.below(4) {
                0 => Shutdown { mode: ShutdownMode::Keep, restart: None }.into(),
                1 => GetRecoveryReport {}.into(),
                _ => ControlRequest::from(Create::new(80, 24)),
            };
            asked.insert(id, request.clone());
            history.handle(ControlInput::Call(id, request), true);
        }
        for _ in 0..300 {
            history.step(&mut random, true);
        }
        for _ in 0..20_000 {
            if history.answers.len() as u64 == calls {
                break;
            }
            history.step(&mut random, false);
        }
        cuts += history.dials - 1;
        repeats += history.model.created.values().filter(|count| **count > 1).count();
        let mut shutdowns = 0;
        for (id, request) in &asked {
            let answers = history.answers.get(id).unwrap_or_else(|| panic!("seed {seed}: call {id} has no answer"));
            assert_eq!(answers.len(), 1, "seed {seed}: call {id} has several answers");
            match (&answers[0], request) {
                (Ok(_), ControlRequest::Shutdown(_)) => shutdowns += 1,
                (Ok(_), _) => {}
                (Err(error), ControlRequest::Shutdown(_)) => {
                    assert!(matches!(error.code, Code::OutcomeUnknown | Code::SessionStarting), "seed {seed}: {error}");
                    unknown += 1;
                }
                (Err(error), _) => assert_eq!(error.code, Code::SessionStarting, "seed {seed}: {error}"),
            }
        }
        // Each create has its own key, so each happened once, however often it was sent.
        let creates = asked.values().filter(|request| matches!(request, ControlRequest::Create(_))).count();
        assert!(history.model.created.len() <= creates, "seed {seed}");
        assert!(history.model.shutdowns >= shutdowns, "seed {seed}");
        let sent = asked.values().filter(|request| matches!(request, ControlRequest::Shutdown(_))).count() as u64;
        assert!(history.model.shutdowns <= sent, "seed {seed}: a shutdown was repeated");
    }
    println!("{cuts} cuts, {repeats} repeated creates, {unknown} unknown outcomes");
    assert!(cuts > 10_000 && repeats > 500 && unknown > 200, "too few faults struck");
}
