//! Sixteen clients take a session from each other, type into it, resize it, attach to it and kill it, all at once: one owns
//! it at a time, what each was told of its input is what the program read, nobody types who does not own it, and a kill
//! ends it in time and leaves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use abide_sim::Rng;
use abide_terminal::client::{Client, Stream, StreamEnd, StreamEvent};
use abide_terminal::protocol::{
    Create, Inspect, Kill, Mode, Release, Remove, Resize, SessionRef, StartAt, Take, WireError, Write,
};
use abide_terminal::{Cause, ClientId, Record, State};
use abide_wire::Code;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Peer, Place, SOON, hello, is_alive, size};

const CLIENTS: usize = 16;

/// Rounds that go on at the same time, each with clients of its own.
const AT_ONCE: usize = 3;

/// What each client does in a round before anybody kills.
const ACTIONS: usize = 3;

const GRACE_MS: u32 = 100;

/// Whose input it is: each types its own letter, and a former owner one that nobody may see.
const LETTERS: &[u8; CLIENTS] = b"abcdefghijklmnop";
const LATE: u8 = b'Z';
const MARK: u8 = b'!';

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    rounds: u64,
    done: u64,
    refused: u64,
    owners: u64,
    applied: u64,
    late_refused: u64,
    kills: u64,
    untold: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.done += other.done;
        self.refused += other.refused;
        self.owners += other.owners;
        self.applied += other.applied;
        self.late_refused += other.late_refused;
        self.kills += other.kills;
        self.untold += other.untold;
    }
}

/// What somebody who may not, or is too late, is told.
fn is_expected(error: &WireError) -> bool {
    matches!(
        error.code,
        Code::RoleForbidden
            | Code::OwnerChanged
            | Code::SessionOwned
            | Code::InputOnStream
            | Code::SessionTerminating
            | Code::SessionExited
            | Code::BadRequest
    )
}

/// What one client typed: how many of its letters must have reached the program, or nothing if nobody can tell.
type Typed = Option<u64>;

async fn writes(client: &mut Client, session: &SessionRef, letter: u8, len: usize) -> Result<Typed, WireError> {
    let data = Bytes::from(vec![letter; len]);
    let write = Write { session: session.clone(), data, owner_epoch: None, input_offset: None };
    match client.call(write).await {
        Ok(written) => {
            let begin = written.input_offset.0 - len as u64;
            Ok(Some(written.input_applied.0.saturating_sub(begin).min(len as u64)))
        }
        Err(error) if error.code == Code::OutcomeUnknown => Ok(None),
        Err(error) => Err(error),
    }
}

/// Attaches as the owner, types, and waits until it knows what became of it.
async fn types(place: &Place, name: &str, session: &SessionRef, letter: u8, len: usize) -> Result<Typed, WireError> {
    let mut stream = place.stream(name, &session.to_string(), Mode::Owner, StartAt::Live);
    let (mut typed, mut lost) = (0, None);
    let unknown = loop {
        match timeout(SOON, stream.next()).await.expect("a stream that types is told of it") {
            Ok(StreamEvent::Attached(attached)) if attached.mode == Mode::Owner => {
                typed = stream.write(&vec![letter; len]) as u64;
            }
            // It was somebody else's when it came, or is now.
            Ok(StreamEvent::Attached(_)) => break false,
            Ok(StreamEvent::InputLost { applied, accepted, .. }) => match applied {
                Some(applied) => lost = Some(accepted.0 - applied.0),
                None => break true,
            },
            Ok(StreamEvent::Refused(error)) => assert!(is_expected(&error), "{error}"),
            Ok(_) => {}
            Err(StreamEnd::Failed(error)) => return Err(error),
            Err(StreamEnd::Finished(_)) => break typed > 0 && lost.is_none() && !stream.link().is_input_applied(),
        }
        if typed > 0 && (lost.is_some() || stream.link().is_input_applied()) {
            break false;
        }
    };
    stream.detach();
    while timeout(SOON, stream.next()).await.expect("it may leave").is_ok() {}
    Ok((!unknown).then(|| typed - lost.unwrap_or(0)))
}

/// One of the clients does something; what it typed, if it did.
async fn acts(
    place: &Place,
    client: &mut Client,
    name: &str,
    session: &SessionRef,
    letter: u8,
    dice: &mut Rng,
) -> Result<Option<Typed>, WireError> {
    let session = session.clone();
    match dice.below(8) {
        0..=2 => {
            let take = Take { session, owner_epoch: None, cols: 0, rows: 0 };
            client.call(take).await.map(|_| None)
        }
        3 => {
            let cols = 80 + u16::try_from(dice.below(40)).unwrap();
            let resize = Resize { session, cols, rows: 24, xpixel: 0, ypixel: 0, owner_epoch: None };
            client.call(resize).await.map(|_| None)
        }
        4 => client.call(Release { session, to: None, owner_epoch: None }).await.map(|_| None),
        5 | 6 => writes(client, &session, letter, 1 + dice.index(300)).await.map(Some),
        _ => types(place, name, &session, letter, 1 + dice.index(3_000)).await.map(Some),
    }
}

