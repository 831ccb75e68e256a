//! Clients of the library, and waiting for what a session does by looking on.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abide_terminal::client::{Address, Client, Events, Identity, Stream, StreamEnd, StreamEvent, WhenGone};
use abide_terminal::protocol::{Attach, Inspect, Mode, StartAt, Subscribe};
use abide_terminal::{ByteOffset, EventNumber, Record};
use tokio::time::{Instant, timeout_at};

use super::SOON;
use super::place::{ABIDE, Place};
use super::process::wait_in;

/// The first byte of a session's output.
pub(crate) const BEGINNING: StartAt = StartAt::Offset { offset: ByteOffset(0), epoch: None };

/// Makes what differs between clients of one name.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn identity(name: &str) -> Identity {
    let seed = u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) << 64 | u128::from(std::process::id());
    Identity { client_id: name.parse().unwrap(), program: None, seed, may_start: true }
}

/// The record of a session, by a client of the library.
pub(crate) async fn inspect(client: &mut Client, session: &str) -> Record {
    client.call(Inspect { session: session.parse().unwrap(), env: false }).await.unwrap().session
}

impl Place {
    /// A way to the daemon that starts one when none runs.
    fn address(&self) -> Address {
        let (env, work) = (self.env(), self.work());
        let start = move || {
            let mut up = std::process::Command::new(ABIDE);
            up.arg("up").env_clear().envs(env.iter().cloned()).current_dir(&work);
            up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().map(drop)
        };
        Address { socket: self.socket(), start: Some(Arc::new(start)) }
    }

    /// A client of this name, with its control connection.
    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(identity(name), self.address())
    }

    /// The events behind a number, or from now on.
    pub(crate) fn events(&self, from_event: Option<EventNumber>) -> Events {
        let wish = Subscribe { from_event, ..Subscribe::default() };
        Events::new(identity("watcher"), self.address(), wish)
    }

    /// A stream of a client, from a place of the output on.
    pub(crate) fn stream(&self, client: &str, session: &str, mode: Mode, from: StartAt) -> Stream {
        let attach = Attach { from, ..Attach::new(session.parse().unwrap(), mode) };
        Stream::new(identity(client), self.address(), attach, WhenGone::Nearest)
    }

    /// Looks on from this place of the output, over any number of daemons, until an event brings what is waited for;
    /// `None` if the session ended before.
    #[track_caller]
    fn look_on<T>(
        &self,
        session: &str,
        from: StartAt,
        what: &str,
        mut look: impl FnMut(StreamEvent) -> Option<T>,
    ) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let looker = format!("looker-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut stream = self.stream(&looker, session, Mode::Observer, from);
        let deadline = Instant::now() + 2 * SOON;
        runtime.block_on(async {
            loop {
                match timeout_at(deadline, stream.next()).await.unwrap_or_else(|_| panic!("not in time: {what}")) {
                    Ok(event) => {
                        if let Some(found) = look(event) {
                            return Some(found);
                        }
                    }
                    Err(StreamEnd::Finished(_)) => return None,
                    Err(StreamEnd::Failed(error)) => panic!("{what}: {error}"),
                }
            }
        })
    }

    /// Waits until a session's output has come beyond this offset.
    #[track_caller]
    pub(crate) fn wait_output(&self, session: &str, beyond: u64) {
        let reached = self.look_on(session, StartAt::Live, "output", |event| {
            let end = match event {
                StreamEvent::Attached(attached) => attached.end_offset.0,
                StreamEvent::Output { offset, bytes } => offset.0 + bytes.len() as u64,
                _ => 0,
            };
            (end > beyond).then_some(())
        });
        reached.unwrap_or_else(|| panic!("session {session} ended before {beyond}"));
    }

    /// Waits until there is something in all that a session has printed.
    #[track_caller]
    pub(crate) fn wait_printed<T>(&self, session: &str, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        let mut printed = Vec::new();
        let found = self.look_on(session, BEGINNING, what, |event| match event {
            StreamEvent::Output { bytes, .. } => {
                printed.extend_from_slice(&bytes);
                look(&String::from_utf8_lossy(&printed))
            }
            _ => None,
        });
        found.unwrap_or_else(|| panic!("session {session} ended without {what}"))
    }

    /// Waits until a session's output is kept from behind this offset on; its record then.
    #[track_caller]
    pub(crate) fn wait_trimmed(&self, session: &str, beyond: u64) -> Record {
        wait_in(&self.segments(), "the output is trimmed", || {
            Some(self.record(session)).filter(|record| record.base_offset.0 > beyond)
        })
    }

    /// Waits until a session has ended for good; its record then.
    #[track_caller]
    pub(crate) fn wait_end(&self, session: &str) -> Record {
        self.look_on(session, StartAt::Live, "the end of the session", |_| None::<()>);
        let record = self.record(session);
        assert_eq!(record.state, abide_terminal::State::Finalized, "{record:?}");
        record
    }
}
