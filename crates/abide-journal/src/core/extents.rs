//! Where the records of one log lie.

use std::sync::Arc;

/// A run of records of one log within one window of one segment, with other logs' records between them, or one larger
/// record. Reading it takes one read of its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Segment in which it lies.
    pub segment: u64,
    /// Byte in the segment where its first record begins.
    pub place: u32,
    /// End of the batch that holds the first record: where the next batch header is looked for.
    pub batch_end: u32,
    /// Bytes from the first record to the end of the last.
    pub span: u32,
    /// Number of records.
    pub records: u32,
    /// LSN of the first record; the others follow densely.
    pub first_lsn: u64,
    /// Offset of the first record.
    pub first_offset: u64,
    /// Sum of the payloads' lengths.
    pub bytes: u64,
}

impl Extent {
    /// LSN behind the last record.
    pub fn end_lsn(&self) -> u64 {
        self.first_lsn + u64::from(self.records)
    }
}

/// Where one record was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPlace {
    pub(crate) segment: u64,
    pub(crate) place: u32,
    pub(crate) batch_end: u32,
    /// Length with header and padding.
    pub(crate) stored_len: u32,
}

/// Extents of a log by rising LSN. Clones share everything, so that readers get a snapshot for the price of two counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extents {
    /// Full chunks of `CHUNK` extents.
    chunks: Arc<Vec<Arc<Vec<Extent>>>>,
    /// The newest, fewer than `CHUNK`, or one less than is pushed.
    tail: Arc<Vec<Extent>>,
}

/// Extents copied at most when one is changed while a reader holds a snapshot.
const CHUNK: usize = 64;

impl Extents {
    pub(crate) fn from_list(extents: &[Extent]) -> Self {
        let full = extents.len() / CHUNK * CHUNK;
        let chunks = extents[..full].chunks(CHUNK).map(|chunk| Arc::new(chunk.to_vec())).collect();
        Self { chunks: Arc::new(chunks), tail: Arc::new(extents[full..].to_vec()) }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Extent> {
        match self.chunks.get(index / CHUNK) {
            Some(chunk) => chunk.get(index % CHUNK).copied(),
            None => self.tail.get(index.checked_sub(self.chunks.len() * CHUNK)?).copied(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(self.tail.iter())
    }

    /// Index of the first extent for which `before` does not hold; it must hold for a prefix.
    pub(crate) fn partition_point(&self, before: impl Fn(&Extent) -> bool) -> usize {
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&before));
        match self.chunks.get(chunk) {
            Some(found) => chunk * CHUNK + found.partition_point(before),
            None => chunk * CHUNK + self.tail.partition_point(before),
        }
    }

    /// Notes a record; says whether that took a new extent. `joinable`: it may share one with the record before it.
    pub(crate) fn push(
        &mut self,
        at: RecordPlace,
        lsn: u64,
        offset: u64,
        payload: u64,
        joinable: bool,
        window: u32,
    ) -> bool {
        if self.tail.is_empty()
            && let Some(last) = self.chunks.last()
            && joinable
        {
            // The newest extent lies in a full chunk: bring it back, so that it can grow.
            let tail = last.as_ref().clone();
            Arc::make_mut(&mut self.chunks).pop();
            self.tail = Arc::new(tail);
        }
        let tail = Arc::make_mut(&mut self.tail);
        if joinable
            && let Some(last) = tail.last_mut()
            && last.segment == at.segment
            && last.end_lsn() == lsn
            && at.place + at.stored_len - last.place <= window
        {
            last.span = at.place + at.stored_len - last.place;
            last.records += 1;
            last.bytes += payload;
            return false;
        }
        tail.push(Extent {
            segment: at.segment,
            place: at.place,
            batch_end: at.batch_end,
            span: at.stored_len,
            records: 1,
            first_lsn: lsn,
            first_offset: offset,
            bytes: payload,
        });
        if tail.len() > CHUNK {
            let newest = tail.split_off(CHUNK);
            let full = std::mem::replace(&mut self.tail, Arc::new(newest));
            Arc::make_mut(&mut self.chunks).push(full);
        }
        true
    }
}
