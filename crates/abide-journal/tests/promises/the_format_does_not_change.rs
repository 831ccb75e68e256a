//! J13: the bytes of every layout of format 1, as they lie on disks. They are committed; a change of one is a new format.

use abide_journal::core::Extent;
use abide_journal::format::{
    BatchFlags, BatchHeader, CheckpointFileHeader, CheckpointPlace, Control, Damage, DamageState, Echo, EchoFlags,
    EpochEntry, Kind, Placement, RecordHeader, SegmentHeader, Snapshot, SnapshotCheckpoint, SnapshotLog, SnapshotPin,
    StoreFile,
};
use abide_journal::{Durability, Incarnation, LogId, LogOptions, LogUid, OnDamage, Retention};
use std::fmt::Write;

const ID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const SALT: u32 = 0x5a17_5a17;

/// CRC-32C, bit by bit: an oracle that shares nothing with the code.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte), |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x82f6_3b78 })
    })
}

fn segment() -> SegmentHeader {
    SegmentHeader {
        store_id: ID,
        segment: 2,
        segment_bytes: 32 << 20,
        first_batch: 77,
        incarnation: Incarnation(3),
        prev_segment: 1,
        prev_end: 33_000_000,
        salt: SALT,
    }
}

fn batch() -> BatchHeader {
    BatchHeader {
        body_crc: 0x0102_0304,
        batch: 78,
        segment: 2,
        synced: 77,
        body_len: 96,
        records: 1,
        echoes: 1,
        flags: BatchFlags(BatchFlags::CLEAN.0 | BatchFlags::PROOF.0),
        incarnation: 3,
    }
}

fn echo() -> Echo {
    Echo {
        log: LogId(3),
        last_lsn: 104,
        end_offset: 4_096,
        flags: EchoFlags(EchoFlags::CONTROL.0 | EchoFlags::MOVED.0),
    }
}

/// The example of the specification.
fn record() -> RecordHeader {
    RecordHeader {
        log: LogId(3),
        crc: 0x2a57_cf57,
        payload_len: 4,
        epoch: 7,
        lsn: 105,
        offset: 4_096,
        time_us: 1_792_000_000_000_000,
        kind: Kind::Data,
        tag: 0,
        placement: Placement::First,
    }
}

fn log_options() -> LogOptions {
    LogOptions {
        durability: Durability::Always,
        retention: Retention { bytes_max: 1 << 30, age_ms_max: 86_400_000, trim_at_checkpoint: true },
        checkpoints_max: 12,
        on_damage: OnDamage::Refuse,
        essential: true,
        self_contained: true,
    }
}

fn damage() -> Damage {
    Damage { from_lsn: 5, to_lsn: 9, segment: 2, position: 8_192, state: DamageState::Accepted }
}

fn controls() -> Vec<Control> {
    vec![
        Control::LogCreated { uid: LogUid(ID), name: "terminal/01".to_owned(), options: log_options() },
        Control::EpochStart(EpochEntry { epoch: 7, start_lsn: 105, forced: true }),
        Control::Truncated { keep_lsn: 104, keep_epoch: 6 },
        Control::Trimmed { base_lsn: 50, base_offset: 2_000 },
        Control::Meta { key: "promise".to_owned(), value: b"a.7".to_vec() },
        Control::CheckpointAdded { lsn: 100, offset: 4_000, epoch: 6, bytes: 1 << 21, digest: [0xd1; 32] },
        Control::CheckpointRemoved { lsn: 100 },
        Control::Dropped,
        Control::Replaced { staging: LogId(9) },
        Control::Damage(damage()),
        Control::CheckpointInline { lsn: 104, offset: 4_096, epoch: 6, bytes: b"screen".as_slice().into() },
    ]
}

fn snapshot() -> Snapshot {
    let checkpoint = |lsn, place| SnapshotCheckpoint { lsn, offset: 4_000, epoch: 6, bytes: 6, place };
    Snapshot {
        store_id: ID,
        incarnation: Incarnation(3),
        batch: 78,
        segment: 2,
        position: 4_248,
        next_log: LogId(10),
        logs: vec![SnapshotLog {
            id: LogId(3),
            uid: LogUid(ID),
            name: "a".to_owned(),
            options: log_options(),
            base_lsn: 50,
            base_offset: 2_000,
            next_lsn: 106,
            next_offset: 4_100,
            last_time_us: 1_792_000_000_000_000,
            last_mark: 99,
            epochs: vec![
                EpochEntry { epoch: 6, start_lsn: 1, forced: false },
                EpochEntry { epoch: 7, start_lsn: 105, forced: true },
            ],
            meta: vec![("k".to_owned(), b"v".to_vec())],
            checkpoints: vec![
                checkpoint(60, CheckpointPlace::Inline { segment: 1, position: 4_152 }),
                checkpoint(100, CheckpointPlace::File { digest: [0xd1; 32] }),
            ],
            pins: vec![SnapshotPin { name: "replica/b".to_owned(), lsn: 80 }],
            damage: vec![damage()],
            quarantined: true,
            extents: vec![Extent {
                segment: 2,
                place: 4_184,
                batch_end: 4_248,
                span: 64,
                records: 1,
                first_lsn: 105,
                first_offset: 4_096,
                bytes: 4,
            }],
        }],
    }
}

fn checkpoint_file() -> CheckpointFileHeader {
    CheckpointFileHeader {
        store_id: ID,
        uid: LogUid(ID),
        lsn: 100,
        offset: 4_000,
        epoch: 6,
        bytes: 300_000,
        chunk_bytes: 256 << 10,
        chunks: 2,
        digest: [0xd1; 32],
    }
}

