//! The way from a holder into the journal: one task for each holder takes output out of the ring, appends it, and
//! acknowledges it once it is written.

use std::sync::Arc;
use std::time::Duration;

use abide_holder::{LaunchError, OutputError, ReadError};
use abide_journal::{AppendOptions, Error as JournalError, Log};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::fail_point;
use super::hub::{Hub, Msg};
use super::levels::Meter;
use super::link::{Adopted, Frames, Link};
use super::recovery::{PROBE_AGAIN, probe};
use super::screens::Followed;
use super::sessions::is_fatal;
use super::shared::{Shared, holder_socket};
use crate::ids::{ByteOffset, Incarnation, SessionId};
use crate::intake::{Answered, Begin, Flow, Intake};
use crate::recover::Probe;
use crate::session::{Gone, HolderInput, Input};

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

/// What a pump works with.
pub(super) struct Context {
    pub(super) session: SessionId,
    pub(super) incarnation: Incarnation,
    pub(super) shared: Arc<Shared>,
    pub(super) hub: Hub,
    pub(super) log: Log,
    pub(super) followed: Followed,
    pub(super) meter: Meter,
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
                let (pump, begin) = Pump::new(context, adopted);
                return pump.serve(begin).await;
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
            return context.hub.tell(Msg::NotAdopted(context.session)).await;
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
}

struct Pump {
    context: Context,
    link: Link,
    frames: Frames,
    /// Whether output may be appended: behind the record of the program's start.
    flow: watch::Receiver<Flow>,
    intake: Intake,
    /// Whether bytes that may ask something of a terminal are under way.
    may_ask: bool,
    /// Bytes taken since the program last paused.
    flood: usize,
    /// The end of output was told.
    ended: bool,
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
    fn new(context: Context, adopted: Adopted) -> (Self, Begin) {
        let Adopted { link, frames, flow } = adopted;
        let ring = link.output();
        let (intake, begin) = Intake::begin(context.log.clone(), ring.ring().acked(), ring.ring().mark().head);
        drop(ring);
        (Self { context, link, frames, flow, intake, may_ask: false, flood: 0, ended: false }, begin)
    }

    async fn serve(mut self, begin: Begin) {
        let Context { session, ref hub, .. } = self.context;
        let header = self.link.output().header;
        hub.tell(Msg::Adopted(session, self.link.clone())).await;
        for input in HolderInput::adopted(&header) {
            self.context.tell(Input::Holder(input)).await;
        }
        let stopped = match self.begin(begin).await {
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

    /// Brings ring and log together.
    async fn begin(&mut self, begin: Begin) -> Result<(), JournalError> {
        let entries = match begin {
            Begin::Acknowledge(to) => {
                self.link.output().ack(to);
                return Ok(());
            }
            Begin::Name(entries) => entries,
        };
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
            self.measure();
            self.tell_end().await;
            let lags = self.lags();
            let may_take = self.may_take();
            let floods = self.flood >= FLOOD_BYTES;
            if may_take && !floods && !self.link.output().ring().sleep(seen) {
                continue;
            }
            let moved = self.context.followed.moved.clone();
            tokio::select! {
                written = next_answer(&mut self.intake) => {
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
                _ = self.flow.changed() => {}
                _ = space.changed(), if self.intake.is_full() => self.intake.space(),
                () = moved.notified(), if lags => {}
            }
        }
    }

    /// Says how much of what the program printed is not journalled.
    fn measure(&self) {
        let output = self.link.output();
        let (acked, head) = (output.ring().acked(), output.ring().mark().head);
        drop(output);
        self.context.meter.set(usize::try_from(head.saturating_sub(acked)).unwrap_or(usize::MAX));
    }

    /// Whether the screen is so far behind that no more output is taken.
    fn lags(&self) -> bool {
        self.context.followed.lags(self.intake.next(), self.context.shared.options.model_lag_bytes_max)
    }

    /// Whether output may be appended now.
    fn may_take(&self) -> bool {
        self.intake.may_take(self.waiting()) && *self.flow.borrow() == Flow::Goes && !self.lags()
    }

    /// Bytes that the ring holds beyond what was taken.
    fn waiting(&self) -> usize {
        self.intake.waiting(self.link.output().ring().mark().head)
    }

    /// Whether nothing of the ring is left to be taken, or under way.
    fn is_emptied(&self) -> bool {
        (self.waiting() == 0 || *self.flow.borrow() == Flow::Ended) && self.intake.is_idle()
    }

    /// Takes what is there and appends it. Whether there was anything.
    fn take(&mut self) -> Result<bool, Stopped> {
        if !self.may_take() {
            return Ok(false);
        }
        let read = |from, max, bytes: &mut Vec<u8>| self.link.output().read(from, max, bytes);
        let bytes = self.intake.gather(self.waiting(), read).map_err(|error| match error {
            OutputError::Ring(ReadError::Stale(epoch)) => Stopped::Stale(epoch),
            error => {
                tracing::error!(session = %self.context.session, %error, "output cannot be taken");
                Stopped::Broken
            }
        })?;
        if bytes.is_empty() {
            return Ok(false);
        }
        self.flood += bytes.len();
        self.may_ask |= bytes.iter().any(|byte| BEGINS_QUERY.contains(byte));
        self.intake.append(bytes, self.context.shared.output_durability()).map_err(Stopped::Journal)
    }

    /// The oldest append was answered.
    fn written(&mut self, answered: Answered) -> Result<(), Stopped> {
        match self.intake.answered(answered) {
            Ok(Some(end)) => {
                fail_point::pass("output_written");
                self.link.output().ack(end);
                fail_point::pass("output_acknowledged");
                let may_ask = self.may_ask;
                self.may_ask &= !self.intake.is_idle();
                self.context.shared.screens.output(self.context.session, &self.context.followed, may_ask);
                Ok(())
            }
            Ok(None) => Ok(()),
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
        if !self.ended && self.intake.has_all(eof) {
            self.ended = true;
            self.context.tell(Input::Drained { head: ByteOffset(self.intake.next()), end: true }).await;
        }
        self.context.hub.try_tell(Msg::Applied(self.context.session));
    }

    /// The holder has died: what lies in its memory is taken still.
    async fn take_rest(mut self) {
        let flow = self.flow.borrow().of_rest();
        self.flow = watch::channel(flow).1;
        loop {
            match self.take() {
                Ok(true) => continue,
                Ok(false) if self.is_emptied() => break,
                Ok(false) => {}
                Err(Stopped::Journal(error)) => return self.context.hub.tell(Msg::Poisoned(error)).await,
                Err(_) => break,
            }
            if self.intake.is_full() && self.intake.is_idle() {
                self.wait_for_space().await;
                self.intake.space();
                continue;
            }
            if self.intake.is_idle() {
                // Only the screen is behind.
                let moved = self.context.followed.moved.clone();
                let _ = tokio::time::timeout(LAG_LOOK, moved.notified()).await;
                continue;
            }
            let written = next_answer(&mut self.intake).await;
            if let Err(Stopped::Journal(error)) = self.written(written) {
                return self.context.hub.tell(Msg::Poisoned(error)).await;
            }
        }
        self.context.await_none().await;
        self.context.hub.tell(Msg::HolderLost(self.context.session, ByteOffset(self.intake.next()))).await;
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
async fn next_answer(intake: &mut Intake) -> Answered {
    std::future::poll_fn(|context| intake.poll_answer(context)).await
}
