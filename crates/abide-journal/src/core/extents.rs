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

    /// Payload + 56 a record.
    pub fn cost(&self) -> u64 {
        self.bytes + 56 * u64::from(self.records)
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

/// Extents of a log by rising LSN. Clones share all but the newest, so that readers get a snapshot for the price of two counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extents {
    /// Chunks of at most `CHUNK` extents, none empty.
    chunks: Arc<Vec<Arc<[Extent]>>>,
    /// At most `TAIL` behind them.
    tail: Arc<[Extent]>,
    /// The newest, which may still grow.
    last: Option<Extent>,
}

/// Extents of a chunk: copied at most when a tail is added to one.
const CHUNK: usize = 128;
/// Extents that are copied when there is a new one.
const TAIL: usize = 16;

impl Extents {
    pub(crate) fn from_list(extents: &[Extent]) -> Self {
        let Some((last, others)) = extents.split_last() else { return Self::default() };
        let chunks = others.chunks(CHUNK).map(Arc::from).collect();
        Self { chunks: Arc::new(chunks), tail: Arc::default(), last: Some(*last) }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Extent> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(self.tail.iter()).chain(&self.last)
    }

    /// The last extent for which `before` holds, and the first for which it does not; it must hold for a prefix.
    pub(crate) fn around(&self, before: impl Fn(&Extent) -> bool) -> (Option<Extent>, Option<Extent>) {
        // Those before it begin in a prefix of the chunks; what it is about lies in the last of them, or behind.
        let chunk = self.chunks.partition_point(|chunk| chunk.first().is_some_and(&before)).saturating_sub(1);
        let parts = self.chunks[chunk..].iter().map(|chunk| &**chunk).chain([&*self.tail, self.last.as_slice()]);
        let mut found = None;
        for part in parts {
            let (prefix, rest) = part.split_at(part.partition_point(&before));
            found = prefix.last().copied().or(found);
            if let Some(next) = rest.first() {
                return (found, Some(*next));
            }
        }
        (found, None)
    }

    /// The extent that holds a record.
    pub(crate) fn holding(&self, lsn: u64) -> Option<Extent> {
        self.around(|extent| extent.first_lsn <= lsn).0.filter(|extent| lsn < extent.end_lsn())
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
        if joinable
            && let Some(last) = &mut self.last
            && last.segment == at.segment
            && last.end_lsn() == lsn
            && at.place + at.stored_len - last.place <= window
        {
            last.span = at.place + at.stored_len - last.place;
            last.records += 1;
            last.bytes += payload;
            return false;
        }
        let new = Extent {
            segment: at.segment,
            place: at.place,
            batch_end: at.batch_end,
            span: at.stored_len,
            records: 1,
            first_lsn: lsn,
            first_offset: offset,
            bytes: payload,
        };
        if let Some(last) = self.last.replace(new) {
            self.tail = self.tail.iter().copied().chain([last]).collect();
        }
        if self.tail.len() == TAIL {
            let tail = std::mem::take(&mut self.tail);
            let chunks = Arc::make_mut(&mut self.chunks);
            match chunks.last_mut().filter(|chunk| chunk.len() + TAIL <= CHUNK) {
                Some(chunk) => *chunk = chunk.iter().chain(&*tail).copied().collect(),
                None => chunks.push(tail),
            }
        }
        true
    }

