//! What a stream does next: a pure function of where it stands and what is there.

use abide_journal::{Cursor, Level, Log, Place};
use abide_wire::Code;

use crate::ids::ByteOffset;
use crate::protocol::limits::OUTPUT_CHUNK_BYTES_MAX;

/// All that the next step depends on.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// What was sent last ends here.
    pub cursor: Cursor,
    /// The end of what may be read.
    pub end: Place,
    /// Where the stream is to end.
    pub until: Option<ByteOffset>,
    /// Whether the connection takes output.
    pub has_room: bool,
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
    /// Nothing is queued until the connection has room.
    AwaitRoom,
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
    if seen.removed {
        return Step::End(Code::SessionGone);
    }
    if seen.until.is_some_and(|until| at >= until.0) {
        return Step::End(Code::EndReached);
    }
    if !seen.has_room {
        return Step::AwaitRoom;
    }
    if is_behind(seen.cursor, seen.end) {
        let left = seen.until.map_or(u64::MAX, |until| until.0 - at);
        return Step::Read(usize::try_from(left).unwrap_or(usize::MAX).min(OUTPUT_CHUNK_BYTES_MAX));
    }
    if seen.finalized { Step::Exited } else { Step::AwaitOutput }
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
        Seen { cursor: at.cursor(), end, until: None, has_room: true, finalized: false, removed: false }
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
    fn without_room_nothing_is_read() {
        let full = Seen { has_room: false, ..seen(place(3, 100), place(9, 5_000)) };
        assert_eq!(next(&full), Step::AwaitRoom);
    }
}
