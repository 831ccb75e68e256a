//! asciicast, version 2: a header, then an event a line. <https://docs.asciinema.org/manual/asciicast/v2/>

use std::io::{self, Write};

use serde_json::json;

/// Writes a recording as asciicast.
///
/// The header has the size that the terminal has when its first output comes, so it is written with that output.
#[derive(Debug)]
pub(crate) struct Asciicast {
    title: String,
    size: (u16, u16),
    /// The time of the first event.
    began_ms: Option<u64>,
    /// The time of the last event: it does not go back, whatever the clock did.
    now_ms: u64,
    begun: bool,
    /// The begin of a character whose rest comes with the next record.
    cut: Vec<u8>,
}

impl Asciicast {
    /// `size` in columns and rows holds until another one is told.
    pub(crate) fn new(title: &str, size: (u16, u16)) -> Self {
        Self { title: title.to_owned(), size, began_ms: None, now_ms: 0, begun: false, cut: Vec::new() }
    }

    /// What comes next happened at this time, wall clock in milliseconds since 1970.
    pub(crate) fn time(&mut self, at_ms: u64) {
        self.began_ms.get_or_insert(at_ms);
        self.now_ms = self.now_ms.max(at_ms);
    }

    /// The terminal has another size.
    pub(crate) fn resized(&mut self, cols: u16, rows: u16, out: &mut impl Write) -> io::Result<()> {
        let before = std::mem::replace(&mut self.size, (cols, rows));
        if self.begun && before != self.size {
            return self.event("r", &format!("{cols}x{rows}"), out);
        }
        Ok(())
    }

    /// Output. Characters that are cut between two records are joined; bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn output(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        self.cut.extend_from_slice(bytes);
        let whole = self.cut.len() - incomplete(&self.cut);
        let rest = self.cut.split_off(whole);
        let bytes = std::mem::replace(&mut self.cut, rest);
        self.text(&bytes, out)
    }

    /// The end of the recording.
    pub(crate) fn finish(mut self, out: &mut impl Write) -> io::Result<()> {
        let cut = std::mem::take(&mut self.cut);
        self.text(&cut, out)?;
        self.begin(out)
    }

    fn text(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.begin(out)?;
        self.event("o", &String::from_utf8_lossy(bytes), out)
    }

    fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let (width, height) = self.size;
        let began_s = self.began_ms.unwrap_or(0) / 1_000;
        let header = json!({
            "version": 2, "width": width, "height": height, "timestamp": began_s, "title": self.title,
            "env": {"TERM": "xterm-256color"},
        });
        writeln!(out, "{header}")
    }

    fn event(&self, code: &str, data: &str, out: &mut impl Write) -> io::Result<()> {
        let ms = self.now_ms.saturating_sub(self.began_ms.unwrap_or(self.now_ms));
        writeln!(out, "[{}.{:03}, {}, {}]", ms / 1_000, ms % 1_000, json!(code), json!(data))
    }
}

/// How many bytes at the end begin a character that goes on behind them.
fn incomplete(bytes: &[u8]) -> usize {
    let tail = bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default();
    let Some(lead) = tail.iter().rposition(|byte| *byte >= 0xC0) else { return 0 };
    match std::str::from_utf8(tail.get(lead..).unwrap_or_default()) {
        Err(error) if error.error_len().is_none() => tail.len() - lead,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_has_its_sizes_its_times_and_whole_characters() {
        let (mut cast, mut out) = (Asciicast::new("build", (80, 24)), Vec::new());
        cast.time(1_760_000_000_500);
        cast.resized(100, 30, &mut out).unwrap();
        cast.output("d\u{e9}j\u{e0} \u{1F642}".as_bytes().split_at(8).0, &mut out).unwrap();
        cast.time(1_760_000_000_750);
        cast.output(b"\x9f\x99\x82\"\x1b[m\r\n", &mut out).unwrap();
        cast.time(1_760_000_000_100);
        cast.resized(100, 30, &mut out).unwrap();
        cast.resized(60, 20, &mut out).unwrap();
        cast.time(1_760_000_061_500);
        cast.output(b"\xff\xe2\x82", &mut out).unwrap();
        cast.finish(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {"env":{"TERM":"xterm-256color"},"height":30,"timestamp":1760000000,"title":"build","version":2,"width":100}
        [0.000, "o", "déjà "]
        [0.250, "o", "🙂\"\u001b[m\r\n"]
        [0.250, "r", "60x20"]
        [61.000, "o", "�"]
        [61.000, "o", "�"]
        "#);
    }

    #[test]
    fn characters_are_whole_wherever_records_end() {
        let text = "déjà vu · 漢字 🙂";
        for at in 0..=text.len() {
            let (mut cast, mut out) = (Asciicast::new("s", (80, 24)), Vec::new());
            let (before, behind) = text.as_bytes().split_at(at);
            cast.output(before, &mut out).unwrap();
            cast.output(behind, &mut out).unwrap();
            cast.finish(&mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            let data = |line: &str| serde_json::from_str::<(f64, String, String)>(line).unwrap().2;
            assert_eq!(out.lines().skip(1).map(data).collect::<String>(), text, "cut at {at}");
        }
    }

    #[test]
    fn a_recording_of_nothing_is_one() {
        let mut out = Vec::new();
        Asciicast::new("s", (80, 24)).finish(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1);
    }
}