    /// Takes out all extents that lie wholly below a record.
    pub(crate) fn drop_below(&mut self, lsn: u64) -> Vec<Extent> {
        let gone: Vec<Extent> = self.iter().take_while(|extent| extent.end_lsn() <= lsn).copied().collect();
        if gone.is_empty() {
            return gone;
        }
        let kept = |extents: &[Extent]| extents.iter().filter(|extent| extent.end_lsn() > lsn).copied().collect();
        let chunks = Arc::make_mut(&mut self.chunks);
        let whole = chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.end_lsn() <= lsn));
        chunks.drain(..whole);
        if let Some(first) = chunks.first_mut() {
            *first = kept(first);
        } else {
            self.tail = kept(&self.tail);
            self.last.take_if(|last| last.end_lsn() <= lsn);
        }
        gone
    }

    /// Puts the extents of records that were written again in the place of those that held them. Returns what went and what
    /// came. A dense run of `new` counts if it is made of all records, from `base` on, of one or several extents.
    pub(crate) fn replace(&mut self, new: &Self, base: u64) -> (Vec<Extent>, Vec<Extent>) {
        let mut runs: Vec<Vec<Extent>> = Vec::new();
        for extent in new.iter() {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| last.end_lsn() == extent.first_lsn) => run.push(*extent),
                _ => runs.push(vec![*extent]),
            }
        }
        let mut all: Vec<Extent> = self.iter().copied().collect();
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for run in runs {
            let (Some(from), Some(to)) = (run.first().map(|e| e.first_lsn), run.last().map(Extent::end_lsn)) else {
                continue;
            };
            let first = all.partition_point(|extent| extent.end_lsn() <= from);
            let end = all.partition_point(|extent| extent.first_lsn < to);
            let old = all.get(first..end).unwrap_or_default();
            let dense = old.windows(2).all(|pair| pair[0].end_lsn() == pair[1].first_lsn);
            let whole = old.first().is_some_and(|first| first.first_lsn.max(base) == from)
                && old.last().is_some_and(|last| last.end_lsn() == to);
            if dense && whole {
                come.extend(&run);
                gone.extend(all.splice(first..end, run));
            }
        }
        if !gone.is_empty() {
            *self = Self::from_list(&all);
        }
        (gone, come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(segment: u64, first_lsn: u64, records: u32) -> Extent {
        let place = u32::try_from(first_lsn * 100).unwrap_or(0);
        Extent {
            segment,
            place,
            batch_end: place,
            span: records * 100,
            records,
            first_lsn,
            first_offset: first_lsn * 10,
            bytes: u64::from(records) * 10,
        }
    }

    fn many() -> Extents {
        let list: Vec<Extent> = (0..200).map(|number| extent(1, 1 + number * 3, 3)).collect();
        Extents::from_list(&list)
    }

    #[test]
    fn each_record_is_found_in_its_extent() {
        let mut extents = many();
        for below in [1, 4, 190, 193, 250, 598] {
            let gone = extents.drop_below(below);
            assert!(gone.iter().all(|extent| extent.end_lsn() <= below));
            for lsn in 1..605 {
                let linear = extents.iter().find(|extent| (extent.first_lsn..extent.end_lsn()).contains(&lsn));
                assert_eq!(extents.holding(lsn), linear.copied(), "{lsn}");
                let next = extents.iter().find(|extent| extent.first_lsn > lsn);
                assert_eq!(extents.around(|extent| extent.first_lsn <= lsn).1, next.copied(), "{lsn}");
            }
        }
        assert_eq!(extents.iter().count(), 1);
    }

    #[test]
    fn whole_runs_are_replaced() {
        let mut extents = many();
        // Records 10..=15 are two extents; 20..=21 are a part of one; 301..=303 is one; its base has cut 1..=3 to 2..=3.
        let list = [extent(9, 2, 2), extent(9, 10, 4), extent(9, 14, 2), extent(9, 20, 2), extent(9, 301, 3)];
        let (gone, come) = extents.replace(&Extents::from_list(&list), 2);
        assert_eq!(gone.iter().map(|extent| extent.first_lsn).collect::<Vec<_>>(), [1, 10, 13, 301]);
        assert_eq!(come.iter().map(|extent| extent.first_lsn).collect::<Vec<_>>(), [2, 10, 14, 301]);
        assert_eq!(extents.holding(15).map(|extent| extent.segment), Some(9));
        assert_eq!(extents.holding(20).map(|extent| extent.segment), Some(1));
        assert!(extents.iter().zip(extents.iter().skip(1)).all(|(a, b)| a.end_lsn() == b.first_lsn));
    }
}
