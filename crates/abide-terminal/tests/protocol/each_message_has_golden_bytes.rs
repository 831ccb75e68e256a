//! Each message and each frame reads from, and is written as, exactly these bytes.

use abide_terminal::protocol::{
    Answer, ControlMessage, ControlRequest, Created, Decoder, Frame, Hello, Inspected, Killed, Listed, Nothing,
    Recovered, RecoveryReport, Released, Renamed, Resized, ScreenText, StreamMessage, StreamRequest, Subscribed,
    TakenOver, Unsubscribed, Waited, Written, input_frame, message_frame, output_header, read_control, read_hello,
    read_stream, snapshot_header,
};
use abide_terminal::{ByteOffset, InputOffset, OwnerEpoch};
use abide_wire::RequestId;
use serde::{Serialize, de::DeserializeOwned};

const ID: &str = "01K71XR4M00000000000000001";

fn json(text: &str) -> String {
    text.replace('@', &format!("\"{ID}\""))
}

/// The frame of a JSON message: length, kind 1, text.
fn framed(text: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(text.len() + 1).unwrap().to_le_bytes().to_vec();
    bytes.push(1);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[test]
fn control_requests() {
    let golden = [
        r#"{"type":"create","id":"2","cols":80,"rows":24}"#,
        concat!(
            r#"{"type":"create","id":"2","key":"fleet:a/1","name":"build","command":"cargo","args":["build"],"cwd":"/src","#,
            r#""env":{"A":"1"},"clear_env":true,"login":false,"cols":80,"rows":24,"xpixel":800,"ypixel":480,"#,
            r#""restore":"offer","takeover":"deny","own":false,"labels":{"team":"a"}}"#
        ),
        r#"{"type":"list","id":"3"}"#,
        r#"{"type":"list","id":"3","labels":{"team":"a"},"states":["Running","Finalized"],"after":@,"limit":1000}"#,
        r#"{"type":"inspect","id":"4","session":"build"}"#,
        r#"{"type":"inspect","id":"4","session":"build","env":true}"#,
        r#"{"type":"rename","id":"14","session":@,"name":"build"}"#,
        r#"{"type":"text","id":"15","session":"build","what":"screen"}"#,
        r#"{"type":"text","id":"15","session":"build","what":"all","lines":100}"#,
        r#"{"type":"wait","id":"16","session":"build","for":"exit","timeout_ms":30000}"#,
        r#"{"type":"wait","id":"16","session":"build","for":"idle_ms","value":2000,"timeout_ms":30000}"#,
        r#"{"type":"wait","id":"16","session":"build","for":"match","value":"^ready","from":300,"timeout_ms":30000}"#,
        r#"{"type":"subscribe","id":"17"}"#,
        r#"{"type":"subscribe","id":"17","sessions":["build",@],"from_event":812}"#,
        r#"{"type":"unsubscribe","id":"18"}"#,
        r#"{"type":"kill","id":"5","session":@}"#,
        r#"{"type":"kill","id":"5","session":"build","grace_ms":0,"force":true,"signal":"SIGINT","owner_epoch":3}"#,
        r#"{"type":"signal","id":"6","session":"build","signal":"SIGTERM","target":"leader","owner_epoch":3}"#,
        r#"{"type":"resize","id":"7","session":"build","cols":100,"rows":30,"xpixel":1,"ypixel":2,"owner_epoch":3}"#,
        r#"{"type":"takeover","id":"8","session":"build","owner_epoch":3,"cols":100,"rows":30}"#,
        r#"{"type":"release","id":"9","session":"build","to":"cli-1","owner_epoch":3}"#,
        r#"{"type":"write","id":"14","session":"build","data_base64":"aGkK"}"#,
        r#"{"type":"write","id":"14","session":@,"data_base64":"AP8=","owner_epoch":3,"input_offset":17}"#,
        r#"{"type":"remove","id":"10","session":"build"}"#,
        r#"{"type":"recover","id":"13","session":"build"}"#,
        r#"{"type":"recover","id":"13","session":@,"as":"shell"}"#,
        r#"{"type":"recovery_report","id":"11"}"#,
        r#"{"type":"shutdown","id":"12","mode":"keep"}"#,
        r#"{"type":"shutdown","id":"12","mode":"terminate","restart":{"binary":"/usr/bin/abide"}}"#,
    ];
    let mut seen = std::collections::BTreeSet::new();
    for text in golden.map(json) {
        let (id, request) = read_control(text.as_bytes()).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        let mut bytes = Vec::new();
        request.encode(&id, &mut bytes);
        assert_eq!(String::from_utf8_lossy(&bytes[5..]), text);
        assert_eq!(bytes, framed(&text));
        seen.insert(request.name());
    }
    assert_eq!(seen.len(), ControlRequest::TYPES.len(), "a request has no golden bytes");
}

#[test]
fn stream_requests() {
    let golden = [
        r#"{"type":"attach","id":"2","session":"build","mode":"owner","from":"snapshot","cols":120,"rows":40,"xpixel":1,"ypixel":2,"on_lag":"follow","scrollback_lines":1000}"#,
        r#"{"type":"attach","id":"2","session":@,"mode":"observer","from":"live","on_lag":"follow"}"#,
        r#"{"type":"attach","id":"2","session":"build","mode":"observer","from":{"offset":300},"on_lag":"follow"}"#,
        r#"{"type":"attach","id":"2","session":"build","mode":"owner","from":{"offset":300,"epoch":7},"on_lag":"follow","until":400}"#,
        r#"{"type":"attach","id":"2","session":"build","mode":"observer","from":{"offset":0},"on_lag":"follow","until":400,"times":true}"#,
        r#"{"type":"attach","id":"2","session":"build","mode":"owner","from":"live","on_lag":"follow","agent":"/tmp/ssh/agent.1"}"#,
        r#"{"type":"attach","id":"2","session":"build","mode":"observer","from":"snapshot","on_lag":"resync","lag_bytes_max":65536,"window_bytes":65536}"#,
        r#"{"type":"attach","id":"2","session":"build","mode":"observer","from":"live","on_lag":"disconnect"}"#,
        r#"{"type":"attach","id":"2","session":"build","mode":"owner","from":"live","on_lag":"follow","owner_epoch":3}"#,
        r#"{"type":"resize","cols":100,"rows":30}"#,
        r#"{"type":"ack","offset":300}"#,
        r#"{"type":"input_state"}"#,
        r#"{"type":"detach"}"#,
    ];
    let mut seen = std::collections::BTreeSet::new();
    for text in golden.map(json) {
        let request = read_stream(text.as_bytes()).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        assert_eq!(String::from_utf8_lossy(&bytes[5..]), text);
        assert_eq!(bytes, framed(&text));
        seen.insert(request.name());
    }
    assert_eq!(seen.len(), StreamRequest::TYPES.len(), "a message has no golden bytes");
}

/// The text reads as a `T`, which is written as the same text.
fn round_trip<T: Serialize + DeserializeOwned>(text: &str) -> T {
    let text = json(text);
    let message: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut bytes = Vec::new();
    message_frame(&message, &mut bytes);
    assert_eq!(String::from_utf8_lossy(&bytes[5..]), text);
    assert_eq!(bytes, framed(&text));
    message
}

#[test]
fn hello() {
    let text = concat!(
        r#"{"type":"hello","id":"1","protocol":"abide-terminal","version":1,"client_id":"cli-5f0c9a11","role":"control","#,
        r#""client":{"name":"abide","version":"0.1.0"}}"#
    );
    let hello: Hello = read_hello(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    message_frame(&hello, &mut bytes);
    assert_eq!(bytes, framed(text));
}

#[test]
fn stream_messages() {
    for text in [
        r#"{"type":"hello_ok","id":"1","version":1,"daemon_id":"D","daemon_epoch":12,"boot_id":"B","daemon_version":"0.1.0","limits":{"frame_bytes_max":1048576,"input_window":65536,"observers_max":64},"owned":[@]}"#,
        r#"{"type":"attached","id":"2","session":@,"incarnation":1,"epoch":7,"state":"Running","mode":"owner","offset":81920,"base_offset":0,"end_offset":81920,"snapshot_bytes":5321,"cols":120,"rows":40,"owner":"cli-5f0c9a11","owner_epoch":1,"input_applied":17,"input_window":65536,"former":{"owner_epoch":0,"input_applied":0}}"#,
        r#"{"type":"error","id":"2","code":"SESSION_OWNED","message":"owned","retry":"give_up","details":{"connected":true,"owner":"cli-1","owner_epoch":1}}"#,
        r#"{"type":"error","code":"INPUT_GAP","message":"gap","retry":"resume","details":{"input_offset":5}}"#,
        r#"{"type":"resized","offset":5,"cols":100,"rows":30}"#,
        r#"{"type":"ownership_changed","offset":5,"former":"cli-1","owner":"cli-2","owner_epoch":2,"cause":"takeover","mode":"observer"}"#,
        r#"{"type":"ownership_changed","offset":5,"former":"cli-1","owner_epoch":2,"cause":"lapsed","mode":"observer"}"#,
        r#"{"type":"input_applied","owner_epoch":1,"input_offset":17}"#,
        r#"{"type":"input_applied","owner_epoch":1,"input_offset":17,"final":true}"#,
        r#"{"type":"lagged","from":5,"to":90,"snapshot_bytes":17,"cols":80,"rows":24,"incarnation":1,"owner":"cli-1","owner_epoch":2,"mode":"observer"}"#,
        r#"{"type":"lagged","from":5,"to":90,"snapshot_bytes":17,"cols":80,"rows":24,"incarnation":1,"owner_epoch":3,"mode":"observer"}"#,
        WARNING,
        r#"{"type":"detached","code":"SLOW_SUBSCRIBER","resume_offset":5,"epoch":7}"#,
        r#"{"type":"hole","offset":5,"code":"JOURNAL_FAILED","lost_bytes":3}"#,
        r#"{"type":"time","offset":5,"at":1760000000000}"#,
        r#"{"type":"restored","offset":5,"incarnation":2,"at":1760000000000,"as":"command","code":"HOST_REBOOTED"}"#,
        r#"{"type":"exited","offset":5,"exit":{"code":3},"exited_at":1760000000000}"#,
        r#"{"type":"exited","offset":5,"exit":{"signal":"SIGKILL","forced":true,"survivors":[{"pid":7,"command":"sh"}],"drain":"deadline"},"exited_at":1760000000000}"#,
        r#"{"type":"detached","code":"SESSION_EXITED"}"#,
        r#"{"type":"detached","code":"DAEMON_STOPPING","resume_offset":5,"epoch":7,"restart":true}"#,
        r#"{"type":"detached","code":"JOURNAL_CORRUPT","resume_offset":5,"epoch":7,"lost_to":9}"#,
    ] {
        round_trip::<StreamMessage>(text);
    }
}

/// The same on either kind of connection.
const WARNING: &str = r#"{"type":"backpressure_warning","session":@,"layer":"socket","previous":"normal","level":"elevated","queued_bytes":530000,"limit_bytes":1048576,"change":3}"#;

const RECORD: &str = r#"{"id":@,"name":"build","incarnation":1,"state":"Running","owner":"cli-5f0c9a11","owner_epoch":1,"observers":0,"pid":4711,"command":"cargo","args":["build"],"cwd":"/src","created_at":1760000000000,"started_at":1760000000012,"cols":80,"rows":24,"base_offset":0,"end_offset":0,"restore":"never","takeover":"allow","labels":{"team":"a"}}"#;

const EVENTS: [&str; 16] = [
    r#""event":"boot","data":{"daemon_epoch":12}"#,
    r#""event":"created","data":{"record":RECORD},"session":@"#,
    r#""event":"start","session":@"#,
    r#""event":"started","data":{"pid":4711},"session":@"#,
    r#""event":"kill","data":{"kill_id":"812","deadline_at":1760000005000,"by":"cli-1"},"session":@"#,
    r#""event":"kill","data":{"kill_id":"812","deadline_at":1760000005000},"session":@"#,
    r#""event":"exited","data":{"exit":{"code":0}},"session":@"#,
    r#""event":"finalized","data":{"end_offset":5,"exit":{"code":0}},"session":@"#,
    r#""event":"owner_changed","data":{"former":"cli-1","owner":"cli-2","owner_epoch":2,"cause":"takeover"},"session":@"#,
    r#""event":"owner_changed","data":{"former":"cli-1","owner_epoch":2,"cause":"lapsed"},"session":@"#,
    r#""event":"resized","data":{"cols":100,"rows":30},"session":@"#,
    r#""event":"renamed","data":{"name":"build"},"session":@"#,
    r#""event":"restoring","data":{"incarnation":2,"as":"shell"},"session":@"#,
    r#""event":"removed","data":{"cause":"request"},"session":@"#,
    r#""event":"recovered","data":{"outcome":"alive"},"session":@"#,
    r#""event":"recovered","data":{"outcome":"unrecoverable","code":"HOLDER_LOST"},"session":@"#,
];

#[test]
fn control_messages() {
    let created = format!(r#"{{"created":true,"session":{RECORD}}}"#);
    round_trip::<Created>(&created);
    round_trip::<Recovered>(&format!(r#"{{"session":{RECORD}}}"#));
    round_trip::<Listed>(&format!(r#"{{"sessions":[{RECORD},{RECORD}],"next":@}}"#));
    let streams = r#"[{"client_id":"cli-1","mode":"observer","offset":5,"level":"high"}]"#;
    round_trip::<Inspected>(&format!(r#"{{"session":{RECORD},"streams":{streams}}}"#));
    let env = r#""env":{"A":"1"},"#;
    round_trip::<Inspected>(&format!(r#"{{"session":{RECORD},{env}"streams":[]}}"#));
    round_trip::<Renamed>(&format!(r#"{{"session":{RECORD}}}"#));
    round_trip::<ScreenText>(r#"{"text":"$ \n","cols":80,"rows":24,"cursor":[2,0],"alternate":false,"offset":5}"#);
    round_trip::<Waited>(r#"{"met":false,"offset":5}"#);
    round_trip::<Waited>(r#"{"met":true,"offset":5,"match":"ready","exit":{"code":0}}"#);
    round_trip::<Subscribed>(r#"{"from":811,"head":812}"#);
    round_trip::<Unsubscribed>(r#"{"next":813}"#);
    round_trip::<Unsubscribed>("{}");
    round_trip::<Killed>(r#"{"kill_id":"812","deadline_ms":1760000005000,"already":false}"#);
    round_trip::<Resized>(r#"{"cols":100,"rows":30}"#);
    round_trip::<TakenOver>(r#"{"owner_epoch":2,"input_applied":0}"#);
    round_trip::<Released>(r#"{"owner_epoch":3}"#);
    round_trip::<Written>(r#"{"owner_epoch":3,"input_offset":20,"input_applied":17}"#);
    round_trip::<ControlMessage>(WARNING);
    round_trip::<ControlMessage>(
        r#"{"type":"backpressure_warning","layer":"client","previous":"high","level":"normal","queued_bytes":0,"limit_bytes":8388608,"change":4}"#,
    );
    round_trip::<ControlMessage>(
        r#"{"type":"backpressure_warning","session":@,"layer":"session","previous":"elevated","level":"high","queued_bytes":262144,"limit_bytes":262144,"change":2}"#,
    );
    round_trip::<Nothing>("{}");
    let alive = r#"{"session":@,"name":"a","outcome":"alive"}"#;
    let lost =
        r#"{"session":@,"name":"b","outcome":"unrecoverable","code":"HOLDER_LOST","lost_bytes":null,"detail":"x"}"#;
    let counted = r#"{"session":@,"name":"c","outcome":"restored","code":"HOST_REBOOTED","lost_bytes":5}"#;
    round_trip::<RecoveryReport>(&format!(
        r#"{{"daemon_epoch":12,"boot_id":"B","at":1,"took_ms":2,"upgrade":{{"phase":"check","reason":"x"}},"sessions":[{alive},{lost},{counted}]}}"#
    ));
    round_trip::<ControlMessage>(r#"{"type":"event","event":"detached","code":"CLIENT_REPLACED"}"#);
    round_trip::<ControlMessage>(r#"{"type":"event","event":"detached","code":"DAEMON_STOPPING","restart":true}"#);
    round_trip::<ControlMessage>(r#"{"type":"event","event":"progress","event_number":812}"#);
    for told in EVENTS {
        let told = told.replace("RECORD", RECORD);
        round_trip::<ControlMessage>(&format!(r#"{{"type":"event","event_number":812,"at":1760000000000,{told}}}"#));
    }
    let refused = r#"{"type":"error","id":"3","code":"ROLE_FORBIDDEN","message":"session build is owned by cli-5f0c9a11","retry":"give_up","details":{"owner":"cli-5f0c9a11","owner_epoch":1}}"#;
    round_trip::<ControlMessage>(refused);

    let result: Created = serde_json::from_str(&json(&created)).unwrap();
    let mut bytes = Vec::new();
    message_frame(&Answer::new(RequestId::from_number(2), Ok(result)), &mut bytes);
    assert_eq!(bytes, framed(&json(&format!(r#"{{"type":"ok","id":"2","result":{created}}}"#))));
}

#[test]
fn frames_with_bytes() {
    let mut output = output_header(ByteOffset(300), 3).to_vec();
    output.extend_from_slice(b"hi\n");
    assert_eq!(output, [12, 0, 0, 0, 2, 0x2C, 1, 0, 0, 0, 0, 0, 0, 0x68, 0x69, 0x0A]);

    let mut input = Vec::new();
    input_frame(OwnerEpoch(2), InputOffset(258), b"x", &mut input);
    assert_eq!(input, [14, 0, 0, 0, 3, 2, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, b'x']);

    let mut snapshot = snapshot_header(1, 2).to_vec();
    snapshot.extend_from_slice(b"ab");
    assert_eq!(snapshot, [11, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);

    let mut decoder = Decoder::default();
    decoder.extend(&[output, input, snapshot].concat());
    let frames: Vec<Frame> = std::iter::from_fn(|| decoder.next_frame().unwrap()).collect();
    assert_eq!(
        frames,
        [
            Frame::Output { offset: ByteOffset(300), bytes: "hi\n".into() },
            Frame::Input { owner_epoch: OwnerEpoch(2), input_offset: InputOffset(258), bytes: "x".into() },
            Frame::Snapshot { position: 1, bytes: "ab".into() },
        ]
    );
}
