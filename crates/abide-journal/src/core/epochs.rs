//! The epoch table of a log: which reign wrote which records.

use crate::format::EpochEntry;

/// Entries by strictly rising epoch; starts never fall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs(Vec<EpochEntry>);

impl Epochs {
    pub(crate) fn from_list(entries: Vec<EpochEntry>) -> Self {
        Self(entries)
    }

    /// All entries.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.0
    }

    /// The last epoch, 0: the table is empty.
    pub fn last(&self) -> u64 {
        self.0.last().map_or(0, |entry| entry.epoch)
    }

    /// Adds a reign. An entry that got no records goes: common points do not change by that.
    pub(crate) fn push(&mut self, entry: EpochEntry, entries_max: usize) {
        self.0.retain(|old| old.start_lsn < entry.start_lsn);
        self.0.push(entry);
        if self.0.len() > entries_max {
            self.0.drain(..self.0.len() - entries_max);
        }
    }

    /// Entries wholly below the base go, but the one that owns the record before it.
    pub(crate) fn trim(&mut self, base: u64) {
        let owner = self.0.partition_point(|entry| entry.start_lsn < base).saturating_sub(1);
        self.0.drain(..owner);
    }

    /// The reign that wrote a record, if the table reaches back to it.
    pub fn owner(&self, lsn: u64) -> Option<u64> {
        let behind = self.0.partition_point(|entry| entry.start_lsn <= lsn);
        behind.checked_sub(1).map(|index| self.0[index].epoch)
    }

    /// Start of the first reign later than `epoch`.
    pub fn start_after(&self, epoch: u64) -> Option<u64> {
        self.0.iter().find(|entry| entry.epoch > epoch).map(|entry| entry.start_lsn)
    }

    /// Whether what came before `epoch` has been forgotten. A table whose first entry starts at record 1 is complete.
    pub fn forgot(&self, epoch: u64) -> bool {
        self.0.first().is_some_and(|first| epoch < first.epoch && first.start_lsn > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(u64, u64)]) -> Epochs {
        let mut table = Epochs::default();
        for &(epoch, start_lsn) in entries {
            table.push(EpochEntry { epoch, start_lsn, forced: false }, 4);
        }
        table
    }

    #[test]
    fn an_entry_without_records_goes() {
        assert_eq!(table(&[(1, 1), (2, 1), (3, 5)]).entries().len(), 2);
        assert_eq!(table(&[(1, 1), (2, 1), (3, 5)]).owner(4), Some(2));
    }

    #[test]
    fn the_oldest_entries_go_at_the_limit() {
        let table = table(&[(1, 1), (2, 3), (3, 5), (4, 7), (5, 9)]);
        assert_eq!(table.entries().len(), 4);
        assert_eq!(table.owner(2), None);
        assert!(table.forgot(1));
        assert!(!table.forgot(2));
    }
}