/// Looks on from the first byte to the end: what was printed, and who owned the session in which epoch.
struct Looker {
    stream: Stream,
    printed: Vec<u8>,
    epochs: Vec<(u32, Option<ClientId>)>,
    ended: bool,
}

impl Looker {
    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            match timeout(SOON, self.stream.next()).await.expect("there is more to come") {
                Ok(StreamEvent::Output { bytes, .. }) => self.printed.extend_from_slice(&bytes),
                Ok(StreamEvent::OwnershipChanged(change)) => {
                    assert_ne!(change.cause, Cause::Restored);
                    self.epochs.push((change.owner_epoch.0, change.owner));
                }
                Ok(StreamEvent::Exited(_)) => self.ended = true,
                Ok(_) => {}
                Err(end) => {
                    assert!(self.ended, "{end:?}");
                    return;
                }
            }
        }
    }

    fn count(&self, letter: u8) -> u64 {
        self.printed.iter().map(|byte| u64::from(*byte == letter)).sum()
    }
}

/// The first owner, who has lost the session, types on as if it had not: each frame is refused.
fn types_late(peer: &mut Peer) -> u64 {
    peer.next("ownership_changed");
    let frames = 3_u64;
    for number in 0..frames {
        let frame = [&1_u32.to_le_bytes()[..], &number.to_le_bytes()[..], &[LATE]].concat();
        peer.send(3, &frame);
    }
    for _ in 0..frames {
        assert_eq!(peer.next("error")["code"], "ROLE_FORBIDDEN");
    }
    frames
}

struct Round {
    place: Arc<Place>,
    clients: Arc<Vec<(String, Mutex<Client>)>>,
    owner: String,
    seed: u64,
}

