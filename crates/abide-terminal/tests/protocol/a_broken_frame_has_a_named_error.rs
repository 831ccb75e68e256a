//! Frames cut at every byte wait for their rest; anything else is a frame or a named error, never a panic.

use abide_terminal::protocol::{
    ControlRequest, Create, Decoder, Frame, GetRecoveryReport, List, StreamRequest, input_frame, output_header,
    read_control, read_hello, read_stream,
};
use abide_terminal::{ByteOffset, InputOffset, OwnerEpoch};
use abide_wire::{Code, RequestId};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn samples() -> Vec<Vec<u8>> {
    let id = RequestId::from_number(7);
    let mut frames = vec![Vec::new(); 5];
    ControlRequest::from(Create { command: Some("sh".to_owned()), ..Create::new(80, 24) }).encode(&id, &mut frames[0]);
    ControlRequest::from(List::default()).encode(&id, &mut frames[1]);
    ControlRequest::from(GetRecoveryReport {}).encode(&id, &mut frames[2]);
    StreamRequest::Detach.encode(&mut frames[3]);
    input_frame(OwnerEpoch(1), InputOffset(3), b"typed", &mut frames[4]);
    frames.push([&output_header(ByteOffset(9), 3)[..], b"out"].concat());
    frames
}

#[test]
fn a_frame_cut_at_any_byte_is_a_fragment() {
    for frame in samples() {
        for cut in 0..frame.len() {
            let mut decoder = Decoder::default();
            decoder.extend(&frame[..cut]);
            assert_eq!(decoder.next_frame(), Ok(None), "cut at {cut}");
            assert_eq!(decoder.is_inside_frame(), cut > 0);
            decoder.extend(&frame[cut..]);
            assert!(matches!(decoder.next_frame(), Ok(Some(_))), "cut at {cut}");
            assert!(!decoder.is_inside_frame());
        }
    }
}

#[test]
fn lengths_and_kinds_have_their_codes() {
    for (bytes, code) in [
        (&[0, 0, 0, 0][..], Code::FrameTooLarge),
        (&[1, 0, 16, 0], Code::FrameTooLarge),
        (&[255, 255, 255, 255], Code::FrameTooLarge),
        (&[1, 0, 0, 0, 0], Code::ProtoMalformed),
        (&[2, 0, 0, 0, 5, 0], Code::ProtoMalformed),
        (&[1, 0, 0, 0, 1], Code::ProtoMalformed),
        (&[9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0], Code::ProtoMalformed),
        (&[13, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Code::ProtoMalformed),
        (&[8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0], Code::ProtoMalformed),
    ] {
        let mut decoder = Decoder::default();
        decoder.extend(bytes);
        assert_eq!(decoder.next_frame().map_err(|error| error.code), Err(code), "{bytes:?}");
    }
    let mut decoder = Decoder::default();
    decoder.extend(&[0, 0, 16, 0]);
    assert_eq!(decoder.next_frame(), Ok(None), "the largest length is allowed");
}

/// One mutated frame: a sample with some bytes changed, cut and lengthened.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let sample = prop::sample::select(samples());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let extra = prop::collection::vec(any::<u8>(), 0..8);
    (sample, changes, any::<prop::sample::Index>(), extra, any::<bool>()).prop_map(
        |(mut frame, changes, cut, extra, cuts)| {
            for (at, byte) in changes {
                // The upper half of the length stays, or nearly every frame would only be waited for.
                let at = at.index(frame.len());
                if at != 2 && at != 3 {
                    frame[at] = byte;
                }
            }
            if cuts {
                frame.truncate(cut.index(frame.len()));
            }
            frame.extend(extra);
            frame
        },
    )
}

#[test]
fn fuzzed_frames_are_answered_by_name() {
    let cases = if std::env::var_os("ABIDE_NIGHTLY").is_some() { 1_000_000 } else { 100_000 };
    let (mut frames, mut refused, mut broken, mut read) = (0u32, 0u32, 0u32, 0u32);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let random = prop::collection::vec(any::<u8>(), 0..40);
    let strategy = prop_oneof![3 => mutated(), 1 => random];
    let counts = std::cell::RefCell::new((&mut frames, &mut refused, &mut broken, &mut read));
    runner
        .run(&strategy, |bytes| {
            let mut decoder = Decoder::default();
            decoder.extend(&bytes);
            let mut counts = counts.borrow_mut();
            loop {
                match decoder.next_frame() {
                    Ok(Some(Frame::Message(text))) => {
                        let results =
                            [read_control(&text).map(drop), read_stream(&text).map(drop), read_hello(&text).map(drop)];
                        for result in results {
                            match result {
                                Ok(()) => *counts.3 += 1,
                                Err(refusal) => {
                                    let error = refusal.answer.error;
                                    assert_eq!(error.retry, error.code.retry());
                                    *counts.1 += 1;
                                }
                            }
                        }
                        *counts.0 += 1;
                    }
                    Ok(Some(_)) => *counts.0 += 1,
                    Ok(None) => break,
                    Err(error) => {
                        assert!(matches!(error.code, Code::FrameTooLarge | Code::ProtoMalformed));
                        *counts.2 += 1;
                        break;
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    println!("{frames} frames, {refused} refused, {read} read, {broken} broken");
    assert!(
        frames > cases / 10 && refused > cases / 10 && read > cases / 50 && broken > cases / 10,
        "fuzzed too little"
    );
}
