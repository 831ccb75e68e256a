//! What a session is told, and what it asks for.

use crate::ids::{ByteOffset, ClientId, EventNumber, Incarnation, InputOffset, OwnerEpoch};
use crate::procs::{Process, ProcessId};
use crate::protocol::{Mode, WireError};
use crate::record::RestoreAs;
use crate::store::{Event, MarkKind};

/// The present moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_BOOTTIME in milliseconds: what deadlines run on.
    pub boot_ms: u64,
    /// Wall clock in milliseconds since 1970: what people are told.
    pub wall_ms: u64,
}

/// Names a request until it is answered; the shell knows whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker(pub u64);

/// Names a stream connection for as long as the daemon lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Columns and rows of a terminal, 1–4,096 each, and its pixels (0: unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Width and height in pixels.
    pub pixels: (u16, u16),
}

/// Times and bounds that the configuration sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long ownership outlives the owner's last connection.
    pub owner_grace_ms: u64,
    /// How long output is still taken after the program's end.
    pub drain_ms_max: u64,
    /// Most observers of one session.
    pub observers_max: usize,
}

/// A request to attach, from a stream connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Attach {
    /// The stream that attaches.
    pub stream: StreamId,
    /// Its client.
    pub client: ClientId,
    /// What it asks to be.
    pub mode: Mode,
    /// The size of an owner's window; `None`: unknown, nothing is resized.
    pub size: Option<Size>,
    /// The owner epoch whose input it goes on with.
    pub owner_epoch: Option<OwnerEpoch>,
}

/// What a client asks of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// End the program.
    Kill {
        /// Time from the first signal to SIGKILL, 0–60,000 ms.
        grace_ms: u64,
        /// Bring the deadline to now, also of a kill under way.
        force: bool,
        /// Replaces SIGHUP.
        signal: Option<u8>,
    },
    /// Signal the program.
    Signal(u8, Target),
    /// Change the terminal's size; an unknown one changes nothing.
    Resize(Option<Size>),
    /// Type, at this place of the owner's input or behind all that was accepted; the shell has the bytes.
    Write(Option<InputOffset>),
    /// Become the owner.
    Takeover(Option<Size>),
    /// Own it no longer.
    Release {
        /// Hand it on to this client, which is attached.
        to: Option<ClientId>,
    },
    /// Start a program in the place of one that was lost; without a wish as the policy says.
    Recover(Option<RestoreAs>),
    /// Give it this name, which is free.
    Rename(String),
    /// Forget it.
    Remove,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A client asks.
    Request {
        /// Where the answer goes; `None` for in-band messages of a stream, which have no answer.
        asker: Option<Asker>,
        /// Who asks.
        client: ClientId,
        /// The epoch that the asker believes in, if it said so.
        owner_epoch: Option<OwnerEpoch>,
        /// What.
        op: Op,
    },
    /// A stream connection asks to attach.
    Attach(Asker, Attach),
    /// The daemon stops and takes its sessions with it.
    Terminate {
        /// Time from the first signal to SIGKILL.
        grace_ms: u64,
    },
    /// A stream ended.
    StreamGone(StreamId),
    /// The owner has a connection (again).
    ClientHere(ClientId),
    /// The last connection of a client ended.
    ClientGone(ClientId),
    /// The session's log is there, durably, and with it the record of its creation.
    LogCreated,
    /// From the holder, or about it.
    Holder(HolderInput),
    /// Output up to here is journalled; `end` once the PTY has ended and all of it is.
    Drained {
        /// End of the session's log.
        head: ByteOffset,
        /// Nothing more will come.
        end: bool,
    },
    /// What [`Output::PrepareRestore`] asked for: whether the program can be started.
    RestorePrepared(Result<Restart, WireError>),
    /// The transition under way is written, the first of its events under this number, at this time (wall clock, ms).
    Written(EventNumber, u64),
    /// All transitions up to this number are durable.
    Durable(EventNumber),
    /// The transition under way was refused; nothing was recorded.
    Refused(Refusal),
    /// The store has room again.
    Space,
    /// The processes that [`Output::FindProcesses`] asked for.
    Found(Vec<Process>),
    /// It has ended, and is kept no longer: `expired`, or `disk`.
    Expired(&'static str),
    /// Its holder is there and cannot be adopted for now: nothing but a kill goes on.
    OutOfReach,
    /// What the start of this daemon found of it: outcome and failure code. It comes before anything else.
    Recovered(&'static str, Option<&'static str>),
    /// A point in time that [`Session::poll_timeout`](super::Session::poll_timeout) named may have come.
    Timeout,
}

/// Why a transition was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room: it can be asked again when there is.
    Full,
    /// The journal takes nothing more until the daemon has started anew.
    Failed,
}

/// What a restored program is started with, beyond what its session knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The present boot, 32 hex digits.
    pub boot_id: String,
    /// The session's name from now on, if another one has got its own.
    pub name: Option<String>,
}

