//! Errors that are put in on purpose: each breaks one rule, and the checks must see it.
//!
//! The first eleven are the specification's, but for levels without their hold, which come with flow control.

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Output is acknowledged when it is taken, not when it is in the journal.
    AckBeforeAppend,
    /// A holder lets any daemon adopt it, also one of a lower epoch.
    NoFenceOfDaemonEpoch,
    /// Input of a former owner is passed on.
    NoFenceOfOwnerEpoch,
    /// What was accepted already of a frame of input is not cut off.
    ResendWithoutCut,
    /// A stream that comes back begins one byte behind the place where it stood.
    OffByOneResume,
    /// A repeated `start` starts the program again.
    StartTwice,
    /// Missing output is not named to streams.
    SkipUnnamed,
    /// The program of a restore is launched before the restore is recorded.
    RestoreWithoutRecord,
    /// A holder takes whoever asks who it is for its daemon.
    ProbeAdopts,
    /// An event and its mark are appended one after the other.
    EventAndMarkApart,
    /// A holder is collected when the end is written, not when it is durable.
    CollectBeforeDurable,
    /// A second stream of the owner counts its input in the epoch of the first.
    EpochOfAnother,
    /// A screen shows less than what was printed before it.
    ScreenOfLess,
}

impl Mutant {
    pub(crate) const ALL: [Self; 13] = [
        Self::AckBeforeAppend,
        Self::NoFenceOfDaemonEpoch,
        Self::NoFenceOfOwnerEpoch,
        Self::ResendWithoutCut,
        Self::OffByOneResume,
        Self::StartTwice,
        Self::SkipUnnamed,
        Self::RestoreWithoutRecord,
        Self::ProbeAdopts,
        Self::EventAndMarkApart,
        Self::CollectBeforeDurable,
        Self::EpochOfAnother,
        Self::ScreenOfLess,
    ];
}
