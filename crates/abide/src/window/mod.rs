//! One session in the user's terminal, or in a pipe: a poll loop around the stream's core.
//!
//! ```text
//!  stdin ──► keys ──► link ──► socket          socket ──► link ──► stdout
//! ```
//!
//! A keystroke costs a poll, a read and a write on its way out and the same on its way back; output goes from the
//! buffer in which it was received to the terminal.

mod keys;
mod modes;
mod player;
mod queries;
mod socket;
mod sys;
mod terminal;

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::{Duration, Instant as Clock};

use abide_terminal::client::{
    Address, Identity, Instant, StreamEnd, StreamEvent, StreamInput, StreamLink, StreamOutput, WhenGone,
};
use abide_terminal::options::DetachKey;
use abide_terminal::protocol::{Attach, Attached, Lagged, Mode, OwnershipChanged, Restored, WireError};
use abide_terminal::{ByteOffset, Cause, ClientId, Exit, OwnerEpoch, seam};
use abide_wire::Code;
use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use keys::Keys;
use modes::Modes;
pub(crate) use player::Player;
use queries::Queries;
use socket::{Received, Socket};
use sys::{Signal, Signals};
pub(crate) use terminal::window_size;
use terminal::{RawTerminal, stdin, stdout};

/// How long the daemon may be away before a line says so.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// How long leaving may take before it is done without an answer.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// Read from the keyboard at once.
const TYPED_BYTES: usize = 4 * 1024;
/// What the keyboard may send beyond what the program reads.
const TYPED_BYTES_MAX: usize = 64 * 1024;
/// Pieces in one write.
const PIECES_MAX: usize = 64;
const CTRL_D: u8 = 0x04;

/// Where input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The user's keyboard; standard input and output are a terminal.
    Keyboard(DetachKey),
    /// Standard input to its end, which the program is told with Ctrl-D.
    Pipe,
    /// Nothing.
    Nothing,
}

/// What is shown, and how.
pub(crate) struct Show<'a> {
    pub(crate) address: Address,
    pub(crate) identity: Identity,
    pub(crate) attach: Attach,
    pub(crate) when_gone: WhenGone,
    pub(crate) source: Source,
    /// The session's name, for lines to the user.
    pub(crate) name: &'a str,
    /// Makes this client the owner, when an observer presses Enter, and tells the epoch; an ended program has none.
    /// `None`: Enter does nothing.
    pub(crate) take: Option<&'a mut dyn FnMut() -> Result<Option<OwnerEpoch>, WireError>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The user left; true if this client owned the session then.
    Left {
        /// Whether there is something to release.
        owned: bool,
    },
    /// The program has ended.
    Exited(Exit),
    /// The stream ended in another way that was asked for.
    Finished(Code),
    /// It failed.
    Failed(WireError),
}

/// Whether standard input and output are both a terminal.
pub(crate) fn has_terminal() -> bool {
    rustix::termios::isatty(stdin()) && rustix::termios::isatty(stdout())
}

/// Shows a session until it ends or the user leaves. Everything that was changed in the terminal is put back.
pub(crate) fn show(show: Show<'_>) -> io::Result<Ending> {
    let terminal = match show.source {
        Source::Keyboard(_) => {
            let _without = abide_holder::short_slices();
            RawTerminal::enter()?
        }
        Source::Pipe | Source::Nothing => None,
    };
    let mut window = Window::new(show, terminal, Signals::new()?);
    window.run()
}

