//! What goes wrong, and how tight everything is: drawn for each seed.
//!
//! | what the specification lists | where it is drawn |
//! | --- | --- |
//! | daemon killed between two effects, 40 times in a row | `KillDaemon`, `KillDaemonAgainAndAgain` |
//! | holder killed; both killed | `KillHolder`, `KillBoth` |
//! | reboot with loss of unsynced writes, torn tail | `Reboot`, `PowerFailsInWrite` |
//! | holder slow or silent, of another version, arriving late | `SilentHolder`, `ForeignHolder`, [`Limits::launch_is_late_one_in`] |
//! | connection cut at any byte, half-open, never reading, reading 1 KB/s | `CutConnection`, `StickConnection`, `NeverRead`, `ReadSlowly` |
//! | client back under its old and a new id; two of one id | `ClientReturnsUnderItsId`, `ClientReturns`, `TwoOfOneId` |
//! | disk full, sync error (also while the next start fails), slow disk | `DiskFull`, `SyncError`, `SlowDisk` |
//! | old daemon paused and resumed after its successor adopted | `PauseDaemon` |
//! | pid reuse | always: there are sixty process ids, each free again at once |
//! | late exit of an older incarnation | `LateExit` |
//! | programs that print without end, never read, exit at once, close the terminal but live, fork away | [`Script`](crate::program::Script) |
//! | clocks ± 1 h | `ClockJumps` |
//! | tiny limits | [`Limits`] |
//!
//! Beside these: `StrangersProbe`, `ReplaceDaemon`, `TimePasses`, exit records that cannot be written, launches that fail.

use abide_journal::Durability;
use abide_sim::Rng;

/// Sizes and chances of one seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) session: abide_terminal::session::Limits,
    pub(crate) ring_bytes: u64,
    pub(crate) spill_bytes_max: u64,
    pub(crate) socket_high_bytes: usize,
    /// Output that is read from the log at once.
    pub(crate) chunk_bytes: usize,
    /// 0: no bound.
    pub(crate) store_bytes_max: u64,
    pub(crate) output_durability: Durability,
    /// What a session's log keeps, 0: everything; and its output between two screens.
    pub(crate) retention_bytes: u64,
    pub(crate) screen_bytes: u64,
    /// What a program without end prints before it rests.
    pub(crate) endless_bytes: u64,
    pub(crate) launch_fails_one_in: u64,
    pub(crate) launch_is_late_one_in: u64,
    pub(crate) exit_record_fails_one_in: u64,
    pub(crate) sessions_max: usize,
    pub(crate) clients: usize,
    pub(crate) steps: u64,
}

impl Limits {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let (retention_bytes, screen_bytes) = [(0, 0), (8 << 10, 2 << 10), (2 << 10, 512)][rng.index(3)];
        Self {
            session: abide_terminal::session::Limits {
                owner_grace_ms: [500, 10_000][rng.index(2)],
                drain_ms_max: 2_000,
                observers_max: 2 + rng.index(3),
            },
            ring_bytes: [64, 512, 4_096][rng.index(3)],
            spill_bytes_max: [0, 100, 2_000][rng.index(3)],
            socket_high_bytes: [200, 1_024, 16_384][rng.index(3)],
            chunk_bytes: [20, 200, 4_096][rng.index(3)],
            store_bytes_max: 0,
            output_durability: [Durability::Os, Durability::Interval, Durability::Interval, Durability::Always]
                [rng.index(4)],
            retention_bytes,
            screen_bytes,
            endless_bytes: 2_000 + rng.below(8_000),
            launch_fails_one_in: 30,
            launch_is_late_one_in: 5,
            exit_record_fails_one_in: 20,
            sessions_max: 1 + rng.index(8),
            clients: 1 + rng.index(5),
            steps: 1_000 + rng.below(2_500),
        }
    }
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillDaemon,
    KillDaemonAgainAndAgain,
    KillHolder,
    KillBoth,
    Reboot,
    PowerFailsInWrite,
    CutConnection,
    StickConnection,
    NeverRead,
    ReadSlowly,
    ClientReturns,
    ClientReturnsUnderItsId,
    TwoOfOneId,
    DiskFull,
    SyncError,
    SlowDisk,
    PauseDaemon,
    SilentHolder,
    ForeignHolder,
    StrangersProbe,
    LateExit,
    ClockJumps,
    ReplaceDaemon,
    TimePasses,
}

impl Fault {
    const ALL: [Self; 24] = [
        Self::KillDaemon,
        Self::KillDaemonAgainAndAgain,
        Self::KillHolder,
        Self::KillBoth,
        Self::Reboot,
        Self::PowerFailsInWrite,
        Self::CutConnection,
        Self::StickConnection,
        Self::NeverRead,
        Self::ReadSlowly,
        Self::ClientReturns,
        Self::ClientReturnsUnderItsId,
        Self::TwoOfOneId,
        Self::DiskFull,
        Self::SyncError,
        Self::SlowDisk,
        Self::PauseDaemon,
        Self::SilentHolder,
        Self::ForeignHolder,
        Self::StrangersProbe,
        Self::LateExit,
        Self::ClockJumps,
        Self::ReplaceDaemon,
        Self::TimePasses,
    ];

    /// The faults of one seed: some of them, so that each also strikes where others do not.
    pub(crate) fn draw(rng: &mut Rng) -> Vec<Self> {
        let share = [10, 30, 60][rng.index(3)];
        // In half of the seeds the disk keeps its word: only then must nothing at all be missing.
        let disk = rng.one_in(2);
        // There a program before the present one never is the present one again.
        let keeps = |fault: &Self| match fault {
            Self::Reboot | Self::PowerFailsInWrite | Self::SyncError => disk,
            Self::LateExit => !disk,
            _ => true,
        };
        let drawn = |fault: &Self, rng: &mut Rng| rng.percent(share) && keeps(fault);
        let always = |fault: &Self| *fault == Self::CutConnection || (*fault == Self::LateExit && !disk);
        Self::ALL.into_iter().filter(|fault| drawn(fault, rng) || always(fault)).collect()
    }

    /// How it is counted.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillDaemon => "fault: the daemon is killed",
            Self::KillDaemonAgainAndAgain => "fault: the daemon is killed again and again",
            Self::KillHolder => "fault: a holder is killed",
            Self::KillBoth => "fault: daemon and holder are killed",
            Self::Reboot => "fault: the machine reboots",
            Self::PowerFailsInWrite => "fault: the power fails in a write",
            Self::CutConnection => "fault: a connection is cut",
            Self::StickConnection => "fault: a connection is half open",
            Self::NeverRead => "fault: a client does not read",
            Self::ReadSlowly => "fault: a client reads 1 KB/s",
            Self::ClientReturns => "fault: a client returns under a new id",
            Self::ClientReturnsUnderItsId => "fault: a client returns under its id",
            Self::TwoOfOneId => "fault: two clients of one id",
            Self::DiskFull => "fault: the disk is full",
            Self::SyncError => "fault: a write or sync fails",
            Self::SlowDisk => "fault: the disk is slow",
            Self::PauseDaemon => "fault: a daemon is paused and put aside",
            Self::SilentHolder => "fault: a holder is silent",
            Self::ForeignHolder => "fault: a holder of another version",
            Self::StrangersProbe => "fault: a stranger asks a holder who it is",
            Self::LateExit => "fault: a former program's exit is recorded late",
            Self::ClockJumps => "fault: the clock jumps",
            Self::ReplaceDaemon => "fault: the daemon is replaced",
            Self::TimePasses => "fault: time passes",
        }
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }
}
