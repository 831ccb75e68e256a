//! The way from a holder into the journal: one task for each holder takes output out of the ring, appends it, and
//! acknowledges it once it is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use abide_holder::{LaunchError, NO_EOF, OutputError, ReadError};
use abide_journal::{AppendOptions, Appended, Content, Entry, Error as JournalError, Expect, Log, Ticket};
use abide_wire::Code;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::fail_point;
use super::hub::{Hub, Msg};
use super::link::{Adopted, Frames, Link};
use super::recovery::{PROBE_AGAIN, probe, read_exit};
use super::screens::Followed;
use super::sessions::is_fatal;
use super::shared::{Shared, holder_socket};
use crate::ids::{ByteOffset, Incarnation, SessionId};
use crate::recover::Probe;
use crate::session::{Gone, HolderInput, Input};
use crate::store::{Mark, MarkKind};
use crate::stream;

/// Most bytes of one data entry: a few of them are under way at once, so that holder and journal work side by side.
const ENTRY_BYTES_MAX: usize = 64 << 10;

/// A holder whose connection has ended is looked for again after this.
const ENDING_TIME: Duration = Duration::from_millis(50);

/// A program that has printed so much without a pause is looked at every now and then, instead of whenever it prints:
/// its bytes come together, and it costs a few wake-ups instead of one for each 4 KiB that a PTY holds.
const FLOOD_BYTES: usize = 32 << 10;

/// How often that is; and what it may add to the time until its output is seen.
const FLOOD_LOOK: Duration = Duration::from_millis(1);

/// Without one of these a program asks nothing of its terminal: ESC, ENQ, and the second byte of CSI and DCS as one
/// character.
const BEGINS_QUERY: [u8; 4] = [0x1b, 0x05, 0x9b, 0x90];

/// Appends under way for one session.
const APPENDS_MAX: usize = 2;

/// What a pump works with.
pub(super) struct Context {
    pub(super) session: SessionId,
    pub(super) incarnation: Incarnation,
    pub(super) shared: Arc<Shared>,
    pub(super) hub: Hub,
    pub(super) log: Log,
    pub(super) followed: Followed,
}

/// Launches a holder, adopts it, and serves it until it is gone. The slot is one of those that bound how many are launched
/// at the same time.
pub(super) async fn launch(context: Context, spec: abide_holder::Spec, slot: Option<OwnedSemaphorePermit>) {
    let launched = context.launch(&spec).await;
    drop(slot);
    match launched {
        Ok(()) => {
            fail_point::pass("launched");
            adopt(context).await;
        }
        Err(error) => {
            tracing::error!(session = %context.session, %error, "the holder did not start");
            let errno = match error {
                LaunchError::Os { source, .. } => source.raw_os_error(),
                LaunchError::Spec(_) | LaunchError::Taken | LaunchError::Failed { .. } => 0,
            };
            let gone = Gone { status: None, rebooted: false, errno };
            context.tell(Input::Holder(HolderInput::Gone(gone))).await;
        }
    }
}

/// Adopts the holder of a session, and serves it until it is gone.
pub(super) async fn adopt(context: Context) {
    loop {
        match super::link::adopt(&context.shared, context.session).await {
            Ok(adopted) => {
                fail_point::pass("adopted");
                tracing::debug!(session = %context.session, "the holder is adopted");
                return Pump::new(context, adopted).serve().await;
            }
            Err(super::link::Refused::Stale(epoch)) => {
                return context.hub.tell(Msg::Stale(context.session, epoch)).await;
            }
            Err(super::link::Refused::Failed(error)) => {
                tracing::warn!(session = %context.session, %error, "the holder cannot be adopted");
            }
        }
        // One that is there and says nothing is not lost.
        if context.probe().await == Probe::None {
            let head = ByteOffset(stream::written(&context.log).offset.0);
            context.tell(Input::Drained { head, end: false }).await;
            return context.gone(false).await;
        }
        tokio::time::sleep(PROBE_AGAIN).await;
    }
}

impl Context {
    async fn tell(&self, input: Input) {
        self.hub.tell(Msg::Session(self.session, input)).await;
    }

    async fn probe(&self) -> Probe {
        probe(self.session, self.shared.holder_paths(self.session, self.incarnation).socket).await
    }