fn store() -> StoreFile {
    StoreFile { store_id: ID, segment_bytes: 32 << 20 }
}

/// Every layout by name.
fn layouts() -> Vec<(String, Vec<u8>)> {
    let mut echo_bytes = Vec::new();
    echo().encode(&mut echo_bytes);
    let mut all = vec![
        ("store".to_owned(), store().encode().into_bytes()),
        ("segment header".to_owned(), segment().encode().to_vec()),
        ("batch header".to_owned(), batch().encode(SALT).to_vec()),
        ("echo".to_owned(), echo_bytes),
        ("record header".to_owned(), record().encode().to_vec()),
    ];
    for control in controls() {
        all.push((format!("control {} {:?}", control.kind() as u8, control.kind()), control.encode()));
    }
    all.push(("index snapshot".to_owned(), snapshot().encode()));
    all.push(("checkpoint file, block 0".to_owned(), checkpoint_file().encode()));
    all
}

fn as_text() -> String {
    let mut text = String::new();
    for (name, bytes) in layouts() {
        let _ = writeln!(text, "{name}, {} bytes", bytes.len());
        // The rest of a block is zero.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for row in bytes[..used].chunks(32) {
            let row: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(text, "{}", row.join(" "));
        }
    }
    text
}

#[test]
fn golden_bytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-1.txt");
    if std::env::var_os("ABIDE_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(path, as_text()).expect("written");
    }
    let golden = std::fs::read_to_string(path).expect("the committed bytes");
    assert_eq!(as_text(), golden);
}

#[test]
fn the_record_of_the_specification() {
    let bytes = record().encode();
    let specified: [u8; 56] = [
        0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x57, 0xcf, 0x57, 0x2a, 0x04, 0x00, 0x00, 0x00, 0x07, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x69, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xce, 0xee, 0xb5, 0x40, 0x06, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ];
    let header = RecordHeader::decode(&specified).expect("decodes");
    assert!(header.verifies(LogUid(ID), b"hi\r\n"));
    assert_eq!(header.encode(), specified);
    assert_eq!(header, RecordHeader { crc: header.crc, time_us: header.time_us, ..record() });
    let mut other_log = ID;
    other_log[15] ^= 1;
    assert!(!header.verifies(LogUid(other_log), b"hi\r\n"), "another log's record");
    assert!(!header.verifies(LogUid(ID), b"hi\r\r"));
    assert_eq!(bytes.len(), 56);
}

#[test]
fn checksums_agree_with_an_oracle() {
    let bytes = record().encode();
    let covered = [&ID[..], &bytes[12..50], b"hi\r\n"].concat();
    let sealed = record().sealed(LogUid(ID), crc32c(b"hi\r\n"));
    assert_eq!(sealed.crc, crc32c(&covered));
    let header = segment().encode();
    assert_eq!(header[84..88], crc32c(&header[..84]).to_le_bytes());
}

#[test]
fn everything_is_read_back() {
    assert_eq!(StoreFile::decode(store().encode().as_bytes()), Ok(store()));
    assert_eq!(SegmentHeader::decode(&segment().encode()), Ok(segment()));
    assert_eq!(BatchHeader::decode(&batch().encode(SALT), SALT), Ok(batch()));
    assert!(BatchHeader::decode(&batch().encode(SALT), SALT + 1).is_err(), "another file's batch");
    let mut bytes = Vec::new();
    echo().encode(&mut bytes);
    assert_eq!(Echo::decode(&bytes), Ok(echo()));
    assert_eq!(RecordHeader::decode(&record().encode()), Ok(record()));
    for control in controls() {
        assert_eq!(Control::decode(control.kind(), &control.encode()), Ok(control));
    }
    assert_eq!(Snapshot::decode(&snapshot().encode()), Ok(snapshot()));
    let mut large = snapshot();
    large.logs = (0..1_000).map(|id| SnapshotLog { id: LogId(id), ..snapshot().logs[0].clone() }).collect();
    assert_eq!(Snapshot::decode(&large.encode()), Ok(large));
    assert_eq!(CheckpointFileHeader::decode(&checkpoint_file().encode()), Ok(checkpoint_file()));
}

/// A name, bytes, and whether they are accepted.
type Decoder = (&'static str, Vec<u8>, fn(&[u8]) -> bool);

/// One flipped bit, anywhere, is an error; a record's is found by `verifies`, which takes the payload.
#[test]
fn no_flipped_bit_passes() {
    let decoders: [Decoder; 5] = [
        ("store", store().encode().into_bytes(), |bytes| StoreFile::decode(bytes).is_ok()),
        ("segment", segment().encode().to_vec(), |bytes| SegmentHeader::decode(bytes).is_ok()),
        ("batch", batch().encode(SALT).to_vec(), |bytes| BatchHeader::decode(bytes, SALT).is_ok()),
        ("snapshot", snapshot().encode(), |bytes| Snapshot::decode(bytes).is_ok()),
        ("checkpoint", checkpoint_file().encode()[..140].to_vec(), |bytes| {
            CheckpointFileHeader::decode(bytes).is_ok_and(|header| header == checkpoint_file())
        }),
    ];
    for (name, bytes, accepts) in decoders {
        assert!(accepts(&bytes), "{name}");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The padding of block 0 is not covered.
            if name != "checkpoint" || bit / 8 < 124 {
                assert!(!accepts(&flipped), "{name}: bit {bit}");
            }
        }
    }
}