struct Window<'a> {
    show: Show<'a>,
    terminal: Option<RawTerminal>,
    signals: Signals,
    link: StreamLink,
    socket: Socket,
    began: Clock,
    keys: Keys,
    modes: Modes,
    queries: Queries,
    /// Input that the link had no room for.
    typed: Vec<u8>,
    input_ended: bool,
    last_typed: Option<u8>,
    outputs: Vec<StreamOutput>,
    /// Output on its way to the terminal.
    screen: Vec<Bytes>,
    stood: bool,
    /// It took the session over in this epoch, which the stream has yet to tell: what is typed meanwhile is for the
    /// program.
    taking: Option<OwnerEpoch>,
    /// Whose session is looked at, until that was told.
    observes: Option<String>,
    told_away: bool,
    leaving_since: Option<Clock>,
    exit: Option<Exit>,
    end: Option<StreamEnd>,
}

impl<'a> Window<'a> {
    fn new(show: Show<'a>, terminal: Option<RawTerminal>, signals: Signals) -> Self {
        let identity = Identity { may_start: show.address.start.is_some(), ..show.identity.clone() };
        let key = match show.source {
            Source::Keyboard(key) => key,
            Source::Pipe | Source::Nothing => DetachKey::default(),
        };
        Self {
            link: StreamLink::new(identity, show.attach.clone(), show.when_gone, Instant::default()),
            socket: Socket::new(show.address.clone()),
            show,
            terminal,
            signals,
            began: Clock::now(),
            keys: Keys::new(key),
            modes: Modes::new(),
            queries: Queries::new(rustix::termios::isatty(stdout())),
            typed: Vec::new(),
            input_ended: false,
            last_typed: None,
            outputs: Vec::new(),
            screen: Vec::new(),
            stood: false,
            taking: None,
            observes: None,
            told_away: false,
            leaving_since: None,
            exit: None,
            end: None,
        }
    }

    fn run(&mut self) -> io::Result<Ending> {
        loop {
            self.carry_out();
            if self.write_screen().is_err() {
                // Nobody sees it any more.
                self.leave();
                self.carry_out();
                self.screen.clear();
            }
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            self.wait()?;
            self.timers();
        }
    }

    fn now(&self) -> Instant {
        Instant(self.began.elapsed())
    }

    fn handle(&mut self, input: StreamInput) {
        let now = self.now();
        self.link.handle(now, input, &mut self.outputs);
    }

    fn ending(&mut self) -> Option<Ending> {
        let late = self.leaving_since.is_some_and(|since| since.elapsed() >= LEAVE_WITHIN);
        let owned = self.link.mode() == Mode::Owner && self.stood;
        match self.end.take() {
            Some(StreamEnd::Finished(Code::Detached)) => Some(Ending::Left { owned }),
            Some(StreamEnd::Finished(Code::SessionExited)) if self.exit.is_some() => {
                self.exit.take().map(Ending::Exited)
            }
            Some(StreamEnd::Finished(code)) => Some(Ending::Finished(code)),
            Some(StreamEnd::Failed(error)) => Some(Ending::Failed(error)),
            None if late => Some(Ending::Left { owned }),
            None => None,
        }
    }