    /// Launches a holder. Where its place is taken, by one that nobody adopted or by the socket of a dead one, there is
    /// none to launch, or the place is cleared first.
    async fn launch(&self, spec: &abide_holder::Spec) -> Result<(), LaunchError> {
        match self.launch_once(spec).await {
            Err(LaunchError::Taken) => match self.probe().await {
                Probe::Pong(pong) if pong.same_session && pong.incarnation == self.incarnation => Ok(()),
                Probe::None => {
                    let _ = self.shared.dirs.holder_sockets.remove_socket(&holder_socket(self.session));
                    self.launch_once(spec).await
                }
                _ => Err(LaunchError::Taken),
            },
            launched => launched,
        }
    }

    async fn launch_once(&self, spec: &abide_holder::Spec) -> Result<(), LaunchError> {
        let (program, spec) = (self.shared.holder_program.clone(), spec.clone());
        let launched = tokio::task::spawn_blocking(move || abide_holder::launch(&program, &spec)).await;
        launched.unwrap_or(Err(LaunchError::Taken))
    }

    /// The connection has ended; whether the holder has is what its socket says. One that still answers is not lost: it
    /// is left alone, and the next daemon adopts it.
    async fn await_none(&self) {
        // A process that is just ending may still have its socket for a moment.
        let mut pause = ENDING_TIME;
        while self.probe().await != Probe::None {
            tracing::error!(session = %self.session, "the holder has closed its connection and lives on");
            tokio::time::sleep(pause).await;
            pause = PROBE_AGAIN;
        }
    }

    /// Nobody holds the program any more; how it ended, if its exit record tells.
    async fn gone(&self, rebooted: bool) {
        let status = read_exit(&self.shared, self.session, self.incarnation).map(|(status, _)| status);
        self.tell(Input::Holder(HolderInput::Gone(Gone { status, rebooted, errno: 0 }))).await;
    }
}

struct Pump {
    context: Context,
    link: Link,
    frames: Frames,
    /// Whether output may be appended: behind the record of the program's start.
    go: watch::Receiver<bool>,
    /// Offset of the next byte that is appended.
    next: u64,
    appends: VecDeque<Append>,
    /// Bytes taken since the program last paused.
    flood: usize,
    /// The store is full: nothing is tried until it has room.
    full: bool,
    /// The end of output was told.
    ended: bool,
}

/// An append under way.
struct Append {
    /// Offset behind it.
    end: u64,
    ticket: Ticket<Appended>,
    /// The program may have asked something in it.
    may_ask: bool,
}

/// What became of one.
struct Written {
    end: u64,
    may_ask: bool,
    result: Result<(), JournalError>,
}

/// Why a pump stops.
enum Stopped {
    /// The holder's connection has ended.
    HolderGone,
    /// Another daemon has the holder.
    Stale(u64),
    /// The ring is not what this version knows.
    Broken,
    /// The journal takes nothing more.
    Journal(JournalError),
}

impl Pump {
    fn new(context: Context, adopted: Adopted) -> Self {
        let Adopted { link, frames, go } = adopted;
        let next = link.output().ring().acked();
        Self { context, link, frames, go, next, appends: VecDeque::new(), flood: 0, full: false, ended: false }
    }

    async fn serve(mut self) {
        let Context { session, ref hub, .. } = self.context;
        let header = self.link.output().header;
        hub.tell(Msg::Adopted(session, self.link.clone())).await;
        self.context.tell(Input::Holder(Link::adopted_input(&header))).await;
        if header.state == abide_holder::State::Ended {
            self.context.tell(Input::Holder(HolderInput::Ended { status: header.wait_status })).await;
        }
        let stopped = match self.fill_hole().await {
            Ok(()) => self.run().await,
            Err(error) => Stopped::Journal(error),
        };
        match stopped {
            Stopped::HolderGone => {
                fail_point::pass("holder_gone");
                let current = self.link.output().ring().check_current();
                match current {
                    Err(ReadError::Stale(epoch)) => self.context.hub.tell(Msg::Stale(session, epoch)).await,
                    _ => self.take_rest().await,
                }
            }
            Stopped::Stale(epoch) => self.context.hub.tell(Msg::Stale(session, epoch)).await,
            Stopped::Journal(error) => self.context.hub.tell(Msg::Poisoned(error)).await,
            Stopped::Broken => {
                tracing::error!(session = %self.context.session, "the holder does not keep to the ring's rules");
            }
        }
    }

