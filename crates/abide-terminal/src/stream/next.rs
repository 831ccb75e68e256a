//! What a stream does next: a pure function of where it stands and what is there.

use abide_journal::{Cursor, Level, Log, Place};
use abide_wire::Code;

use crate::ids::ByteOffset;
use crate::protocol::OnLag;
use crate::protocol::limits::OUTPUT_CHUNK_BYTES_MAX;

/// What becomes of a stream that is far behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// What.
    pub on_lag: OnLag,
    /// How far is too far, in bytes.
    pub bytes_max: u64,
}

/// All that the next step depends on.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// What was sent last ends here.
    pub cursor: Cursor,
    /// The end of what may be read.
    pub end: Place,
    /// The first byte that is kept.
    pub base: ByteOffset,
    /// How far the screen model has come.
    pub model: ByteOffset,
    /// Where the stream is to end.
    pub until: Option<ByteOffset>,
    /// What becomes of it if it is too far behind.
    pub lag: Lag,
    /// Bytes of a snapshot that were not sent yet.
    pub snapshot_left: usize,
    /// Bytes that its connection and its client take now.
    pub room: usize,
    /// Bytes of output that its client lets it send.
    pub credit: u64,
    /// Whether the session is Finalized.
    pub finalized: bool,
    /// Whether it was removed.
    pub removed: bool,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The stream ends with this code.
    End(Code),
    /// So many bytes at most of the snapshot are sent.
    Snapshot(usize),
    /// Nothing is queued until there is room, or the stream ends.
    AwaitRoom,
    /// What lies between here and the model is skipped: that is told, and a snapshot of the model follows.
    Resync,
    /// So many bytes at most are sent, and the marks among them.
    Read(usize),
    /// The end of the session is told, and the stream ends.
    Exited,
    /// Nothing is to be done until there is more.
    AwaitOutput,
}

/// The next step; the first rule that fits.
pub fn next(seen: &Seen) -> Step {
    let at = seen.cursor.offset.0;
    let behind = seen.end.offset.0.saturating_sub(at);
    let on_lag = seen.lag.on_lag;
    let passed = at < seen.base.0;
    let late = behind > seen.lag.bytes_max;
    if seen.removed {
        return Step::End(Code::SessionGone);
    }
    if seen.until.is_some_and(|until| at >= until.0) {
        return Step::End(Code::EndReached);
    }
    if seen.snapshot_left > 0 {
        let chunk = seen.snapshot_left.min(seen.room).min(OUTPUT_CHUNK_BYTES_MAX);
        return if chunk == 0 { Step::AwaitRoom } else { Step::Snapshot(chunk) };
    }
    if passed && on_lag != OnLag::Resync {
        return Step::End(Code::OffsetTrimmed);
    }
    if late && on_lag == OnLag::Disconnect {
        return Step::End(Code::SlowSubscriber);
    }
    if seen.room == 0 || seen.credit == 0 {
        return Step::AwaitRoom;
    }
    if on_lag == OnLag::Resync && (passed || late && is_far_ahead(seen, at)) {
        return Step::Resync;
    }
    if is_behind(seen.cursor, seen.end) {
        let left = seen.until.map_or(u64::MAX, |until| until.0 - at).min(seen.credit);
        let room = seen.room.min(OUTPUT_CHUNK_BYTES_MAX);
        return Step::Read(usize::try_from(left).unwrap_or(usize::MAX).min(room));
    }
    if seen.finalized { Step::Exited } else { Step::AwaitOutput }
}

/// Whether the model is so far ahead of the stream that a jump to it is worth one: a model that lags behind the program
/// never makes a stream jump again and again.
fn is_far_ahead(seen: &Seen, at: u64) -> bool {
    seen.model.0.saturating_sub(at) >= seen.lag.bytes_max / 2
}

/// Whether a byte or a mark lies between the cursor and the end.
fn is_behind(cursor: Cursor, end: Place) -> bool {
    match cursor.lsn {
        Some(lsn) => lsn < end.lsn,
        None => cursor.offset <= end.offset && end.last().is_some(),
    }
}

/// The end of a log as a reader of this level sees it; of a dropped log its start.
pub fn end_at(log: &Log, level: Level) -> Place {
    log.tail().get().map_or(Place::START, |tail| tail.at(level))
}

/// The end of what is written to a log.
pub fn written(log: &Log) -> Place {
    end_at(log, Level::Written)
}

#[cfg(test)]
mod tests {
    use abide_journal::{ByteOffset as LogOffset, Lsn};

    use super::*;

    fn place(lsn: u64, offset: u64) -> Place {
        Place { lsn: Lsn::new(lsn).unwrap(), offset: LogOffset(offset) }
    }

