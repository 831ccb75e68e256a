//! Text, title, directory, and the seam.

use abide_screen::{Model, Size, What, seam};

fn model(output: &[u8]) -> Model {
    let mut model = Model::new(Size { cols: 10, rows: 4 }, 100);
    model.feed(output).unwrap();
    model
}

#[test]
fn the_screen_comes_by_rows_and_all_by_lines() {
    let model = model("one\r\na line that wraps\r\n漢字漢字漢字\r\nend  ".as_bytes());
    let screen = model.text(What::Screen, None);
    assert_eq!(screen.text, "t wraps\n漢字漢字漢\n字\nend\n");
    assert_eq!((screen.cols, screen.rows, screen.cursor, screen.alternate), (10, 4, (5, 3), false));
    assert_eq!(model.text(What::All, None).text, "one\na line that wraps\n漢字漢字漢字\nend\n");
    assert_eq!(model.text(What::All, Some(2)).text, "漢字漢字漢字\nend\n");
    assert_eq!(model.text(What::Screen, Some(1)).text, "end\n");
}

#[test]
fn a_space_left_over_before_a_wide_character_is_no_text() {
    let mut model = model("x漢字漢字漢字".as_bytes());
    assert_eq!(model.text(What::All, None).text, "x漢字漢字漢字\n");
    for cols in [3, 5, 20, 7, 10] {
        model.resize(cols, 4).unwrap();
        assert_eq!(model.text(What::All, None).text, "x漢字漢字漢字\n", "{cols} columns");
    }
}

#[test]
fn the_alternate_screen_is_what_is_shown() {
    let mut model = model(b"main\x1b[?1049h\x1b[Halternate");
    let text = model.text(What::All, None);
    assert_eq!((text.text.as_str(), text.alternate), ("alternate\n", true));
    model.feed(b"\x1b[?1049l").unwrap();
    assert_eq!(model.text(What::All, None).text, "main\n");
}

#[test]
fn titles_are_put_aside_and_come_back() {
    let mut model = model(b"\x1b]0;shell\x07\x1b[22;2t\x1b]2;editor; a file\x1b\\");
    assert_eq!(model.title(), Some("editor; a file"));
    model.feed(b"\x1b[23;2t").unwrap();
    assert_eq!(model.title(), Some("shell"));
    model.feed(b"\x1b]2;\x07").unwrap();
    assert_eq!(model.title(), None);
}

#[test]
fn the_directory_is_a_path() {
    assert_eq!(model(b"\x1b]7;file://host/tmp/a%20b%C3%A9\x07").current_dir(), Some("/tmp/a bé"));
    assert_eq!(model(b"\x1b]7;file:///tmp\x1b\\").current_dir(), Some("/tmp"));
    for other in [
        &b"\x1b]7;http://host/tmp\x07"[..],
        b"\x1b]7;file://host\x07",
        b"\x1b]7;file://h/%ff\x07",
        b"\x1b]7;file://h/%0a\x07",
    ] {
        assert_eq!(model(other).current_dir(), None);
    }
}

#[test]
fn a_seam_ends_what_the_former_program_had() {
    let former = b"old\r\n\x1b[?1049h\x1b[31mediting\x1b[?1000;1006;2004h\x1b[>5u\x1b[2;3r\x1b[?6h\x1b[4h\x1b[?7l\x1b(0\x1b[?25l\x1b]0;unfinished";
    let mut model = model(former);
    model.resize(60, 6).unwrap();
    let mut library = Model::new(model.size(), 100);
    library.feed(&model.snapshot(100).bytes).unwrap();
    model.restored("HOST_REBOOTED", "2026-11-21 09:12").unwrap();
    library.feed(&seam("HOST_REBOOTED", "2026-11-21 09:12")).unwrap();
    assert_eq!(model.difference(&library), None, "model and libraries draw the same");
    model.feed(b"new").unwrap();
    let text = model.text(What::Screen, None);
    assert_eq!(text.text, "old\n\nrestored after HOST_REBOOTED, 2026-11-21 09:12\nnew\n");
    assert_eq!((text.alternate, model.title()), (false, None));
    for mode in [1000, 1006, 2004, 6] {
        assert_eq!(model.private_mode(mode), Some(false));
    }
    assert_eq!((model.private_mode(25), model.private_mode(7)), (Some(true), Some(true)));
}
