//! What upkeep reads: how far a log may be trimmed, and what is live in a segment that is emptied.

use super::engine::payload;
use super::read::{Piece as Read, Reader};
use super::shared::Shared;
use crate::core::{Extent, Moving, Piece};
use crate::format::{Placement, RecordHeader, Sealed};
use crate::position::{LogId, Lsn, Place};

impl Shared {
    /// Where the base of a log may go by its limits, or as asked.
    pub(crate) fn trim_target(&self, id: LogId, asked: Option<Place>) -> Option<Place> {
        let log = self.log(id)?;
        let reader = Reader::new(self, &log).ok()?;
        let begins = |extent: &Extent| reader.begins(extent);
        reader.view.trim_target(asked, self.clock.wall_us(), begins, |checkpoint| reader.trusts(checkpoint))
    }

    /// Reads and verifies what is to be moved. An extent of which something cannot be read stays where it is.
    pub(crate) fn read_piece(&self, piece: &Piece) -> Moving {
        let mut moving = Moving::default();
        for (id, extent) in &piece.extents {
            let Some(log) = self.log(*id) else { continue };
            let Ok(reader) = Reader::new(self, &log) else { continue };
            let Ok(pieces) = reader.read_extent(extent) else { continue };
            let records = pieces.into_iter().map(|piece| match piece {
                Read::Record(record) => Some(record),
                Read::Hole { .. } => None,
            });
            let Some(records) = records.collect::<Option<Vec<_>>>() else { continue };
            let records = records.into_iter().map(|record| {
                let (kind, payload) = payload(record.content);
                let header = RecordHeader {
                    log: *id,
                    crc: 0,
                    payload_len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
                    epoch: record.position.epoch.0,
                    lsn: record.position.lsn.get(),
                    offset: record.offset.0,
                    time_us: record.time_us,
                    kind,
                    tag: record.tag,
                    placement: Placement::Moved,
                };
                (header, Sealed::new(payload))
            });
            moving.extents.push((*id, *extent, records.collect()));
        }
        for (id, checkpoint) in &piece.checkpoints {
            let Some(log) = self.log(*id) else { continue };
            let Ok(reader) = Reader::new(self, &log) else { continue };
            if let Ok(bytes) = reader.checkpoint(checkpoint.lsn) {
                moving.checkpoints.push((*id, *checkpoint, bytes));
            }
        }
        moving
    }
}

impl Reader<'_> {
    /// When the first record of an extent was written.
    fn begins(&self, extent: &Extent) -> Option<u64> {
        let segment = self.shared.segment(extent.segment).ok()?;
        let mut head = [0; RecordHeader::BYTES];
        segment.file.read_at(extent.place.into(), &mut head).ok()?;
        let header = RecordHeader::decode(&head).ok()?;
        let first = Lsn::new(header.lsn).is_some_and(|lsn| lsn.get() == extent.first_lsn);
        (first && header.log == self.log.id).then_some(header.time_us)
    }
}
