//! Where a stream begins that was there before.

use abide_journal::{At, Cursor, Epoch, Level, Log, Place, PositionAnswer, PositionQuery};

use super::next::end_at;
use crate::ids::ByteOffset;
use crate::protocol::WireError;

/// Where a stream begins that asks for an offset, in the history that it knows.
///
/// Errors: `OFFSET_TRIMMED` if the byte is not kept; `OFFSET_AHEAD` if it, or what came before it, does not stand (any
/// more), with the place from which on the stream may go on; `JOURNAL_FAILED`.
pub fn start_at(log: &Log, offset: ByteOffset, epoch: Option<u64>, level: Level) -> Result<Cursor, WireError> {
    let query = PositionQuery { epoch: epoch.map(Epoch), at: At::Offset(abide_journal::ByteOffset(offset.0)) };
    let epoch_now = log.info().map_err(|_| WireError::journal_failed())?.epoch.0;
    let end = end_at(log, level);
    let ahead =
        |resume: Place| WireError::offset_ahead(ByteOffset(end.offset.0), epoch_now, ByteOffset(resume.offset.0));
    match log.check_position(query).map_err(|_| WireError::journal_failed())? {
        PositionAnswer::Exact(_) if offset.0 > end.offset.0 => Err(ahead(end)),
        PositionAnswer::Exact(_) => Ok(Cursor::at(offset.0)),
        PositionAnswer::Trimmed { base } | PositionAnswer::Unknown { base } => {
            Err(WireError::offset_trimmed(ByteOffset(base.offset.0)))
        }
        PositionAnswer::Ahead { next } => Err(ahead(next)),
        PositionAnswer::Diverged { common } => Err(ahead(common)),
    }
}
