//! Screens: what a log is cut behind. A picture here is a sum over all that was printed, so that each one can be told from
//! what truly was; how a terminal looks is another test's.

use abide_journal::{Content, Error as JournalError, Level, Log, Lsn, Place, ReadLimit};
use abide_terminal::store::ScreenHeader;
use abide_terminal::{Incarnation, SessionId};

use super::Daemon;
use crate::machine::Machine;
use crate::mutant::Mutant;

/// Records that are looked at for one step.
const RECORDS_MAX: usize = 32;

/// What was printed up to a place of a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture {
    place: Place,
    /// Where the log's newest screen stands.
    screen_at: Place,
    pub(crate) sum: Sum,
}

/// Bytes, and the sum over each of them with its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    of_places: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, at: u64, byte: u8) {
        self.bytes += 1;
        self.of_places = self.of_places.wrapping_add((at << 8 | u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }

    /// What a screen tells.
    pub(crate) fn read(screen: &[u8]) -> Option<Self> {
        let (_, sum) = ScreenHeader::read(screen)?;
        let (bytes, of_places) = sum.split_first_chunk::<8>()?;
        Some(Self { bytes: u64::from_le_bytes(*bytes), of_places: u64::from_le_bytes(of_places.try_into().ok()?) })
    }

    fn screen(self) -> Vec<u8> {
        let header = ScreenHeader { cols: 80, rows: 24, incarnation: Incarnation(1) };
        header.with(&[self.bytes.to_le_bytes(), self.of_places.to_le_bytes()].concat())
    }
}

impl Picture {
    /// The newest screen; without one, nothing at the log's base.
    fn build(log: &Log) -> Option<Self> {
        let base = log.info().ok()?.base;
        let Some(newest) = log.last_checkpoint().ok()? else {
            return Some(Self { place: base, screen_at: base, sum: Sum::default() });
        };
        let sum = Sum::read(&log.open_checkpoint(newest.lsn).ok()?).expect("a screen of this version");
        let place = Place { lsn: newest.lsn.map_or(Lsn::FIRST, Lsn::next), offset: newest.offset };
        Some(Self { place, screen_at: place, sum })
    }

    /// Takes in what follows. Whether there was anything; none if it is no more.
    fn read(&mut self, log: &Log) -> Option<bool> {
        let limit = ReadLimit { bytes: 1 << 16, records: RECORDS_MAX };
        let read = match log.read_bytes(self.place.cursor(), limit, Level::Written, true) {
            Ok(read) => read,
            Err(JournalError::PositionTrimmed { .. }) => return None,
            Err(_) => return Some(false),
        };
        for record in &read.records {
            if let Content::Data(bytes) = &record.content {
                for (at, byte) in (record.offset.0..).zip(bytes) {
                    self.sum.add(at, *byte);
                }
            }
            self.place = Place { lsn: record.lsn().next(), offset: record.end_offset() };
        }
        Some(!read.records.is_empty())
    }
}

impl Daemon {
    /// One of the pictures takes in a piece of its log.
    pub(super) fn draw_some(&mut self, machine: &mut Machine) -> bool {
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        if ids.is_empty() {
            return false;
        }
        let id = ids[machine.rng.index(ids.len())];
        if machine.rng.one_in(50)
            && let Some(entry) = self.entries.get_mut(&id)
        {
            // Models are few: it is drawn again from the newest screen.
            entry.picture = None;
        }
        self.draw(machine, id)
    }

    pub(super) fn draw(&mut self, machine: &mut Machine, id: SessionId) -> bool {
        let distance = machine.limits.screen_bytes;
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let Some(log) = entry.log.clone().filter(|_| machine.limits.retention_bytes > 0) else { return false };
        let Some(mut picture) = entry.picture.take().or_else(|| Picture::build(&log)) else { return false };
        let Some(moved) = picture.read(&log) else {
            machine.tally.count("a picture was overtaken by a trim");
            return true;
        };
        let far = picture.place.offset.0 - picture.screen_at.offset.0 >= distance;
        let last = !moved && std::mem::take(&mut entry.keep_screen);
        if (far || last) && picture.screen_at != picture.place {
            // Without room there will be another occasion.
            if machine.is(Mutant::ScreenOfLess) {
                picture.sum.bytes = picture.sum.bytes.saturating_sub(1);
            }
            if log.add_checkpoint(picture.place.last(), picture.sum.screen()).wait().is_ok() {
                machine.tally.count("screens");
                picture.screen_at = picture.place;
            }
        }
        entry.picture = Some(picture);
        moved
    }
}
