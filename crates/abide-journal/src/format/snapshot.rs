use super::codec::{Malformed, Put, Take};
use super::control::{EpochEntry, decode_options, encode_options};
use super::{Extent, FORMAT, crc};
use crate::options::LogOptions;
use crate::position::{Incarnation, LogId, LogUid};
use std::borrow::Borrow;

/// The index of the whole store after one durable batch: what an open begins with.
///
/// Magic `ABJIDX01`, format u32, store_id `[16]`, incarnation, batch, segment and position of the next batch, next log
/// id, body_len, all u64; then the logs. The file is cut into blocks of 64 KiB whose last four bytes are the checksum of
/// the rest of the block, continued from the block's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The store that it belongs to.
    pub store_id: [u8; 16],
    /// The open that wrote it.
    pub incarnation: Incarnation,
    /// The state after this batch.
    pub batch: u64,
    /// Where the next batch lies.
    pub segment: u64,
    /// In that segment; or at the next block.
    pub position: u64,
    /// Id of the log that is created next.
    pub next_log: LogId,
    /// Every log, by rising id.
    pub logs: Vec<SnapshotLog>,
}

/// One log in a [`Snapshot`], its fields in the order in which they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotLog {
    /// Local id.
    pub id: LogId,
    /// Identity on all nodes.
    pub uid: LogUid,
    /// Unique in the store.
    pub name: String,
    /// How it is kept.
    pub options: LogOptions,
    /// First record kept.
    pub base_lsn: u64,
    /// Its offset.
    pub base_offset: u64,
    /// Number of the next record.
    pub next_lsn: u64,
    /// Its offset.
    pub next_offset: u64,
    /// Time of the last record.
    pub last_time_us: u64,
    /// The last mark, 0: none.
    pub last_mark: u64,
    /// The epoch table.
    pub epochs: Vec<EpochEntry>,
    /// Small facts: key and value.
    pub meta: Vec<(String, Vec<u8>)>,
    /// Checkpoints by rising LSN.
    pub checkpoints: Vec<SnapshotCheckpoint>,
    /// Pins that outlive the process.
    pub pins: Vec<SnapshotPin>,
    /// What cannot be read.
    pub damage: Vec<Damage>,
    /// Read-only until repaired or accepted.
    pub quarantined: bool,
    /// Where the records lie.
    pub extents: Vec<Extent>,
}

/// A checkpoint: lsn, offset, epoch, bytes u64, form u8, place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotCheckpoint {
    /// It stands for all records up to this one.
    pub lsn: u64,
    /// Offset behind them.
    pub offset: u64,
    /// Epoch of that record.
    pub epoch: u64,
    /// Length.
    pub bytes: u64,
    /// Where it is.
    pub place: CheckpointPlace,
}

/// Where a checkpoint's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPlace {
    /// Form 1, a record in the stream: segment u64, position u64.
    Inline {
        /// Segment of the record.
        segment: u64,
        /// Byte in it where the record begins.
        position: u64,
    },
    /// Form 2, a file: digest `[32]`.
    File {
        /// What its bytes must give.
        digest: [u8; 32],
    },
}

/// A durable pin: name str, lsn u64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPin {
    /// Who holds it.
    pub name: String,
    /// It keeps what comes after this record.
    pub lsn: u64,
}

/// State of a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageState {
    /// Noticed.
    Found = 1,
    /// Written again from a copy.
    Repaired = 2,
    /// A permanent gap with a name.
    Accepted = 3,
}

/// Records that cannot be read: from_lsn, to_lsn, segment, position u64, state u8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// First record.
    pub from_lsn: u64,
    /// Last record.
    pub to_lsn: u64,
    /// Segment of the damaged bytes.
    pub segment: u64,
    /// Their place in it.
    pub position: u64,
    /// What became of it.
    pub state: DamageState,
}

impl Damage {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.from_lsn, self.to_lsn, self.segment, self.position] {
            out.put_u64(field);
        }
        out.put_u8(self.state as u8);
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            from_lsn: take.u64()?,
            to_lsn: take.u64()?,
            segment: take.u64()?,
            position: take.u64()?,
            state: match take.u8()? {
                1 => DamageState::Found,
                2 => DamageState::Repaired,
                3 => DamageState::Accepted,
                _ => return Err(Malformed("unknown state of a damage")),
            },
        })
    }
}

const MAGIC: &[u8; 8] = b"ABJIDX01";
const BLOCK: usize = 64 << 10;
const HEAD_BYTES: usize = 8 + 4 + 16 + 6 * 8;

