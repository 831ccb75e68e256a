//! Looks for batches in the bytes of a segment.

use crate::disk::File;
use crate::format::{BLOCK_BYTES, BatchHeader, Echo, SegmentHeader};
use std::io;

/// A batch that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) header: BatchHeader,
    pub(super) at: u64,
}

pub(super) fn length(header: &BatchHeader) -> u64 {
    BatchHeader::BYTES as u64 + u64::from(header.body_len)
}

pub(super) fn body<'a>(image: &'a [u8], header: &BatchHeader, at: u64) -> &'a [u8] {
    let from = index(at) + BatchHeader::BYTES;
    image.get(from..from + header.body_len as usize).unwrap_or_default()
}

/// What a batch says of the one before it.
pub(super) fn echoes(image: &[u8], found: &Found) -> Vec<Echo> {
    let body = body(image, &found.header, found.at);
    body.chunks(Echo::BYTES).take(found.header.echoes as usize).filter_map(|echo| Echo::decode(echo).ok()).collect()
}

pub(super) fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// The batches that count, from `position` on, and where the last of them ends. `limit`: bytes of the segment that
/// count.
pub(super) fn scan(
    image: &[u8],
    segment: &SegmentHeader,
    position: u64,
    first: u64,
    limit: Option<u64>,
) -> (Vec<Found>, u64) {
    let mut found = Vec::new();
    let mut end = position;
    let mut incarnation = 0;
    'batches: loop {
        for at in [end, end.next_multiple_of(BLOCK_BYTES)] {
            let number = first + found.len() as u64;
            let Some(batch) = counting(image, segment, at, number, limit) else { continue };
            if batch.header.incarnation >= incarnation {
                incarnation = batch.header.incarnation;
                end = at + length(&batch.header);
                found.push(batch);
                continue 'batches;
            }
        }
        return (found, end);
    }
}

/// The batch of this number, wherever it lies behind `from`.
pub(super) fn find(image: &[u8], segment: &SegmentHeader, from: u64, number: u64, limit: Option<u64>) -> Option<Found> {
    (from..image.len() as u64).step_by(8).find_map(|at| counting(image, segment, at, number, limit))
}

/// The batch of this number at this place, if it is whole.
pub(super) fn counting(
    image: &[u8],
    segment: &SegmentHeader,
    at: u64,
    number: u64,
    limit: Option<u64>,
) -> Option<Found> {
    let header = batch_at(image, segment, at).filter(|header| header.batch == number)?;
    let within = limit.is_none_or(|limit| at + length(&header) <= limit);
    (within && header.covers(body(image, &header, at), segment.salt)).then_some(Found { header, at })
}

fn batch_at(image: &[u8], segment: &SegmentHeader, at: u64) -> Option<BatchHeader> {
    let header = BatchHeader::decode(image.get(index(at)..)?, segment.salt).ok()?;
    (header.segment == segment.segment).then_some(header)
}

/// Whether anything behind `from` says that the missing batch was durable: then its absence is rot, not a torn tail.
pub(super) fn proven_later(image: &[u8], segment: &SegmentHeader, from: u64, missing: u64) -> bool {
    (from..image.len() as u64)
        .step_by(8)
        .filter_map(|at| batch_at(image, segment, at))
        .any(|header| header.batch > missing && header.synced >= missing)
}

/// Bytes of a torn tail, as far as its batches say how long they were meant to be. What lies in a segment that is used
/// again is no tail.
pub(super) fn torn(image: &[u8], segment: &SegmentHeader, end: u64, missing: u64) -> u64 {
    let begun = [end, end.next_multiple_of(BLOCK_BYTES)].into_iter().find_map(|at| {
        let header = BatchHeader::decode_unverified(image.get(index(at)..)?)?;
        (header.batch == missing).then(|| at + length(&header))
    });
    let later = (end..image.len() as u64)
        .step_by(8)
        .filter_map(|at| batch_at(image, segment, at).map(|header| at + length(&header)))
        .max();
    begun.max(later).map_or(0, |last| last.min(image.len() as u64).saturating_sub(end))
}

/// Whether a segment without a valid header holds batches of which one says that an earlier one was durable. Without the
/// salt their checksums cannot be checked.
pub(super) fn proves_itself(image: &[u8], segment: u64) -> bool {
    let mut first = None;
    image.get(index(BLOCK_BYTES)..).unwrap_or_default().chunks_exact(8).enumerate().any(|(place, _)| {
        let at = index(BLOCK_BYTES) + place * 8;
        let Some(header) = image.get(at..).and_then(BatchHeader::decode_unverified) else { return false };
        header.segment == segment && header.synced >= *first.get_or_insert(header.batch)
    })
}

pub(super) fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; index(file.len()?)];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}
