//! A panic of the engine is a value, and the model is then rebuilt from a snapshot.

use abide_screen::{Failed, Model, Size, What};

#[test]
fn and_the_caller_rebuilds_what_it_showed() {
    let size = Size { cols: 20, rows: 4 };
    let mut model = Model::new(size, 100);
    model.feed(b"before\r\n").unwrap();
    let last = model.snapshot(100);
    model.fail_on(b"boom");
    assert_eq!(model.feed(b"kaboom"), Err(Failed));
    assert_eq!(model.feed(b"more"), Err(Failed), "it stays failed");
    assert_eq!(model.resize(10, 10), Err(Failed));

    let mut again = Model::new(size, 100);
    again.feed(&last.bytes).unwrap();
    again.feed(b"kaboom").unwrap();
    assert_eq!(again.text(What::Screen, None).text, "before\nkaboom\n");
}

#[test]
fn sizes_that_no_engine_takes_are_clamped() {
    let mut output = "漢字 wide\r\n\x1b[5;1H\x1b[2J\x1b[999;999Hx\x1b[65535Z\x1b[65535S\x1b[65535L".as_bytes().to_vec();
    output.extend_from_slice(b"\x1b[30;40r\n\n\x1b[65535b\x1b[65535@\x1b[65535P\x1b[65535X\x1b[65535I");
    for (cols, rows) in [(0, 0), (1, 1), (1, 1_000), (2, 1), (u16::MAX, u16::MAX), (1_001, 1)] {
        let mut model = Model::new(Size { cols, rows }, 10);
        assert_eq!(model.size(), Size { cols: cols.clamp(2, 1_000), rows: rows.clamp(1, 1_000) });
        model.feed(&output).unwrap();
        model.resize(rows, cols).unwrap();
        model.feed(&output).unwrap();
        model.resize(cols, rows).unwrap();
        assert_eq!(model.size(), Size { cols, rows }.clamped());
    }
}

#[test]
fn endless_combining_characters_and_titles_are_bounded() {
    let mut model = Model::new(Size { cols: 20, rows: 4 }, 100);
    model.feed(b"e").unwrap();
    for _ in 0..100_000 {
        model.feed("\u{301}".as_bytes()).unwrap();
        model.feed(b"\x1b[22;2t\x1b[>1u").unwrap();
    }
    let snapshot = model.snapshot(100);
    assert!(snapshot.bytes.len() < 2_000, "{} bytes", snapshot.bytes.len());
    assert_eq!(model.text(What::Screen, None).text.chars().filter(|&c| c == '\u{301}').count(), 16);
}
