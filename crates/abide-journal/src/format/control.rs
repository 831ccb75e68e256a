//! Control records: facts about a log. They use no LSN.

use super::Kind;
use super::codec::{Malformed, Put, Take};
use crate::entry::Durability;
use crate::options::{LogOptions, OnDamage, Retention};
use crate::position::{LogId, LogUid};
use bytes::Bytes;

/// One entry of a log's epoch table: it reaches up to the start of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The reign.
    pub epoch: u64,
    /// LSN of its first record.
    pub start_lsn: u64,
    /// It began by a forced promotion.
    pub forced: bool,
}

impl EpochEntry {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.epoch);
        out.put_u64(self.start_lsn);
        out.put_u8(u8::from(self.forced));
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self { epoch: take.u64()?, start_lsn: take.u64()?, forced: take.flag()? })
    }
}

/// Payload of a control record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// 16: uid `[16]`, name str, options. A second one for a log that exists replaces its options.
    LogCreated {
        /// Identity on all nodes.
        uid: LogUid,
        /// Unique in the store.
        name: String,
        /// How it is kept.
        options: LogOptions,
    },
    /// 17: epoch u64, start_lsn u64, forced u8. A new entry of the epoch table.
    EpochStart(EpochEntry),
    /// 18: keep_lsn u64, keep_epoch u64. Drops records and checkpoints above keep_lsn, table entries above keep_epoch.
    Truncated {
        /// Last record kept.
        keep_lsn: u64,
        /// Last entry of the table kept.
        keep_epoch: u64,
    },
    /// 19: base_lsn u64, base_offset u64.
    Trimmed {
        /// First record kept.
        base_lsn: u64,
        /// Its offset.
        base_offset: u64,
    },
    /// 20: key str, value (u32 length and bytes). An empty value deletes.
    Meta {
        /// Name of the fact.
        key: String,
        /// The fact.
        value: Vec<u8>,
    },
    /// 21: lsn, offset, epoch, bytes u64, digest `[32]`. The checkpoint's file is durable.
    CheckpointAdded {
        /// It stands for all records up to this one.
        lsn: u64,
        /// Offset behind them.
        offset: u64,
        /// Epoch of that record.
        epoch: u64,
        /// Length.
        bytes: u64,
        /// SHA-256 of (the SHA-256 of each chunk, in order, then the length as u64).
        digest: [u8; 32],
    },
    /// 22: lsn u64.
    CheckpointRemoved {
        /// The checkpoint's place.
        lsn: u64,
    },
    /// 23: nothing.
    Dropped,
    /// 24: staging log id u64. This log takes records, table and checkpoints of that one.
    Replaced {
        /// The log that is used up by this.
        staging: LogId,
    },
    /// 25: from_lsn, to_lsn, segment, position u64, state u8.
    Damage(super::Damage),
    /// 26: lsn, offset, epoch u64, u32 length, bytes. A checkpoint that lies in the stream.
    CheckpointInline {
        /// It stands for all records up to this one.
        lsn: u64,
        /// Offset behind them.
        offset: u64,
        /// Epoch of that record.
        epoch: u64,
        /// The checkpoint itself.
        bytes: Bytes,
    },
}

impl Control {
    /// Bytes of an inline checkpoint's payload before its own bytes.
    pub const INLINE_HEAD_BYTES: usize = 28;

    /// The kind under which it is stored.
    pub fn kind(&self) -> Kind {
        match self {
            Self::LogCreated { .. } => Kind::LogCreated,
            Self::EpochStart(_) => Kind::EpochStart,
            Self::Truncated { .. } => Kind::Truncated,
            Self::Trimmed { .. } => Kind::Trimmed,
            Self::Meta { .. } => Kind::Meta,
            Self::CheckpointAdded { .. } => Kind::CheckpointAdded,
            Self::CheckpointRemoved { .. } => Kind::CheckpointRemoved,
            Self::Dropped => Kind::Dropped,
            Self::Replaced { .. } => Kind::Replaced,
            Self::Damage(_) => Kind::Damage,
            Self::CheckpointInline { .. } => Kind::CheckpointInline,
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::LogCreated { uid, name, options } => {
                out.put(&uid.0);
                out.put_str(name);
                encode_options(options, &mut out);
            }
            Self::EpochStart(entry) => entry.encode(&mut out),
            Self::Truncated { keep_lsn, keep_epoch } => {
                out.put_u64(*keep_lsn);
                out.put_u64(*keep_epoch);
            }
            Self::Trimmed { base_lsn, base_offset } => {
                out.put_u64(*base_lsn);
                out.put_u64(*base_offset);
            }
            Self::Meta { key, value } => {
                out.put_str(key);
                out.put_bytes(value);
            }
            Self::CheckpointAdded { lsn, offset, epoch, bytes, digest } => {
                for field in [lsn, offset, epoch, bytes] {
                    out.put_u64(*field);
                }
                out.put(digest);
            }
            Self::CheckpointRemoved { lsn } => out.put_u64(*lsn),
            Self::Dropped => {}
            Self::Replaced { staging } => out.put_u64(staging.0),
            Self::Damage(damage) => damage.encode(&mut out),
            Self::CheckpointInline { lsn, offset, epoch, bytes } => {
                for field in [lsn, offset, epoch] {
                    out.put_u64(*field);
                }
                out.put_bytes(bytes);
            }
        }
        out
    }

