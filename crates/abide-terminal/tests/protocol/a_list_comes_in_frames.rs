//! However many sessions there are and however long their records: each page of a list fits a frame, and the pages
//! together are the list.

use abide_terminal::protocol::limits::{ARGUMENTS_BYTES_MAX, FRAME_BYTES_MAX, LIST_MAX};
use abide_terminal::protocol::{Answer, Listed, message_frame, read_control};
use abide_terminal::{Record, SessionId};
use abide_wire::RequestId;
use serde_json::json;

const RECORDS: u64 = 10_000;

fn record(number: u64, argument_bytes: usize) -> Record {
    let record = json!({
        "id": SessionId::from_parts(1_760_000_000_000 + number, 7), "name": format!("s{number}"), "incarnation": 1,
        "state": "Running", "owner_epoch": 1, "observers": 0, "command": "sh", "args": ["\u{1}".repeat(argument_bytes)],
        "cwd": "/", "created_at": 1_000, "cols": 80, "rows": 24, "base_offset": 0, "end_offset": 0, "restore": "never",
        "takeover": "allow", "labels": {},
    });
    serde_json::from_value(record).unwrap()
}

/// The whole list, page by page, as a client gets it; and how many pages these are.
fn listed(records: &[Record], limit: usize) -> (Vec<SessionId>, usize) {
    let (mut all, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let behind = records.iter().filter(|record| after.is_none_or(|after| record.id > after)).cloned();
        let page = Listed::page(behind, limit);
        assert!(page.sessions.len() <= limit && !page.sessions.is_empty());
        all.extend(page.sessions.iter().map(|record| record.id));
        after = page.next;
        pages += 1;
        // The longest id, of characters that are longest as JSON.
        let id = RequestId::try_from("\u{1}".repeat(RequestId::CHARS_MAX)).unwrap();
        let mut frame = Vec::new();
        message_frame(&Answer::new(id, Ok(page)), &mut frame);
        assert!(frame.len() <= FRAME_BYTES_MAX as usize, "{} bytes", frame.len());
        if after.is_none() {
            return (all, pages);
        }
    }
}

#[test]
fn of_ten_thousand_records() {
    // Some are long: every seventh has an argument of up to 30 KiB that is six times as long in JSON.
    let records: Vec<Record> =
        (0..RECORDS).map(|n| record(n, if n % 7 == 0 { usize::try_from(n % 30_720).unwrap() } else { 0 })).collect();
    let ids: Vec<SessionId> = records.iter().map(|record| record.id).collect();
    let (all, pages) = listed(&records, usize::from(LIST_MAX));
    assert!(all == ids, "each record once, in order");
    assert!(pages > 20, "bounded by bytes: {pages} pages");
    let (all, pages) = listed(&records[..25], 10);
    assert!(all == ids[..25] && pages == 3, "bounded by records: {pages} pages");
}

#[test]
fn of_the_longest_record_that_a_create_can_make() {
    let create = |bytes: usize| {
        let argument = "x".repeat(bytes - r#"[""]"#.len());
        let request = json!({"type": "create", "id": "1", "cols": 80, "rows": 24, "command": "c", "args": [argument]});
        read_control(request.to_string().as_bytes()).map(drop)
    };
    assert!(create(ARGUMENTS_BYTES_MAX).is_ok());
    let refused = create(ARGUMENTS_BYTES_MAX + 1).unwrap_err();
    assert_eq!(refused.answer.error.details["field"], "args", "{refused:?}");
    let (all, pages) = listed(&[record(0, ARGUMENTS_BYTES_MAX / 6 - 1), record(1, ARGUMENTS_BYTES_MAX / 6 - 1)], 10);
    assert_eq!((all.len(), pages), (2, 2));
}

#[test]
fn a_text_that_a_program_cannot_be_given_is_refused_by_name() {
    for (field, value) in
        [("command", json!("a\0b")), ("args", json!(["-c", "a\0b"])), ("cwd", json!("/tmp\0/x")), ("cwd", json!(7))]
    {
        let mut request = json!({"type": "create", "id": "1", "cols": 80, "rows": 24});
        request[field] = value;
        let refused = read_control(request.to_string().as_bytes()).unwrap_err();
        let error = refused.answer.error;
        assert_eq!((error.code.as_str(), &error.details["field"]), ("BAD_REQUEST", &json!(field)), "{error:?}");
    }
}
