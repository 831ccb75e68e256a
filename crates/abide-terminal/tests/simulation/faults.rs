//! What goes wrong, and how tight everything is: drawn for each seed.

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
    /// What a program without end prints before it rests.
    pub(crate) endless_bytes: u64,
    pub(crate) launch_fails_one_in: u64,
    pub(crate) exit_record_fails_one_in: u64,
    pub(crate) sessions_max: usize,
    pub(crate) clients: usize,
    pub(crate) steps: u64,
}

impl Limits {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
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
            endless_bytes: 2_000 + rng.below(8_000),
            launch_fails_one_in: 30,
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
    ClientReturns,
    ClientReturnsUnderItsId,
    TwoOfOneId,
    DiskFull,
    SyncError,
    PauseDaemon,
    SilentHolder,
    ForeignHolder,
    StrangersProbe,
    ClockJumps,
    ReplaceDaemon,
    TimePasses,
}

impl Fault {
    const ALL: [Self; 21] = [
        Self::KillDaemon,
        Self::KillDaemonAgainAndAgain,
        Self::KillHolder,
        Self::KillBoth,
        Self::Reboot,
        Self::PowerFailsInWrite,
        Self::CutConnection,
        Self::StickConnection,
        Self::NeverRead,
        Self::ClientReturns,
        Self::ClientReturnsUnderItsId,
        Self::TwoOfOneId,
        Self::DiskFull,
        Self::SyncError,
        Self::PauseDaemon,
        Self::SilentHolder,
        Self::ForeignHolder,
        Self::StrangersProbe,
        Self::ClockJumps,
        Self::ReplaceDaemon,
        Self::TimePasses,
    ];

    /// The faults of one seed: some of them, so that each also strikes where others do not.
    pub(crate) fn draw(rng: &mut Rng) -> Vec<Self> {
        let share = [10, 30, 60][rng.index(3)];
        // In half of the seeds the disk keeps its word: only then must nothing at all be missing.
        let disk = rng.one_in(2);
        let keeps = |fault: &Self| disk || !matches!(fault, Self::Reboot | Self::PowerFailsInWrite | Self::SyncError);
        let drawn = |fault: &Self, rng: &mut Rng| rng.percent(share) && keeps(fault);
        Self::ALL.into_iter().filter(|fault| drawn(fault, rng) || *fault == Self::CutConnection).collect()
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
            Self::ClientReturns => "fault: a client returns under a new id",
            Self::ClientReturnsUnderItsId => "fault: a client returns under its id",
            Self::TwoOfOneId => "fault: two clients of one id",
            Self::DiskFull => "fault: the disk is full",
            Self::SyncError => "fault: a write or sync fails",
            Self::PauseDaemon => "fault: a daemon is paused and put aside",
            Self::SilentHolder => "fault: a holder is silent",
            Self::ForeignHolder => "fault: a holder of another version",
            Self::StrangersProbe => "fault: a stranger asks a holder who it is",
            Self::ClockJumps => "fault: the clock jumps",
            Self::ReplaceDaemon => "fault: the daemon is replaced",
            Self::TimePasses => "fault: time passes",
        }
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }
}
