//! Reads recordings; `tests/recordings/README.md` describes them.

use std::path::PathBuf;

use abide_screen::Size;

use crate::random::Happening;

pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) size: Size,
    pub(crate) happenings: Vec<Happening>,
}

/// All of them, by name.
pub(crate) fn all() -> Vec<Recording> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "recording"));
    files.sort();
    files
        .iter()
        .map(|file| parse(file.file_stem().unwrap().to_str().unwrap(), &std::fs::read_to_string(file).unwrap()))
        .collect()
}

fn parse(name: &str, text: &str) -> Recording {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("abide recording 1"), "{name} is a recording");
    let first = lines.next().and_then(|line| line.strip_prefix("size ")).map(size).unwrap();
    let mut happenings = Vec::new();
    for line in lines {
        let (verb, rest) = line.split_once(' ').unwrap();
        match (verb, happenings.last_mut()) {
            ("size", _) => happenings.push(Happening::Resize(size(rest).cols, size(rest).rows)),
            ("out", Some(Happening::Output(bytes))) => bytes.extend(unescaped(rest)),
            ("out", _) => happenings.push(Happening::Output(unescaped(rest))),
            _ => panic!("{name}: {line}"),
        }
    }
    Recording { name: name.to_owned(), size: first, happenings }
}

fn size(text: &str) -> Size {
    let (cols, rows) = text.split_once('x').unwrap();
    Size { cols: cols.parse().unwrap(), rows: rows.parse().unwrap() }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let (byte, used) = match after.as_bytes()[0] {
            b'e' => (0x1b, 1),
            b'r' => (b'\r', 1),
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b'\\' => (b'\\', 1),
            b'x' => (u8::from_str_radix(after.get(1..3).unwrap(), 16).unwrap(), 3),
            other => panic!("no escape: {other}"),
        };
        out.push(byte);
        rest = after.get(used..).unwrap();
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
