//! From a planned batch to the bytes on the disk. Payloads are not copied, and read once for both checksums.

use crate::core::WritePlan;
use crate::format::{BatchHeader, Echo, RecordHeader, crc, padded};
use bytes::Bytes;
use std::io::IoSlice;

/// Shorter payloads are copied behind their header: one buffer more for the kernel costs more than the copy.
const COPY_BYTES: usize = 2_048;

/// A payload with its checksum.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) bytes: Bytes,
    pub(crate) crc: u32,
}

impl Sealed {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let crc = crc::of(&bytes);
        Self { bytes, crc }
    }
}

/// A batch as it is written: heads and short payloads in one buffer, with long payloads between its pieces.
#[derive(Debug)]
pub(crate) struct Encoded {
    heads: Vec<u8>,
    /// Where in `heads` a long payload comes in between.
    long: Vec<(usize, Bytes)>,
    len: usize,
}

impl Encoded {
    /// `payloads` are those of the plan's records, in order.
    pub(crate) fn new(plan: &WritePlan, payloads: &[Sealed]) -> Self {
        let short = |payload: &Sealed| payload.bytes.len() < COPY_BYTES;
        let copied: usize =
            payloads.iter().filter(|payload| short(payload)).map(|payload| payload.bytes.len() + 8).sum();
        let (records, echoes) = (plan.records.len() * (RecordHeader::BYTES + 8), plan.echoes.len() * Echo::BYTES);
        let mut heads = Vec::with_capacity(BatchHeader::BYTES + echoes + records + copied);
        let mut long = Vec::new();
        heads.resize(BatchHeader::BYTES, 0);
        for echo in &plan.echoes {
            echo.encode(&mut heads);
        }
        let mut body_crc = crc::append(plan.salt, &heads[BatchHeader::BYTES..]);
        let mut len = heads.len();
        for (record, payload) in plan.records.iter().zip(payloads) {
            let header = record.header.sealed(record.uid, payload.crc);
            let start = heads.len();
            heads.extend_from_slice(&header.encode());
            let padding = padded(payload.bytes.len()) - payload.bytes.len();
            if short(payload) {
                heads.extend_from_slice(&payload.bytes);
                heads.resize(heads.len() + padding, 0);
                body_crc = crc::append(body_crc, &heads[start..]);
            } else {
                body_crc = crc::append(body_crc, &heads[start..]);
                body_crc = crc::combine(body_crc, payload.crc, payload.bytes.len());
                long.push((heads.len(), payload.bytes.clone()));
                let behind = heads.len();
                heads.resize(behind + padding, 0);
                body_crc = crc::append(body_crc, &heads[behind..]);
            }
            len += RecordHeader::BYTES + padded(payload.bytes.len());
        }
        let header = BatchHeader { body_crc, ..plan.header };
        heads[..BatchHeader::BYTES].copy_from_slice(&header.encode(plan.salt));
        Self { heads, long, len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn buffers(&self) -> Vec<IoSlice<'_>> {
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
