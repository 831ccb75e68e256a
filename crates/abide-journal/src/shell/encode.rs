//! From a planned batch to the bytes on the disk. Payloads are not copied, and read once for both checksums.

use crate::core::{PlannedRecord, WritePlan};
use crate::format::{BatchHeader, RecordHeader, crc, padded};
use std::io::IoSlice;

/// Shorter payloads are copied behind their header: one buffer more for the kernel costs more than the copy.
const COPY_BYTES: usize = 2_048;

/// A batch as it is written: heads and short payloads in one buffer, with long payloads between its pieces.
#[derive(Debug)]
pub(crate) struct Encoded<'a> {
    heads: &'a [u8],
    /// Where in `heads` a long payload comes in between.
    long: Vec<(usize, &'a [u8])>,
    len: usize,
}

impl<'a> Encoded<'a> {
    /// `heads` is overwritten: it is kept from batch to batch, so that none allocates.
    pub(crate) fn new(plan: &'a WritePlan, heads: &'a mut Vec<u8>) -> Self {
        let mut long = Vec::new();
        heads.clear();
        heads.resize(BatchHeader::BYTES, 0);
        for echo in &plan.echoes {
            echo.encode(heads);
        }
        let mut body_crc = crc::append(plan.salt, &heads[BatchHeader::BYTES..]);
        let mut len = heads.len();
        for PlannedRecord { written, uid, payload } in &plan.records {
            let start = heads.len();
            heads.extend_from_slice(&written.header.sealed(*uid, payload.crc).encode());
            let padding = padded(payload.bytes.len()) - payload.bytes.len();
            if payload.bytes.len() < COPY_BYTES {
                heads.extend_from_slice(&payload.bytes);
                heads.resize(heads.len() + padding, 0);
                body_crc = crc::append(body_crc, &heads[start..]);
            } else {
                body_crc = crc::append(body_crc, &heads[start..]);
                body_crc = crc::combine(body_crc, payload.crc, payload.bytes.len());
                long.push((heads.len(), &*payload.bytes));
                let behind = heads.len();
                heads.resize(behind + padding, 0);
                body_crc = crc::append(body_crc, &heads[behind..]);
            }
            len += RecordHeader::record_bytes(payload.bytes.len());
        }
        let header = BatchHeader { body_crc, ..plan.header };
        heads[..BatchHeader::BYTES].copy_from_slice(&header.encode(plan.salt));
        Self { heads, long, len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn buffers(&self) -> Vec<IoSlice<'a>> {
        let mut buffers = Vec::with_capacity(2 * self.long.len() + 1);
        let mut from = 0;
        for (at, payload) in &self.long {
            buffers.push(IoSlice::new(&self.heads[from..*at]));
            buffers.push(IoSlice::new(payload));
            from = *at;
        }
        if from < self.heads.len() {
            buffers.push(IoSlice::new(&self.heads[from..]));
        }
        buffers
    }
}