impl Round {
    /// The session, of the client whose input will be late.
    async fn begin(&self) -> (Record, Peer, Looker) {
        let mut client = self.place.client(&self.owner);
        let create = Create {
            command: Some("sh".to_owned()),
            args: ["-c", "stty raw -echo; echo READY; exec cat"].map(str::to_owned).to_vec(),
            ..Create::new(80, 24)
        };
        let record = timeout(SOON, client.call(create)).await.expect("it starts").unwrap().session;
        let id = record.id;
        let stream = self.place.stream(&format!("{}-looks", self.owner), &id.to_string(), Mode::Observer, BEGINNING);
        let mut looker = Looker { stream, printed: Vec::new(), epochs: Vec::new(), ended: false };
        looker.until(|looker| looker.count(b'\n') > 0).await;
        let mut late = Peer::greeted(&self.place, &hello(&self.owner, "stream"));
        let attach = format!(r#"{{"type":"attach","id":"1","session":"{id}","mode":"owner","from":"live"}}"#);
        assert_eq!(late.ask(&attach)["mode"], "owner");
        (record, late, looker)
    }

    /// All of them at once; what each typed.
    async fn race(&self, session: &SessionRef, tally: &mut Tally) -> BTreeMap<u8, Typed> {
        let mut racing = JoinSet::new();
        for (number, letter) in LETTERS.iter().copied().enumerate() {
            let (place, clients, session) = (Arc::clone(&self.place), Arc::clone(&self.clients), session.clone());
            let mut dice = Rng::new(self.seed * 100 + number as u64);
            racing.spawn(async move {
                let (name, client) = &clients[number];
                let mut client = client.lock().await;
                let (mut done, mut refused, mut typed) = (0, 0, Some(0));
                for action in 0..ACTIONS {
                    // Somebody takes it before anything else: the first owner has to lose it.
                    let acted = if action == 0 && number == 0 {
                        let take = Take { session: session.clone(), owner_epoch: None, cols: 0, rows: 0 };
                        client.call(take).await.map(|_| None)
                    } else {
                        acts(&place, &mut client, name, &session, letter, &mut dice).await
                    };
                    match acted {
                        Ok(more) => {
                            done += 1;
                            if let Some(more) = more {
                                typed = typed.zip(more).map(|(typed, more)| typed + more);
                            }
                        }
                        Err(error) => {
                            assert!(is_expected(&error), "{error}");
                            refused += 1;
                        }
                    }
                }
                (letter, typed, done, refused)
            });
        }
        let mut all = BTreeMap::new();
        while let Some(raced) = timeout(SOON, racing.join_next()).await.expect("everybody is answered") {
            let (letter, typed, done, refused) = raced.unwrap();
            tally.done += done;
            tally.refused += refused;
            all.insert(letter, typed);
        }
        all
    }

    /// Everybody kills it, and goes on with what they do.
    async fn kill(&self, session: &SessionRef, tally: &mut Tally) {
        let mut racing = JoinSet::new();
        for number in 0..CLIENTS {
            let (place, clients, session) = (Arc::clone(&self.place), Arc::clone(&self.clients), session.clone());
            let mut dice = Rng::new(self.seed * 100 + 50 + number as u64);
            racing.spawn(async move {
                let (name, client) = &clients[number];
                let mut client = client.lock().await;
                let take = Take { session: session.clone(), owner_epoch: None, cols: 0, rows: 0 };
                let _ = client.call(take).await;
                let killed = client.call(kill(&session)).await;
                if let Err(error) = acts(&place, &mut client, name, &session, LETTERS[number], &mut dice).await {
                    assert!(is_expected(&error), "{error}");
                }
                killed
            });
        }
        let mut ids = Vec::new();
        while let Some(killed) = timeout(SOON, racing.join_next()).await.expect("everybody is answered") {
            match killed.unwrap() {
                Ok(killed) => ids.push(killed.kill_id),
                Err(error) => assert!(is_expected(&error), "{error}"),
            }
        }
        tally.kills += u64::from(!ids.is_empty());
        // Whoever owned it last may have come after its own kill was refused.
        let mut client = self.clients[0].1.lock().await;
        client.call(Take { session: session.clone(), owner_epoch: None, cols: 0, rows: 0 }).await.unwrap();
        ids.push(client.call(kill(session)).await.unwrap().kill_id);
        assert!(ids.iter().all(|id| *id == ids[0]), "one kill, whoever asks: {ids:?}");
    }

    async fn run(self) -> Tally {
        let mut tally = Tally { rounds: 1, ..Tally::default() };
        let (record, mut late, mut looker) = self.begin().await;
        let session = SessionRef::Id(record.id);
        let mut typed = self.race(&session, &mut tally).await;
        tally.late_refused = tokio::task::block_in_place(|| types_late(&mut late));

        // Whatever was typed before the mark was read before it.
        let mut client = self.place.client(&format!("{}-marks", self.owner));
        client.call(Take { session: session.clone(), owner_epoch: None, cols: 0, rows: 0 }).await.unwrap();
        assert_eq!(writes(&mut client, &session, MARK, 1).await.unwrap(), Some(1));
        looker.until(|looker| looker.count(MARK) > 0).await;
        for (letter, typed) in &mut typed {
            let read = looker.count(*letter);
            match typed.take() {
                Some(typed) => assert_eq!(read, typed, "{}: what was said to be applied was", char::from(*letter)),
                None => tally.untold += 1,
            }
            tally.applied += read;
        }
        self.kill(&session, &mut tally).await;
        looker.until(|looker| looker.ended).await;
        assert_eq!(looker.count(LATE), 0, "a former owner types nothing");
        let epochs: Vec<u32> = looker.epochs.iter().map(|(epoch, _)| *epoch).collect();
        assert!(epochs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "one owner at a time: {epochs:?}");
        assert_eq!(epochs.first(), Some(&2));
        tally.owners = epochs.len() as u64;

        let ended = client.call(Inspect { session: session.clone(), env: false }).await.unwrap().session;
        let deadline = ended.kill.as_ref().expect("it was killed").deadline_at;
        let exited = ended.exited_at.expect("it has ended");
        assert!(exited <= deadline + 1_000 + SLACK_MS, "killed at {deadline}, ended at {exited}");
        assert_eq!(ended.state, State::Finalized);
        assert!(!is_alive(record.pid.expect("it ran")), "the program is gone");
        client.call(Remove { session }).await.unwrap();
        tally
    }
}

fn kill(session: &SessionRef) -> Kill {
    Kill { session: session.clone(), grace_ms: Some(GRACE_MS), force: false, signal: None, owner_epoch: None }
}

/// What a machine that is busy may add to a bound of seconds.
const SLACK_MS: u64 = 5_000;

#[test]
fn sixteen_clients_race_for_a_session() {
    let rounds = size(300, 10_000);
    let place = Arc::new(Place::new());
    place.start_daemon();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let tally = runtime.block_on(async {
        let mut lanes = JoinSet::new();
        for lane in 0..AT_ONCE {
            let place = Arc::clone(&place);
            lanes.spawn(async move {
                let name = |number: usize| format!("lane{lane}-{}", char::from(LETTERS[number]));
                let clients = (0..CLIENTS).map(|number| (name(number), Mutex::new(place.client(&name(number)))));
                let clients = Arc::new(clients.collect::<Vec<_>>());
                let mut tally = Tally::default();
                for round in (lane..rounds).step_by(AT_ONCE) {
                    let owner = format!("lane{lane}-first");
                    let (place, clients) = (Arc::clone(&place), Arc::clone(&clients));
                    tally.add(Round { place, clients, owner, seed: round as u64 }.run().await);
                }
                tally
            });
        }
        let mut tally = Tally::default();
        while let Some(lane) = lanes.join_next().await {
            tally.add(lane.unwrap());
        }
        tally
    });
    println!("{tally:?}");
    let rounds = rounds as u64;
    assert_eq!((tally.rounds, tally.late_refused), (rounds, 3 * rounds));
    assert!(tally.kills > rounds / 3, "in too few rounds a kill was among what raced");
    assert!(tally.done > 10 * rounds && tally.refused > rounds && tally.owners > 5 * rounds, "too little happened");
    assert!(tally.applied > 10 * rounds && tally.untold < rounds, "too little was typed, or told of");
    place.wait_without_holders();
    let daemon = place.daemon().unwrap();
    let left: Vec<u32> = place.processes().into_iter().filter(|pid| *pid != daemon).collect();
    assert_eq!(left, [] as [u32; 0], "no process is left");
}
