//! Every frame of version 1, byte by byte: this is what later versions must still understand.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use abide_holder::frames::{FRAME_BYTES_MAX, INJECT_BYTES_MAX, INPUT_BYTES_MAX};
use abide_holder::{FrameError, FromHolder, Header, Pong, State, Target, ToHolder};

const SESSION: [u8; 16] = *b"0123456789abcdef";

/// Golden bytes as text: hexadecimal digits, spaces at will.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn to_holder(frame: ToHolder<'_>, hex: &str) {
    let (expected, mut found) = (bytes(hex), Vec::new());
    frame.encode(&mut found);
    assert_eq!(found, expected, "{frame:?}");
    assert_eq!(ToHolder::decode(&expected), Ok(Some((frame, expected.len()))));
    for cut in 0..expected.len() {
        assert_eq!(ToHolder::decode(&expected[..cut]), Ok(None), "{frame:?} cut at {cut}");
    }
    assert_eq!(FromHolder::decode(&expected), Err(FrameError::Kind(expected[4])), "the other direction");
}

fn from_holder(frame: FromHolder, hex: &str) {
    let (expected, mut found) = (bytes(hex), Vec::new());
    frame.encode(&mut found);
    assert_eq!(found, expected, "{frame:?}");
    assert_eq!(FromHolder::decode(&expected), Ok(Some((frame, expected.len()))));
    for cut in 0..expected.len() {
        assert_eq!(FromHolder::decode(&expected[..cut]), Ok(None), "{frame:?} cut at {cut}");
    }
    assert_eq!(ToHolder::decode(&expected), Err(FrameError::Kind(expected[4])), "the other direction");
}

#[test]
fn frames_to_the_holder_have_these_bytes() {
    to_holder(ToHolder::Ping, "01000000 01");
    to_holder(
        ToHolder::Adopt { daemon_epoch: 12, session: SESSION, version: 1 },
        "1d000000 02 0c00000000000000 30313233343536373839616263646566 01000000",
    );
    to_holder(ToHolder::Start { incarnation: 3 }, "09000000 03 0300000000000000");
    let input = ToHolder::Input { owner_epoch: 5, input_offset: 300, bytes: b"hi\n" };
    to_holder(input, "10000000 04 05000000 2c01000000000000 68690a");
    let resize = ToHolder::Resize { cols: 80, rows: 24, xpixel: 640, ypixel: 480 };
    to_holder(resize, "09000000 05 5000 1800 8002 e001");
    for (target, code) in [(Target::Leader, "00"), (Target::Foreground, "01"), (Target::LeaderGroup, "02")] {
        to_holder(ToHolder::Signal { number: 15, target }, &format!("03000000 06 0f {code}"));
    }
    let signal = ToHolder::SignalProcess { pid: 4242, start_time: 99, number: 9 };
    to_holder(signal, "0e000000 07 92100000 6300000000000000 09");
    to_holder(ToHolder::Owner { owner_epoch: 6 }, "05000000 08 06000000");
    to_holder(ToHolder::Hangup, "02000000 09 00");
    to_holder(ToHolder::Collect { eof_offset: 513 }, "09000000 0a 0102000000000000");
    to_holder(ToHolder::Abandon, "01000000 0b");
    to_holder(ToHolder::Inject { bytes: b"\x1b[0n" }, "05000000 0c 1b5b306e");
}

#[test]
fn frames_of_the_holder_have_these_bytes() {
    let pong = Pong {
        version: 1,
        pid: 4242,
        start_time: 99,
        boot_id: [0xb0; 16],
        session: SESSION,
        incarnation: 2,
        state: Some(State::Running),
        child_pid: 4243,
        daemon_epoch: 12,
    };
    from_holder(
        FromHolder::Pong(pong),
        "49000000 81 01000000 92100000 6300000000000000 b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0 \
         30313233343536373839616263646566 0200000000000000 01000000 93100000 0c00000000000000",
    );
    from_holder(FromHolder::Refused { daemon_epoch: 12 }, "09000000 83 0c00000000000000");
    from_holder(FromHolder::Started { pid: 4243, start_time: 100 }, "0d000000 84 93100000 6400000000000000");
    from_holder(FromHolder::Failed { step: 6, errno: 2 }, "09000000 85 06000000 02000000");
    from_holder(FromHolder::Done { errno: 3 }, "05000000 86 03000000");
    let owner = FromHolder::OwnerOk { owner_epoch: 6, former_epoch: 5, former_applied: 303 };
    from_holder(owner, "11000000 87 06000000 05000000 2f01000000000000");
    from_holder(FromHolder::Ended { wait_status: 256 }, "05000000 88 00010000");
}

