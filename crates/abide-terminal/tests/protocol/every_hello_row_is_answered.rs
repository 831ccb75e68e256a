//! Each row of the table of wrong input that a reader alone can decide.

use abide_terminal::protocol::{Refusal, read_control, read_hello, read_stream};
use abide_wire::Code;

fn field(refusal: &Refusal) -> Option<&str> {
    refusal.answer.error.text("field")
}

#[track_caller]
fn check<T: std::fmt::Debug>(read: Result<T, Refusal>, code: Code, closes: bool, named: Option<&str>) {
    let refusal = read.expect_err("it is wrong");
    assert_eq!((refusal.answer.error.code, refusal.closes, field(&refusal)), (code, closes, named), "{refusal:?}");
}

fn hello(change: &str, with: &str) -> String {
    let good = concat!(
        r#"{"type":"hello","id":"1","protocol":"abide-terminal","version":1,"client_id":"c","role":"control","#,
        r#""client":{"name":"n","version":"v"}}"#
    );
    assert!(good.contains(change));
    good.replace(change, with)
}

#[test]
fn a_hello_of_another_protocol_is_told_so() {
    for (change, with) in [
        (r#","client_id":"c""#, ""),
        (r#","role":"control""#, ""),
        (r#""version":1"#, r#""version":2"#),
        (r#""version":1,"#, ""),
        (r#""version":1"#, r#""version":"1""#),
        (r#""abide-terminal""#, r#""tmux""#),
        (r#","protocol":"abide-terminal""#, r#","old":true"#),
    ] {
        let read = read_hello(hello(change, with).as_bytes());
        let details = &read.as_ref().unwrap_err().answer.error.details;
        assert_eq!(details["supported"], serde_json::json!([1]));
        assert!(details["docs"].is_string());
        check(read, Code::ProtoBreakingChange, true, None);
    }
}

#[test]
fn anything_else_first_is_no_hello() {
    for text in ["", "{", "[]", "7", "{}", r#"{"type":"list","id":"1"}"#, r#"{"type":7}"#] {
        check(read_hello(text.as_bytes()), Code::HelloRequired, true, None);
    }
}

#[test]
fn a_hello_with_bad_values_is_a_bad_request() {
    for (change, with, named) in [
        (r#""client_id":"c""#, r#""client_id":"a b""#, "client_id"),
        (r#""role":"control""#, r#""role":"king""#, "role"),
        (r#""role":"control""#, r#""role":"control","extra":1"#, "extra"),
        (r#""role":"control""#, r#""role":"control","role":"stream""#, "role"),
        (r#""id":"1""#, r#""id":"""#, "id"),
        (r#""id":"1","#, "", "id"),
        (r#""name":"n""#, r#""name":7"#, "client"),
    ] {
        check(read_hello(hello(change, with).as_bytes()), Code::BadRequest, true, Some(named));
    }
    assert!(read_hello(hello("", "").as_bytes()).is_ok_and(|hello| hello.client.is_some()));
}

#[test]
fn a_second_hello_is_repeated() {
    let text = hello("", "");
    check(read_control(text.as_bytes()), Code::HelloRepeated, false, None);
    check(read_stream(text.as_bytes()), Code::HelloRepeated, false, None);
}

#[test]
fn what_is_not_json_closes_and_what_is_no_request_does_not() {
    check(read_control(b"{\"type\""), Code::ProtoMalformed, true, None);
    check(read_control(b"\xff"), Code::ProtoMalformed, true, None);
    check(read_stream(b"nonsense"), Code::ProtoMalformed, true, None);
    check(read_control(b"[]"), Code::BadRequest, false, None);
    check(read_control(b"{}"), Code::BadRequest, false, Some("type"));
    check(read_control(br#"{"type":"fly","id":"1"}"#), Code::UnknownRequest, false, None);
    check(read_stream(br#"{"type":"fly","offset":5}"#), Code::UnknownRequest, false, None);
}

#[test]
fn a_request_on_the_other_connection_is_of_the_wrong_role() {
    for (read, role) in [
        (read_control(br#"{"type":"attach","id":"1","session":"a","mode":"owner"}"#).unwrap_err(), "control"),
        (read_stream(br#"{"type":"list","id":"1"}"#).unwrap_err(), "stream"),
    ] {
        assert_eq!((read.answer.error.code, read.closes), (Code::RoleForbidden, false));
        assert_eq!(read.answer.error.text("role"), Some(role));
        assert!(read.answer.id.is_some());
    }
}

#[test]
fn a_bad_field_is_named() {
    for (text, named) in [
        (r#"{"type":"list"}"#, "id"),
        (r#"{"type":"list","id":7}"#, "id"),
        (r#"{"type":"list","id":"1","id":"2"}"#, "id"),
        (r#"{"type":"list","type":"kill","id":"1"}"#, "type"),
        (r#"{"type":"list","id":"1","limit":0}"#, "limit"),
        (r#"{"type":"list","id":"1","limit":1001}"#, "limit"),
        (r#"{"type":"list","id":"1","states":["Walking"]}"#, "states"),
        (r#"{"type":"list","id":"1","after":"01JD"}"#, "after"),
        (r#"{"type":"list","id":"1","after":null}"#, "after"),
        (r#"{"type":"list","id":"1","extra":1}"#, "extra"),
        (r#"{"type":"list","id":"1","labels":{"a":"1","a":"2"}}"#, "labels"),
        (r#"{"type":"list","id":"1","labels":{"ü":"1"}}"#, "labels"),
        (r#"{"type":"inspect","id":"1"}"#, "session"),
        (r#"{"type":"inspect","id":"1","session":"a b"}"#, "session"),
        (r#"{"type":"kill","id":"1","session":"a","grace_ms":60001}"#, "grace_ms"),
        (r#"{"type":"kill","id":"1","session":"a","signal":"SIGNAL"}"#, "signal"),
        (r#"{"type":"kill","id":"1","session":"a","force":1}"#, "force"),
        (r#"{"type":"create","id":"1","rows":24}"#, "cols"),
        (r#"{"type":"create","id":"1","cols":4097,"rows":24}"#, "cols"),
        (r#"{"type":"create","id":"1","cols":80,"rows":-1}"#, "rows"),
        (r#"{"type":"create","id":"1","cols":80,"rows":24,"name":"-x"}"#, "name"),
        (r#"{"type":"create","id":"1","cols":80,"rows":24,"key":"a b"}"#, "key"),
        (r#"{"type":"create","id":"1","cols":80,"rows":24,"restore":"always"}"#, "restore"),
        (r#"{"type":"recover","id":"1","session":"a","as":"never"}"#, "as"),
        (r#"{"type":"create","id":"1","cols":80,"rows":24,"env":{"A":"1","A":"2"}}"#, "env"),
        (r#"{"type":"shutdown","id":"1","mode":"keep","restart":{"binary":"/a","binary":"/b"}}"#, "restart"),
        (r#"{"type":"shutdown","id":"1","mode":"now"}"#, "mode"),
        (r#"{"type":"write","id":"1","session":"a"}"#, "data_base64"),
        (r#"{"type":"write","id":"1","session":"a","data_base64":""}"#, "data_base64"),
        (r#"{"type":"write","id":"1","session":"a","data_base64":"a"}"#, "data_base64"),
        (r#"{"type":"write","id":"1","session":"a","data_base64":"aGkK","input_offset":-1}"#, "input_offset"),
    ] {
        check(read_control(text.as_bytes()), Code::BadRequest, false, Some(named));
    }
    for (text, named) in [
        (r#"{"type":"attach","session":"a","mode":"owner","on_lag":"follow"}"#, "id"),
        (r#"{"type":"attach","id":"1","session":"a","mode":"owner","on_lag":"wait"}"#, "on_lag"),
        (r#"{"type":"attach","id":"1","session":"a","mode":"owner","lag_bytes_max":65535}"#, "lag_bytes_max"),
        (r#"{"type":"attach","id":"1","session":"a","mode":"owner","lag_bytes_max":1073741825}"#, "lag_bytes_max"),
        (r#"{"type":"attach","id":"1","session":"a","mode":"owner","window_bytes":65535}"#, "window_bytes"),
        (r#"{"type":"ack"}"#, "offset"),
        (r#"{"type":"ack","offset":9007199254740992}"#, "offset"),
        (r#"{"type":"attach","id":"1","session":"a","mode":"king","on_lag":"follow"}"#, "mode"),
        (r#"{"type":"attach","id":"1","session":"a","mode":"owner","on_lag":"follow","from":"end"}"#, "from"),
        (r#"{"type":"attach","id":"1","session":"a","mode":"owner","on_lag":"follow","from":{"epoch":1}}"#, "from"),
        (
            r#"{"type":"attach","id":"1","session":"a","mode":"owner","on_lag":"follow","until":9007199254740992}"#,
            "until",
        ),
        (
            r#"{"type":"attach","id":"1","session":"a","mode":"owner","on_lag":"follow","window_bytes":1}"#,
            "window_bytes",
        ),
        (r#"{"type":"resize","cols":80}"#, "rows"),
        (r#"{"type":"detach","id":"1"}"#, "id"),
    ] {
        check(read_stream(text.as_bytes()), Code::BadRequest, false, Some(named));
    }
}

#[test]
fn a_write_has_its_bound() {
    let write = |bytes: usize| {
        let data = format!("{}{}", "QUFB".repeat(bytes / 3), ["", "QQ==", "QUE="][bytes % 3]);
        read_control(format!(r#"{{"type":"write","id":"1","session":"a","data_base64":"{data}"}}"#).as_bytes())
    };
    assert!(write(65_536).is_ok());
    for bytes in [65_537, 65_538, 65_539] {
        check(write(bytes), Code::BadRequest, false, Some("data_base64"));
    }
}

#[test]
fn an_attach_resyncs_unless_it_says_otherwise() {
    use abide_terminal::protocol::{OnLag, StreamRequest};
    let read = read_stream(br#"{"type":"attach","id":"1","session":"a","mode":"owner"}"#).unwrap();
    let StreamRequest::Attach(_, attach) = read else { panic!("{read:?}") };
    assert_eq!((attach.on_lag, attach.lag_bytes_max, attach.window_bytes), (OnLag::Resync, None, None));
}

#[test]
fn a_refusal_never_repeats_a_value() {
    let secret = "hunter2";
    for text in [
        format!(r#"{{"type":"create","id":"1","cols":"{secret}","rows":24}}"#),
        format!(r#"{{"type":"create","id":"1","cols":80,"rows":24,"env":"{secret}"}}"#),
        format!(r#"{{"type":"create","id":"1","cols":80,"rows":24,"env":{{"A":["{secret}"]}}}}"#),
        format!(r#"{{"type":"create","id":"1","cols":80,"rows":24,"takeover":"{secret}"}}"#),
        format!(r#"{{"type":"create","id":"1","cols":80,"rows":24,"args":"{secret}"}}"#),
        format!(r#"{{"type":"{secret}","id":"1"}}"#),
    ] {
        let refusal = read_control(text.as_bytes()).unwrap_err();
        assert!(!refusal.answer.error.message.contains(secret), "{refusal:?}");
    }
}