    /// Output that was acknowledged and that the journal lost since: named, so that later bytes keep their offsets.
    async fn fill_hole(&mut self) -> Result<(), JournalError> {
        let end = stream::written(&self.context.log).offset.0;
        if self.next <= end {
            // What the daemon before appended and did not come to acknowledge is acknowledged now.
            let mut output = self.link.output();
            let head = output.ring().mark().head;
            output.ack(end.min(head));
            drop(output);
            self.next = end;
            return Ok(());
        }
        let lost_bytes = self.next - end;
        // Of one whose log is empty all is gone: it was another journal that had it.
        let code = if end == 0 { Code::JournalMissing } else { Code::JournalFailed };
        let kind = MarkKind::Hole { code: code.as_str().to_owned(), lost_bytes: Some(lost_bytes) };
        let mark = Mark { kind, event: None };
        let entries = vec![
            (self.context.log.clone(), Entry::mark(mark.tag(), mark.payload().unwrap_or_default())),
            (self.context.log.clone(), Entry::gap(lost_bytes)),
        ];
        loop {
            match self.context.shared.journal.append_batch(entries.clone(), AppendOptions::default()).await {
                Err(JournalError::Full) => self.wait_for_space().await,
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    async fn wait_for_space(&self) {
        let mut space = self.context.shared.journal.space();
        space.changed().await;
    }

    async fn run(&mut self) -> Stopped {
        let mut space = self.context.shared.journal.space();
        loop {
            let seen = self.link.output().ring().mark();
            match self.take() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(stopped) => return stopped,
            }
            self.tell_end().await;
            let lags = self.lags();
            let may_take = self.may_take();
            let floods = self.flood >= FLOOD_BYTES;
            if may_take && !floods && !self.link.output().ring().sleep(seen) {
                continue;
            }
            let moved = self.context.followed.moved.clone();
            tokio::select! {
                written = next_written(&mut self.appends) => {
                    if let Err(stopped) = self.written(written) {
                        return stopped;
                    }
                }
                woken = self.link.woken(), if may_take && !floods => if woken.is_err() { return Stopped::Broken },
                () = tokio::time::sleep(FLOOD_LOOK), if may_take && floods => {
                    if self.waiting() == 0 {
                        self.flood = 0;
                    }
                }
                frame = self.frames.next() => match frame {
                    Some(input) => {
                        pass_frame(&input);
                        self.context.tell(Input::Holder(input)).await;
                    }
                    None => return Stopped::HolderGone,
                },
                _ = self.go.changed() => {}
                _ = space.changed(), if self.full => self.full = false,
                () = moved.notified(), if lags => {}
            }
        }
    }

    /// Whether the screen is so far behind that no more output is taken.
    fn lags(&self) -> bool {
        self.context.followed.lags(self.next, self.context.shared.options.model_lag_bytes_max)
    }

    /// Whether output may be appended now. Beside an append that is under way only a full entry is: of less, more comes
    /// together until that is written, and the threads of the journal are woken for many bytes instead of few.
    fn may_take(&self) -> bool {
        let room = match self.appends.len() {
            0 => true,
            under_way => under_way < APPENDS_MAX && self.waiting() >= ENTRY_BYTES_MAX,
        };
        room && *self.go.borrow() && !self.full && !self.lags()
    }

    /// Bytes that the ring holds beyond what was taken.
    fn waiting(&self) -> usize {
        let waiting = self.link.output().ring().mark().head.saturating_sub(self.next);
        usize::try_from(waiting).unwrap_or(usize::MAX)
    }

    /// Takes what is there and appends it. Whether there was anything.
    fn take(&mut self) -> Result<bool, Stopped> {
        if !self.may_take() {
            return Ok(false);
        }
        let mut bytes = Vec::with_capacity(self.waiting().min(ENTRY_BYTES_MAX));
        while bytes.len() < ENTRY_BYTES_MAX {
            let from = self.next + bytes.len() as u64;
            let read = self.link.output().read(from, ENTRY_BYTES_MAX - bytes.len(), &mut bytes);
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(OutputError::Ring(ReadError::Stale(epoch))) => return Err(Stopped::Stale(epoch)),
                Err(error) => {
                    tracing::error!(session = %self.context.session, %error, "output cannot be taken");
                    return Err(Stopped::Broken);
                }
            }
        }
        if bytes.is_empty() {
            return Ok(false);
        }
        self.flood += bytes.len();
        let may_ask = bytes.iter().any(|byte| BEGINS_QUERY.contains(byte));
        let length = bytes.len() as u64;
        let options = AppendOptions::at(self.context.shared.output_durability())
            .expect(Expect::Offset(abide_journal::ByteOffset(self.next)));
        match self.context.log.try_append(Entry { tag: 0, content: Content::Data(Bytes::from(bytes)) }, options) {
            Ok(ticket) => {
                self.next += length;
                self.appends.push_back(Append { end: self.next, ticket, may_ask });
                Ok(true)
            }
            // A full queue shrinks with the appends of others; the space watch moves when it has.
            Err(JournalError::Full | JournalError::Busy) => {
                self.full = true;
                Ok(false)
            }
            Err(error) => Err(Stopped::Journal(error)),
        }
    }

    /// The oldest append was answered.
    fn written(&mut self, written: Written) -> Result<(), Stopped> {
        let Written { end, may_ask, result } = written;
        match result {
            Ok(()) => {
                fail_point::pass("output_written");
                self.link.output().ack(end);
                fail_point::pass("output_acknowledged");
                self.context.shared.screens.output(self.context.session, &self.context.followed, may_ask);
                Ok(())
            }
            // Nothing was written: the ring has the bytes still, and what was appended behind them was refused too.
            Err(JournalError::Full) => {
                self.full = true;
                self.appends.clear();
                self.next = stream::written(&self.context.log).offset.0;
                Ok(())
            }
            Err(error) if is_fatal(&error) => Err(Stopped::Journal(error)),
            Err(error) => {
                tracing::error!(session = %self.context.session, %error, "output was refused by the journal");
                Err(Stopped::Broken)
            }
        }
    }

    /// Says once that all output is journalled, when the PTY has ended and it is.
    async fn tell_end(&mut self) {
        let eof = self.link.output().ring().mark().eof_offset;
        if !self.ended && eof != NO_EOF && self.appends.is_empty() && self.next >= eof {
            self.ended = true;
            self.context.tell(Input::Drained { head: ByteOffset(self.next), end: true }).await;
        }
        self.context.hub.try_tell(Msg::Applied(self.context.session));
    }

    /// The holder has died: what lies in its memory is taken still.
    async fn take_rest(mut self) {
        self.go = watch::channel(true).1;
        loop {
            match self.take() {
                Ok(true) if self.appends.len() < APPENDS_MAX => continue,
                Ok(_) if self.appends.is_empty() && !self.full => break,
                Ok(_) => {}
                Err(Stopped::Journal(error)) => return self.context.hub.tell(Msg::Poisoned(error)).await,
                Err(_) => break,
            }
            if self.full && self.appends.is_empty() {
                self.wait_for_space().await;
                self.full = false;
                continue;
            }
            if self.appends.is_empty() {
                // Only the screen is behind.
                let moved = self.context.followed.moved.clone();
                let _ = tokio::time::timeout(LAG_LOOK, moved.notified()).await;
                continue;
            }
            let written = next_written(&mut self.appends).await;
            if let Err(Stopped::Journal(error)) = self.written(written) {
                return self.context.hub.tell(Msg::Poisoned(error)).await;
            }
        }
        self.context.await_none().await;
        self.context.hub.tell(Msg::HolderLost(self.context.session, ByteOffset(self.next))).await;
    }
}

/// What a holder answered is a place to crash at.
fn pass_frame(answered: &HolderInput) {
    match answered {
        HolderInput::Started { .. } => fail_point::pass("started_told"),
        HolderInput::Ended { .. } => fail_point::pass("ended_told"),
        HolderInput::OwnerOk { .. } => fail_point::pass("owner_told"),
        _ => {}
    }
}

/// How often a screen that is behind is looked at again.
const LAG_LOOK: Duration = Duration::from_millis(100);

/// The answer to the oldest append; never if there is none.
async fn next_written(appends: &mut VecDeque<Append>) -> Written {
    let Some(append) = appends.front_mut() else { return std::future::pending().await };
    let result = (&mut append.ticket).await.map(|_| ());
    let written = Written { end: append.end, may_ask: append.may_ask, result };
    appends.pop_front();
    written
}