    /// Waits for anything to happen, and takes it.
    fn wait(&mut self) -> io::Result<()> {
        if self.socket.has_answer() {
            self.read_socket();
            return Ok(());
        }
        let timeout = self.poll_timeout().map(|duration| Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        });
        let input = self.reads_input();
        let watched = self.socket.watched();
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        fds.extend(watched.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        if input {
            fds.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.first() == Some(&true) {
            self.take_signals();
        }
        if input && ready.last() == Some(&true) {
            self.read_input();
        }
        if watched_is_ready(&ready, input) {
            self.read_socket();
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let link = self.link.poll_timeout().map(|at| at.since(self.now()));
        let keys = self.keys.poll_timeout().map(|at| at.saturating_duration_since(Clock::now()));
        let away = self.silence().map(|away| SILENT_FOR.saturating_sub(away));
        let leaving = self.leaving_since.map(|since| LEAVE_WITHIN.saturating_sub(since.elapsed()));
        [link, keys, away, leaving].into_iter().flatten().min()
    }

    /// How long the daemon has been away, while nobody was told.
    fn silence(&self) -> Option<Duration> {
        let since = self.link.away_since().filter(|_| self.stood && !self.told_away)?;
        Some(self.now().since(since))
    }

    fn reads_input(&self) -> bool {
        match self.show.source {
            Source::Keyboard(_) => !self.input_ended && self.typed.len() < TYPED_BYTES_MAX,
            Source::Pipe => !self.input_ended && self.typed.is_empty() && self.link.input_room() > 0,
            Source::Nothing => false,
        }
    }

    fn timers(&mut self) {
        if self.link.poll_timeout().is_some_and(|at| at <= self.now()) {
            self.handle(StreamInput::Timeout);
        }
        let mut pass = Vec::new();
        if self.keys.poll_timeout().is_some() && self.keys.expire(Clock::now(), &mut pass) {
            self.leave();
        }
        if !pass.is_empty() {
            self.type_in(&pass);
        }
        if self.end.is_none() && self.silence().is_some_and(|away| away >= SILENT_FOR) {
            self.told_away = true;
            if self.tell("the daemon is away; waiting for it") {
                self.handle(StreamInput::Redraw);
            }
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::WindowSize => self.handle(StreamInput::Resize(window_size())),
                Signal::Leave => self.leave(),
                Signal::Suspend => self.suspend(),
            }
        }
    }

    fn leave(&mut self) {
        if self.leaving_since.is_none() {
            self.leaving_since = Some(Clock::now());
            self.handle(StreamInput::Detach);
        }
    }

    /// Stops this program, not the session's, with the terminal as it was.
    fn suspend(&mut self) {
        self.terminal = None;
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        if matches!(self.show.source, Source::Keyboard(_)) {
            // Without a terminal the next read says so.
            self.terminal = RawTerminal::enter().ok().flatten();
        }
        self.handle(StreamInput::Resize(window_size()));
        // The shell wrote over the screen: a new connection brings a picture of it.
        self.handle(StreamInput::Redraw);
        self.handle(StreamInput::Closed);
    }

    fn read_input(&mut self) {
        let mut buffer = [0; TYPED_BYTES];
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => self.end_input(),
            Ok(read) => {
                let bytes = buffer.get(..read).unwrap_or_default();
                if self.show.source == Source::Pipe {
                    self.type_in(bytes);
                } else {
                    let mut pass = Vec::new();
                    self.keys.feed(bytes, self.modes.kitty, Clock::now(), &mut pass);
                    self.type_in(&pass);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.end_input(),
        }
    }

    /// A terminal that ended is gone; a pipe that ended is told to the program.
    fn end_input(&mut self) {
        self.input_ended = true;
        if self.show.source == Source::Pipe {
            // Inside a line the first one only ends the line.
            let ends = if self.last_typed.is_none_or(|last| last == b'\n') { 1 } else { 2 };
            self.type_in(&[CTRL_D; 2][..ends]);
        } else {
            self.leave();
        }
    }

    fn type_in(&mut self, mut bytes: &[u8]) {
        if self.observes() && self.taking.is_none() {
            let Some(enter) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return };
            bytes = bytes.get(enter + 1..).unwrap_or_default();
            self.take_over();
            if self.taking.is_none() {
                return;
            }
        }
        self.last_typed = bytes.last().copied().or(self.last_typed);
        self.typed.extend_from_slice(bytes);
        self.send_typed();
    }

    /// Whether the session is known to be another's.
    fn observes(&self) -> bool {
        self.link.mode() == Mode::Observer && self.stood
    }

    fn send_typed(&mut self) {
        if !self.typed.is_empty() && self.taking.is_none() {
            let taken = self.link.write(&self.typed, &mut self.outputs);
            self.typed.drain(..taken);
        }
    }

    fn take_over(&mut self) {
        let Some(take) = &mut self.show.take else { return };
        match take() {
            Ok(epoch) => self.taking = epoch,
            Err(error) => {
                self.tell(&format!("{error}"));
            }
        }
    }

    /// The epoch that was told: from that of the takeover on, what was typed goes to the program, or to nobody.
    fn told_epoch(&mut self, epoch: OwnerEpoch) {
        if self.taking.take_if(|taken| *taken <= epoch).is_some() && self.observes() {
            self.typed.clear();
        }
    }

    fn read_socket(&mut self) {
        match self.socket.receive() {
            Received::Connected => self.handle(StreamInput::Connected),
            Received::Unreachable => self.handle(StreamInput::Unreachable),
            Received::Closed => self.handle(StreamInput::Closed),
            Received::Bytes => loop {
                match self.socket.next_frame() {
                    Ok(Some(frame)) => self.handle(StreamInput::Frame(frame)),
                    Ok(None) => break,
                    Err(_) => {
                        self.handle(StreamInput::Closed);
                        break;
                    }
                }
            },
        }
    }

    fn carry_out(&mut self) {
        while !self.outputs.is_empty() {
            for output in std::mem::take(&mut self.outputs) {
                match output {
                    StreamOutput::Dial(dial) => self.socket.dial(dial),
                    StreamOutput::Send(bytes) => self.socket.send(&bytes),
                    StreamOutput::Close => self.socket.close(),
                    StreamOutput::Yield(event) => self.event(event),
                    StreamOutput::Ended(end) => self.end = Some(end),
                }
            }
            // A refused dial, or room that was made, may be answered at once.
            self.send_typed();
        }
    }

    fn event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Attached(attached) => self.attached(&attached),
            StreamEvent::Snapshot { bytes, is_last } => {
                self.output(None, bytes);
                // A picture would wipe out what was said before it.
                if let Some(owner) = self.observes.take_if(|_| is_last) {
                    self.tell_observer(&owner);
                }
            }
            StreamEvent::Output { offset, bytes } => self.output(Some(offset), bytes),
            StreamEvent::OwnershipChanged(change) => self.owner_changed(&change),
            StreamEvent::InputLost { applied, accepted, .. } => match applied {
                Some(applied) => {
                    let lost = accepted.0.saturating_sub(applied.0);
                    self.tell(&format!("{lost} bytes that you typed did not reach the program"));
                }
                None => {
                    self.tell("what you typed last may not have reached the program (OUTCOME_UNKNOWN)");
                }
            },
            StreamEvent::Lagged(lagged) => self.lagged(&lagged),
            StreamEvent::Restored(restored) => self.restored(&restored),
            StreamEvent::Hole(hole) => {
                let lost = hole.lost_bytes.map_or("some".to_owned(), |bytes| bytes.to_string());
                self.tell(&format!("{lost} bytes of output are missing at {} ({})", hole.offset, hole.code));
            }
            StreamEvent::Skipped { from, to } if self.show.when_gone == WhenGone::Nearest => {
                self.tell(&format!("output from {from} to {to} is not kept any more (OFFSET_TRIMMED)"));
            }
            StreamEvent::TakenBack { from, to } if self.show.when_gone == WhenGone::Nearest => {
                self.tell(&format!("output from {from} to {to} was lost after it was shown (OFFSET_AHEAD)"));
            }
            StreamEvent::Exited(exited) => self.exit = Some(exited.exit),
            StreamEvent::Refused(error) => {
                self.tell(&format!("{error}"));
            }
            StreamEvent::Skipped { .. }
            | StreamEvent::TakenBack { .. }
            | StreamEvent::Resized(_)
            | StreamEvent::Time(_)
            | StreamEvent::InputApplied(_)
            | StreamEvent::Backpressure(_)
            | StreamEvent::Away => {}
        }
    }

    /// The terminal is too slow for the program: it gets the screen as it is now, and answers what is asked from there on.
    fn lagged(&mut self, lagged: &Lagged) {
        self.told_epoch(lagged.owner_epoch);
        let answers = lagged.mode == Mode::Owner && self.terminal.is_some();
        self.queries.attached(answers.then_some(lagged.to));
    }

    /// Another program begins: what the lost one had on the terminal ends.
    fn restored(&mut self, restored: &Restored) {
        if self.terminal.is_some() {
            self.output(None, seam(&restored.code, restored.at).into());
        } else {
            self.tell(&format!("another program begins here, after {}", restored.code));
        }
    }

    fn output(&mut self, offset: Option<ByteOffset>, bytes: Bytes) {
        if self.terminal.is_some() {
            self.modes.feed(&bytes);
        }
        self.screen.push(self.queries.filter(offset, bytes));
    }

    fn attached(&mut self, attached: &Attached) {
        let again = std::mem::replace(&mut self.stood, true);
        self.told_away = false;
        self.told_epoch(attached.owner_epoch);
        let answers = attached.mode == Mode::Owner && self.terminal.is_some();
        self.queries.attached(answers.then_some(attached.end_offset));
        if !again && attached.mode == Mode::Observer && self.terminal.is_some() {
            let owner = text(attached.owner.as_ref());
            if attached.snapshot_bytes > 0 {
                self.observes = Some(owner);
            } else {
                self.tell_observer(&owner);
            }
        }
    }

    fn owner_changed(&mut self, change: &OwnershipChanged) {
        self.told_epoch(change.owner_epoch);
        if self.terminal.is_none() {
            return;
        }
        self.queries.attached((change.mode == Mode::Owner).then_some(change.offset));
        match (change.mode, change.cause) {
            (Mode::Observer, Cause::Takeover | Cause::Claimed) if change.owner.is_some() => {
                self.tell_observer(&text(change.owner.as_ref()));
            }
            (Mode::Owner, _) => self.handle(StreamInput::Resize(window_size())),
            (Mode::Observer, _) => {}
        }
    }

    fn tell_observer(&mut self, owner: &str) {
        let name = self.show.name;
        let enter = if self.show.take.is_some() { "Enter takes over · " } else { "" };
        let key = self.keys.key();
        self.tell(&format!("{name} is owned by {owner} · {enter}{key} leaves"));
    }

    /// A line to the user, if there is a place for it: not over an alternate screen, which is the program's.
    fn tell(&mut self, line: &str) -> bool {
        let text = if self.terminal.is_some() {
            if self.modes.alternate {
                return false;
            }
            format!("\r\nabide: {line}\r\n")
        } else {
            format!("abide: {line}\n")
        };
        // What came before it stands before it.
        let _ = self.write_screen();
        rustix::io::write(rustix::stdio::stderr(), text.as_bytes()).is_ok()
    }

    /// Writes all that has come in as few writes as the system allows.
    fn write_screen(&mut self) -> io::Result<()> {
        terminal::set_alternate(self.modes.alternate);
        while !self.screen.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                self.screen.iter().take(PIECES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
            let mut written = match rustix::io::writev(stdout(), &slices) {
                Ok(written) => written,
                Err(Errno::INTR) => 0,
                Err(Errno::AGAIN) => terminal::wait_writable().map(|()| 0)?,
                Err(error) => return Err(error.into()),
            };
            while let Some(first) = self.screen.first_mut().filter(|first| first.len() <= written) {
                written -= first.len();
                self.screen.remove(0);
            }
            if let Some(first) = self.screen.first_mut() {
                first.advance(written);
            }
        }
        Ok(())
    }
}

/// An owner, for people.
fn text(owner: Option<&ClientId>) -> String {
    owner.map_or("nobody".to_owned(), ToString::to_string)
}

/// Whether the socket is among what is ready: it stands between the signals and standard input.
fn watched_is_ready(ready: &[bool], input: bool) -> bool {
    let end = ready.len() - usize::from(input);
    ready.get(1..end).is_some_and(|watched| watched.contains(&true))
}