    /// Reads the payload of a control record of this kind.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(payload);
        let control = match kind {
            Kind::Data | Kind::Mark | Kind::Gap => return Err(Malformed("not a control record")),
            Kind::LogCreated => Self::LogCreated {
                uid: LogUid(take.array()?),
                name: take.text()?.to_owned(),
                options: decode_options(&mut take)?,
            },
            Kind::EpochStart => Self::EpochStart(EpochEntry::decode(&mut take)?),
            Kind::Truncated => Self::Truncated { keep_lsn: take.u64()?, keep_epoch: take.u64()? },
            Kind::Trimmed => Self::Trimmed { base_lsn: take.u64()?, base_offset: take.u64()? },
            Kind::Meta => Self::Meta { key: take.text()?.to_owned(), value: take.sized_bytes()?.to_vec() },
            Kind::CheckpointAdded => Self::CheckpointAdded {
                lsn: take.u64()?,
                offset: take.u64()?,
                epoch: take.u64()?,
                bytes: take.u64()?,
                digest: take.array()?,
            },
            Kind::CheckpointRemoved => Self::CheckpointRemoved { lsn: take.u64()? },
            Kind::Dropped => Self::Dropped,
            Kind::Replaced => Self::Replaced { staging: LogId(take.u64()?) },
            Kind::Damage => Self::Damage(super::Damage::decode(&mut take)?),
            Kind::CheckpointInline => Self::CheckpointInline {
                lsn: take.u64()?,
                offset: take.u64()?,
                epoch: take.u64()?,
                bytes: Bytes::copy_from_slice(take.sized_bytes()?),
            },
        };
        take.end()?;
        Ok(control)
    }
}

const TRIM_AT_CHECKPOINT: u8 = 1;
const REFUSE_DAMAGE: u8 = 2;
const SELF_CONTAINED: u8 = 4;
const ESSENTIAL: u8 = 8;

/// durability u8, bytes_max u64, age_max_ms u64, checkpoints_max u32, flags u8.
pub(super) fn encode_options(options: &LogOptions, out: &mut Vec<u8>) {
    out.put_u8(options.durability as u8);
    out.put_u64(options.retention.bytes_max);
    out.put_u64(options.retention.age_ms_max);
    out.put_u32(options.checkpoints_max);
    let flags = [
        (options.retention.trim_at_checkpoint, TRIM_AT_CHECKPOINT),
        (options.on_damage == OnDamage::Refuse, REFUSE_DAMAGE),
        (options.self_contained, SELF_CONTAINED),
        (options.essential, ESSENTIAL),
    ];
    out.put_u8(flags.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum());
}

pub(super) fn decode_options(take: &mut Take<'_>) -> Result<LogOptions, Malformed> {
    let durability = match take.u8()? {
        1 => Durability::Os,
        2 => Durability::Interval,
        3 => Durability::Always,
        4 => Durability::Committed,
        _ => return Err(Malformed("unknown durability")),
    };
    let (bytes_max, age_ms_max, checkpoints_max) = (take.u64()?, take.u64()?, take.u32()?);
    let flags = take.u8()?;
    if flags & !(TRIM_AT_CHECKPOINT | REFUSE_DAMAGE | SELF_CONTAINED | ESSENTIAL) != 0 {
        return Err(Malformed("unknown option of a log"));
    }
    let trim_at_checkpoint = flags & TRIM_AT_CHECKPOINT != 0;
    Ok(LogOptions {
        durability,
        retention: Retention { bytes_max, age_ms_max, trim_at_checkpoint },
        checkpoints_max,
        on_damage: if flags & REFUSE_DAMAGE == 0 { OnDamage::Serve } else { OnDamage::Refuse },
        essential: flags & ESSENTIAL != 0,
        self_contained: flags & SELF_CONTAINED != 0,
    })
}