/// What comes from a holder.
#[derive(Debug, Clone, PartialEq)]
pub enum HolderInput {
    /// It was adopted; what its header says.
    Adopted {
        /// The epoch that it knows.
        owner_epoch: OwnerEpoch,
        /// Input written to the PTY in that epoch.
        input_applied: InputOffset,
        /// The last epoch before that wrote any, and how much.
        former: Option<(OwnerEpoch, InputOffset)>,
        /// The terminal's size.
        size: (u16, u16),
    },
    /// The program runs.
    Started {
        /// Its process id.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_time: u64,
    },
    /// The program could not be started.
    Failed {
        /// 1 pty, 2 fork, 3 setsid, 4 tty, 5 chdir, 6 exec.
        step: u32,
        /// What went wrong there.
        errno: u32,
    },
    /// Input of this epoch is counted from 0 now.
    OwnerOk {
        /// The epoch that began.
        epoch: OwnerEpoch,
        /// The last epoch before that wrote any input, and how much.
        former: Option<(OwnerEpoch, InputOffset)>,
    },
    /// The program ended with this wait status.
    Ended {
        /// As `waitpid` gave it.
        status: u32,
    },
    /// There is no holder any more, and all that it held is journalled ([`Input::Drained`] said how far).
    Gone(Gone),
}

/// How a holder went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// The program's true end, if an exit file of this incarnation tells it.
    pub status: Option<u32>,
    /// True if the machine was booted since.
    pub rebooted: bool,
    /// Why it could not be launched; 0 where there was one, or nobody knows.
    pub errno: i32,
}

/// A frame for the holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Start the program.
    Start(Incarnation),
    /// Set the terminal's size.
    Resize(Size),
    /// Signal by number.
    Signal(u8, Target),
    /// Signal one process.
    SignalProcess(ProcessId, u8),
    /// Count input from 0 for this epoch.
    Owner(OwnerEpoch),
    /// End, whatever runs.
    Hangup,
    /// End: everything up to this offset is journalled.
    Collect(ByteOffset),
    /// Stop reading the PTY.
    Abandon,
}

/// Whom a signal frame goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The program.
    Leader,
    /// The foreground group of its terminal.
    Foreground,
    /// The program's own group.
    LeadersGroup,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `create`: the session runs.
    Created,
    /// `recover`: it runs again.
    Recovered,
    /// `kill`.
    Kill {
        /// Names the kill.
        kill_id: String,
        /// When SIGKILL is due, wall clock in ms since 1970.
        deadline_at: u64,
        /// True if it was under way, or the program had ended.
        already: bool,
    },
    /// `signal`: it was passed to the holder.
    Signalled,
    /// `resize`: the size that holds now.
    Resized(u16, u16),
    /// `takeover`: the epoch that holds now.
    TakenOver(OwnerEpoch),
    /// `release`: the epoch that holds now.
    Released(OwnerEpoch),
    /// `rename`: it has the name.
    Renamed,
    /// `attach`.
    Attached(Attached),
    /// Refused.
    Error(WireError),
}

/// What a stream is told when it is attached; positions come from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// What it is.
    pub mode: Mode,
    /// The last epoch before this one in which input was written, and how much; `None` where no holder told it.
    pub former: Option<(OwnerEpoch, InputOffset)>,
}

/// The events of one transition, in order, each with its mark if it has a place in the output. The journal keeps all of
/// them or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The first event.
    pub first: (Event, Option<MarkKind>),
    /// Those behind it.
    pub rest: Vec<(Event, Option<MarkKind>)>,
}

impl Unit {
    /// One event.
    pub fn of(event: Event, mark: Option<MarkKind>) -> Self {
        Self { first: (event, mark), rest: Vec::new() }
    }

    /// The same with another event behind it.
    #[must_use]
    pub fn and(mut self, event: Event, mark: Option<MarkKind>) -> Self {
        self.rest.push((event, mark));
        self
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(Event, Option<MarkKind>)> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Whether an event of this name is among them.
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|(event, _)| event.name() == name)
    }

    /// The event that gives the transition its name: a restore, whatever stands around it, else the last one.
    pub fn event(&self) -> &Event {
        let restoring = self.iter().map(|(event, _)| event).find(|event| matches!(event, Event::Restoring { .. }));
        restoring.unwrap_or(&self.rest.last().unwrap_or(&self.first).0)
    }
}

/// What a session asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Append these events, and their marks, as one unit; answer with `Written` or `Refused`.
    Append(Unit),
    /// Create the session's log; answer with `LogCreated`.
    CreateLog,
    /// Launch a holder and adopt it; answer with `Holder`.
    Launch,
    /// End the holder, which is out of reach but for this: it takes its program with it.
    HangUp,
    /// Adopt the holder that is there already; answer with `Holder`.
    Adopt,
    /// See whether this could be started in the place of a lost program; answer with `RestorePrepared`.
    PrepareRestore(RestoreAs),
    /// Send this to the holder.
    ToHolder(Frame),
    /// From now on the program's output may be appended.
    Drain,
    /// Answer a request.
    Answer(Asker, Reply),
    /// A write may be taken now: let [`Session::write`](super::Session::write) say what of it is new, and answer.
    Write(Asker, Option<InputOffset>),
    /// Tell a stream how much of an epoch's input was applied, finally.
    InputFinal(StreamId, OwnerEpoch, InputOffset),
    /// A message of a stream was refused.
    Complain(ClientId, WireError),
    /// End a stream: another one of its client has its place.
    Replaced(StreamId),
    /// The session could not be recorded: it never was.
    Forget,
    /// The session was removed: drop its log, then answer.
    DropLog(Option<Asker>),
    /// Look for the session's processes; answer with `Found`.
    FindProcesses {
        /// The program.
        leader: ProcessId,
        /// True once the holder has reaped it: its numbers prove nothing then.
        reaped: bool,
    },
    /// What was printed since the last screen is worth one.
    Screen,
    /// Remove what the holder of this incarnation left: its socket, its exit record.
    RemoveFiles(Incarnation),
}