#[test]
fn adopted_carries_the_header_as_it_lies_in_memory() {
    let header = Header {
        ring_bytes: 65536,
        boot_id: [0xb0; 16],
        session: SESSION,
        incarnation: 2,
        output_head: 0x0102_0304,
        input_applied: 7,
        state: State::Ended,
        child_pid: 4243,
        child_start: 100,
        wait_status: 9,
        errno: 2,
        step: 6,
        cols: 80,
        rows: 24,
        spill_start: 11,
        spill_end: 12,
        owner_epoch: 6,
        former_applied: 303,
        former_epoch: 5,
        daemon_epoch: 12,
        eof_offset: u64::MAX,
        exited_ms: 1000,
    };
    let mut golden = vec![0; 4096];
    for (at, hex) in [
        (0, "41424944 52494e47 01000000 00100000 00000100 00000000"),
        (24, "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0 30313233343536373839616263646566 0200000000000000"),
        (64, "0403020100000000 0700000000000000"),
        (128, "02000000 93100000 6400000000000000 09000000 02000000 06000000 50001800"),
        (160, "0b00000000000000 0c00000000000000 0600000000000000 2f01000000000000 0500000000000000"),
        (256, "0c00000000000000 ffffffffffffffff e803000000000000"),
    ] {
        let field = bytes(hex);
        golden[at..at + field.len()].copy_from_slice(&field);
    }
    let mut frame = bytes("01100000 82");
    frame.extend(&golden);
    let mut found = Vec::new();
    FromHolder::Adopted(header).encode(&mut found);
    assert_eq!(found, frame);
    assert_eq!(FromHolder::decode(&frame), Ok(Some((FromHolder::Adopted(header), 4101))));
    frame[5 + 8] = 2;
    assert!(matches!(FromHolder::decode(&frame), Err(FrameError::Header(_))), "a header of version 2");
}

#[test]
fn lengths_have_a_bound() {
    let longest = vec![b'x'; INPUT_BYTES_MAX];
    let mut frame = Vec::new();
    ToHolder::Input { owner_epoch: 1, input_offset: 0, bytes: &longest }.encode(&mut frame);
    assert!(frame.len() <= 4 + FRAME_BYTES_MAX);
    assert!(matches!(ToHolder::decode(&frame), Ok(Some((ToHolder::Input { .. }, _)))));
    let too_long = vec![b'x'; INPUT_BYTES_MAX + 1];
    frame.clear();
    ToHolder::Input { owner_epoch: 1, input_offset: 0, bytes: &too_long }.encode(&mut frame);
    assert!(matches!(ToHolder::decode(&frame), Err(FrameError::Fields { kind: 4, .. })));
    frame.clear();
    ToHolder::Inject { bytes: &too_long[..=INJECT_BYTES_MAX] }.encode(&mut frame);
    assert!(matches!(ToHolder::decode(&frame), Err(FrameError::Fields { kind: 12, .. })));
    assert_eq!(ToHolder::decode(&bytes("01100100")), Err(FrameError::Length(69_633)));
    assert_eq!(ToHolder::decode(&bytes("00000000")), Err(FrameError::Length(0)));
}

#[test]
fn any_bytes_are_a_frame_or_an_error() {
    let rounds: u32 = if std::env::var_os("ABIDE_NIGHTLY").is_some() { 1_000_000 } else { 100_000 };
    let (mut seed, mut frames, mut errors, mut partial) = (7_u64, 0, 0, 0);
    for _ in 0..rounds {
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56).to_le_bytes()[0]
        };
        let (length, kind) = (random() % 40, random());
        let mut buffer = vec![length, 0, 0, 0, if kind < 128 { kind % 14 } else { 128 + kind % 10 }];
        buffer.extend((0..random() % 48).map(|_| random()));
        let whole = 4 + usize::from(length);
        for result in
            [ToHolder::decode(&buffer).map(|f| f.map(|f| f.1)), FromHolder::decode(&buffer).map(|f| f.map(|f| f.1))]
        {
            match result {
                Ok(Some(bytes)) => {
                    assert_eq!(bytes, whole);
                    frames += 1;
                }
                Ok(None) => {
                    assert!(buffer.len() < whole);
                    partial += 1;
                }
                Err(_) => errors += 1,
            }
        }
    }
    println!("{frames} frames, {errors} errors, {partial} partial");
    assert!(frames > 1000 && errors > 1000 && partial > 1000);
}