    fn seen(at: Place, end: Place) -> Seen {
        Seen {
            cursor: at.cursor(),
            end,
            base: ByteOffset(0),
            model: ByteOffset(0),
            until: None,
            lag: Lag { on_lag: OnLag::Follow, bytes_max: 1_000 },
            snapshot_left: 0,
            room: usize::MAX,
            credit: u64::MAX,
            finalized: false,
            removed: false,
        }
    }

    fn lagging(on_lag: OnLag) -> Seen {
        Seen { lag: Lag { on_lag, bytes_max: 1_000 }, ..seen(place(3, 100), place(9, 5_000)) }
    }

    #[test]
    fn a_stream_reads_to_the_end_and_tells_the_end_of_the_session_last() {
        let behind = seen(place(3, 100), place(9, 5_000));
        assert_eq!(next(&behind), Step::Read(OUTPUT_CHUNK_BYTES_MAX));
        assert_eq!(next(&Seen { finalized: true, ..behind }), Step::Read(OUTPUT_CHUNK_BYTES_MAX));
        let mark_left = seen(place(8, 5_000), place(9, 5_000));
        assert_eq!(next(&Seen { finalized: true, ..mark_left }), Step::Read(OUTPUT_CHUNK_BYTES_MAX));
        let at_end = seen(place(9, 5_000), place(9, 5_000));
        assert_eq!(next(&at_end), Step::AwaitOutput);
        assert_eq!(next(&Seen { finalized: true, ..at_end }), Step::Exited);
        assert_eq!(next(&Seen { removed: true, finalized: true, ..at_end }), Step::End(Code::SessionGone));
    }

    #[test]
    fn a_stream_ends_where_it_was_asked_to() {
        let behind = Seen { until: Some(ByteOffset(150)), ..seen(place(3, 100), place(9, 5_000)) };
        assert_eq!(next(&behind), Step::Read(50));
        let there = Seen { cursor: place(4, 150).cursor(), ..behind };
        assert_eq!(next(&there), Step::End(Code::EndReached));
    }

    #[test]
    fn no_more_is_read_than_there_is_room_and_credit_for() {
        let behind = seen(place(3, 100), place(9, 5_000));
        assert_eq!(next(&Seen { room: 0, ..behind }), Step::AwaitRoom);
        assert_eq!(next(&Seen { credit: 0, ..behind }), Step::AwaitRoom);
        assert_eq!(next(&Seen { room: 7, ..behind }), Step::Read(7));
        assert_eq!(next(&Seen { credit: 5, room: 7, ..behind }), Step::Read(5));
    }

    #[test]
    fn a_snapshot_goes_before_everything_that_does_not_end_the_stream() {
        let sending = Seen { snapshot_left: 10, credit: 0, ..lagging(OnLag::Disconnect) };
        assert_eq!(next(&sending), Step::Snapshot(10));
        assert_eq!(next(&Seen { room: 3, ..sending }), Step::Snapshot(3));
        assert_eq!(next(&Seen { room: 0, ..sending }), Step::AwaitRoom);
        assert_eq!(next(&Seen { removed: true, ..sending }), Step::End(Code::SessionGone));
    }

    #[test]
    fn who_does_not_wait_for_a_slow_reader_ends_it_without_room() {
        for room in [0, 1] {
            let disconnect = Seen { room, ..lagging(OnLag::Disconnect) };
            assert_eq!(next(&disconnect), Step::End(Code::SlowSubscriber));
            let near = Seen { cursor: place(3, 4_000).cursor(), ..disconnect };
            assert_eq!(
                next(&near),
                if room == 0 { Step::AwaitRoom } else { Step::Read(1) },
                "at the bound, not over it"
            );
            for on_lag in [OnLag::Disconnect, OnLag::Follow] {
                let passed = Seen { base: ByteOffset(101), room, ..lagging(on_lag) };
                assert_eq!(next(&passed), Step::End(Code::OffsetTrimmed));
            }
        }
        assert_eq!(next(&lagging(OnLag::Follow)), Step::Read(OUTPUT_CHUNK_BYTES_MAX));
    }

    #[test]
    fn a_resync_waits_for_room_and_for_a_model_that_is_far_ahead() {
        let late = Seen { model: ByteOffset(600), ..lagging(OnLag::Resync) };
        assert_eq!(next(&late), Step::Resync);
        assert_eq!(next(&Seen { room: 0, ..late }), Step::AwaitRoom);
        assert_eq!(next(&Seen { credit: 0, ..late }), Step::AwaitRoom);
        assert_eq!(next(&Seen { model: ByteOffset(599), room: 9, ..late }), Step::Read(9));
        assert_eq!(next(&Seen { cursor: place(3, 4_000).cursor(), room: 9, ..late }), Step::Read(9));
        let passed = Seen { base: ByteOffset(101), model: ByteOffset(0), ..late };
        assert_eq!(next(&passed), Step::Resync);
        assert_eq!(next(&Seen { room: 0, ..passed }), Step::AwaitRoom);
    }
}