impl Snapshot {
    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(self.logs.iter())
    }

    /// The same with these logs in the place of its own, each as it comes: a large index need not be there twice.
    pub(crate) fn encode_with<L: Borrow<SnapshotLog>>(&self, logs: impl ExactSizeIterator<Item = L>) -> Vec<u8> {
        let mut file = Vec::new();
        file.put(MAGIC);
        file.put_u32(FORMAT);
        file.put(&self.store_id);
        for field in [self.incarnation.0, self.batch, self.segment, self.position, self.next_log.0] {
            file.put_u64(field);
        }
        file.put_u64(0);
        file.put_count(logs.len());
        for log in logs {
            log.borrow().encode(&mut file);
        }
        let body_len = (file.len() - HEAD_BYTES) as u64;
        file[HEAD_BYTES - 8..HEAD_BYTES].copy_from_slice(&body_len.to_le_bytes());
        // Each piece becomes a block in place, the last one first.
        let end = file.len();
        let pieces = end.div_ceil(BLOCK - 4);
        file.resize(end + 4 * pieces, 0);
        for index in (0..pieces).rev() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let piece = index * (BLOCK - 4)..end.min((index + 1) * (BLOCK - 4));
            let (crc, at, behind) = (crc::append(number, &file[piece.clone()]), index * BLOCK, index * 4 + piece.end);
            file.copy_within(piece, at);
            file[behind..behind + 4].copy_from_slice(&crc.to_le_bytes());
        }
        file
    }

    /// Reads a file; every byte of it is checked.
    pub fn decode(file: &[u8]) -> Result<Self, Malformed> {
        let mut plain = Vec::with_capacity(file.len());
        for (number, block) in (0..).zip(file.chunks(BLOCK)) {
            let (piece, stored) = block.split_last_chunk::<4>().ok_or(Malformed("the snapshot is cut off"))?;
            if crc::append(number, piece) != u32::from_le_bytes(*stored) {
                return Err(Malformed("a checksum of the snapshot does not hold"));
            }
            plain.extend_from_slice(piece);
        }
        let mut take = Take(&plain);
        if take.array::<8>()? != *MAGIC {
            return Err(Malformed("not an index snapshot"));
        }
        if take.u32()? != FORMAT {
            return Err(Malformed("unknown format of an index snapshot"));
        }
        let store_id = take.array()?;
        let incarnation = Incarnation(take.u64()?);
        let (batch, segment, position) = (take.u64()?, take.u64()?, take.u64()?);
        let next_log = LogId(take.u64()?);
        if take.u64()? != take.0.len() as u64 {
            return Err(Malformed("the snapshot has another length than it says"));
        }
        let logs = take.list(SnapshotLog::BYTES_MIN, SnapshotLog::decode)?;
        take.end()?;
        Ok(Self { store_id, incarnation, batch, segment, position, next_log, logs })
    }
}

impl SnapshotLog {
    const BYTES_MIN: usize = 100;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id.0);
        out.put(&self.uid.0);
        out.put_str(&self.name);
        encode_options(&self.options, out);
        for field in
            [self.base_lsn, self.base_offset, self.next_lsn, self.next_offset, self.last_time_us, self.last_mark]
        {
            out.put_u64(field);
        }
        out.put_count(self.epochs.len());
        self.epochs.iter().for_each(|entry| entry.encode(out));
        out.put_count(self.meta.len());
        for (key, value) in &self.meta {
            out.put_str(key);
            out.put_bytes(value);
        }
        out.put_count(self.checkpoints.len());
        self.checkpoints.iter().for_each(|checkpoint| checkpoint.encode(out));
        out.put_count(self.pins.len());
        for pin in &self.pins {
            out.put_str(&pin.name);
            out.put_u64(pin.lsn);
        }
        out.put_count(self.damage.len());
        self.damage.iter().for_each(|damage| damage.encode(out));
        out.put_u8(u8::from(self.quarantined));
        out.put_count(self.extents.len());
        self.extents.iter().for_each(|extent| encode_extent(extent, out));
    }

    fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: LogId(take.u64()?),
            uid: LogUid(take.array()?),
            name: take.text()?.to_owned(),
            options: decode_options(take)?,
            base_lsn: take.u64()?,
            base_offset: take.u64()?,
            next_lsn: take.u64()?,
            next_offset: take.u64()?,
            last_time_us: take.u64()?,
            last_mark: take.u64()?,
            epochs: take.list(17, EpochEntry::decode)?,
            meta: take.list(6, |take| Ok((take.text()?.to_owned(), take.sized_bytes()?.to_vec())))?,
            checkpoints: take.list(33, SnapshotCheckpoint::decode)?,
            pins: take.list(10, |take| Ok(SnapshotPin { name: take.text()?.to_owned(), lsn: take.u64()? }))?,
            damage: take.list(33, Damage::decode)?,
            quarantined: take.flag()?,
            extents: take.list(48, decode_extent)?,
        })
    }
}

impl SnapshotCheckpoint {
    fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.lsn, self.offset, self.epoch, self.bytes] {
            out.put_u64(field);
        }
        match self.place {
            CheckpointPlace::Inline { segment, position } => {
                out.put_u8(1);
                out.put_u64(segment);
                out.put_u64(position);
            }
            CheckpointPlace::File { digest } => {
                out.put_u8(2);
                out.put(&digest);
            }
        }
    }

    fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        let (lsn, offset, epoch, bytes) = (take.u64()?, take.u64()?, take.u64()?, take.u64()?);
        let place = match take.u8()? {
            1 => CheckpointPlace::Inline { segment: take.u64()?, position: take.u64()? },
            2 => CheckpointPlace::File { digest: take.array()? },
            _ => return Err(Malformed("unknown form of a checkpoint")),
        };
        Ok(Self { lsn, offset, epoch, bytes, place })
    }
}

/// segment u64, place u32, batch_end u32, span u32, records u32, first_lsn, first_offset, bytes u64.
fn encode_extent(extent: &Extent, out: &mut Vec<u8>) {
    out.put_u64(extent.segment);
    for field in [extent.place, extent.batch_end, extent.span, extent.records] {
        out.put_u32(field);
    }
    for field in [extent.first_lsn, extent.first_offset, extent.bytes] {
        out.put_u64(field);
    }
}

fn decode_extent(take: &mut Take<'_>) -> Result<Extent, Malformed> {
    Ok(Extent {
        segment: take.u64()?,
        place: take.u32()?,
        batch_end: take.u32()?,
        span: take.u32()?,
        records: take.u32()?,
        first_lsn: take.u64()?,
        first_offset: take.u64()?,
        bytes: take.u64()?,
    })
}
