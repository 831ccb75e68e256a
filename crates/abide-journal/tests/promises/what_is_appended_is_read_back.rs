//! Both views give back what was appended, from the shared tail and from the disk, before and after an end of any kind.

use crate::world::Dir;
use abide_journal::{
    AppendOptions, Content, Cursor, Durability, Entry, Error, Expect, From, Journal, Level, LogOptions, Lsn, ReadLimit,
};

fn bytes_of(journal: &Journal, name: &str) -> Vec<u8> {
    let log = journal.log(name).expect("the log exists");
    let mut cursor = Cursor::at(0);
    let mut bytes = Vec::new();
    loop {
        let limit = ReadLimit { bytes: 1_000, records: 10 };
        let out = log.read_bytes(cursor, limit, Level::Written, false).expect("readable");
        if out.records.is_empty() && out.next.lsn == Some(out.end.lsn) {
            return bytes;
        }
        for record in out.records {
            assert_eq!(record.offset.0, bytes.len() as u64);
            let Content::Data(data) = record.content else { panic!("only data") };
            bytes.extend_from_slice(&data);
        }
        cursor = out.next;
    }
}

#[test]
fn over_many_segments_and_opens() {
    let dir = Dir::new();
    let mut expected = Vec::new();
    for open in 0..4_u8 {
        let (journal, report) = dir.open();
        assert_eq!(report.incarnation.0, u64::from(open) + 1);
        assert_eq!(report.clean, open % 2 == 1, "closed in order every other time");
        let log = match journal.log("a") {
            Ok(log) => log,
            Err(_) => journal.create_log("a", LogOptions::default()).wait().expect("created"),
        };
        assert_eq!(bytes_of(&journal, "a"), expected);
        let mut last = None;
        for round in 0..200_usize {
            let chunk = vec![u8::try_from(round % 251).expect("small") ^ open; 1 + round * 37 % 9_000];
            expected.extend_from_slice(&chunk);
            last = Some(log.append(Entry::data(0, chunk.clone()), AppendOptions::default()));
            log.append(Entry::mark(1, "m"), AppendOptions::default());
        }
        last.expect("some").wait().expect("appended");
        assert_eq!(bytes_of(&journal, "a"), expected);
        if open % 2 == 0 {
            journal.close().wait().expect("closed");
        }
    }
}

#[test]
fn followers_get_every_record_once() {
    let dir = Dir::new();
    let (journal, _) = dir.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let log = journal.create_log("a", LogOptions::default()).await.expect("created");
        let mut written = log.follow(From::Lsn(Lsn::FIRST), Level::Written).expect("follows");
        let mut durable = log.follow(From::Cursor(Cursor::at(0)), Level::Durable).expect("follows");
        let mut sent = Vec::new();
        for round in 0..500_u64 {
            let entry = if round % 7 == 0 { Entry::gap(round + 1) } else { Entry::data(3, format!("line {round}")) };
            let options = AppendOptions::at(if round % 100 == 99 { Durability::Always } else { Durability::Os });
            sent.push((entry.clone(), log.append(entry, options)));
        }
        for (entry, ticket) in sent {
            let appended = ticket.await.expect("appended");
            for follower in [&mut written, &mut durable] {
                let record = follower.next().await.expect("a record");
                assert_eq!(record.position, appended.position);
                assert_eq!(record.offset, appended.offset);
                assert_eq!(record.content, entry.content);
            }
        }
    });
}

#[test]
fn expect_refuses_what_is_queued_behind_it_too() {
    let dir = Dir::new();
    let (journal, _) = dir.open();
    let log = journal.create_log("a", LogOptions::default()).wait().expect("created");
    let lsn = |lsn| AppendOptions::default().expect(Expect::Lsn(Lsn::new(lsn).expect("not 0")));
    let tickets = [(1, true), (3, false), (4, false), (2, true)]
        .map(|(number, holds)| (log.append(Entry::data(0, "x"), lsn(number)), holds));
    for (ticket, holds) in tickets {
        match ticket.wait() {
            Ok(_) => assert!(holds),
            Err(Error::AppendConflict { next_lsn, .. }) => {
                assert!(!holds);
                assert_eq!(next_lsn.get(), 2);
            }
            Err(error) => panic!("{error}"),
        }
    }
}
