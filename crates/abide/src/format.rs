//! Data on standard output: a table for people, JSON for programs.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use abide_terminal::protocol::{Lost, RecoveryReport, ReportEntry};
use abide_terminal::{Record, State};
use serde::Serialize;

use crate::doctor::Finding;
use crate::failure::printable;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One value; a list is an array.
    Json,
    /// One record a line.
    Jsonl,
}

/// Prints one value as JSON: over several lines for people and `json`, on one for `jsonl`.
pub(crate) fn value(out: &mut impl Write, format: Format, value: &impl Serialize) -> io::Result<()> {
    match format {
        Format::Table | Format::Json => serde_json::to_writer_pretty(&mut *out, value)?,
        Format::Jsonl => serde_json::to_writer(&mut *out, value)?,
    }
    writeln!(out)
}

/// Prints sessions.
pub(crate) fn sessions(out: &mut impl Write, format: Format, records: &[Record], now_ms: u64) -> io::Result<()> {
    match format {
        Format::Table => table(out, records, now_ms),
        Format::Json => value(out, format, &records),
        Format::Jsonl => records.iter().try_for_each(|record| value(out, format, record)),
    }
}

const COLUMNS: [&str; 9] = ["NAME", "STATE", "PID", "AGE", "IDLE", "OWNER", "OBSERVERS", "SIZE", "COMMAND"];

fn table(out: &mut impl Write, records: &[Record], now_ms: u64) -> io::Result<()> {
    columns(out, COLUMNS.map(str::to_owned), records.iter().map(|record| row(record, now_ms)))
}

const REPORT_COLUMNS: [&str; 5] = ["SESSION", "NAME", "OUTCOME", "CODE", "LOST"];

/// Prints what the last start of the daemon found.
pub(crate) fn report(out: &mut impl Write, format: Format, report: &RecoveryReport) -> io::Result<()> {
    match format {
        Format::Json => value(out, format, report),
        Format::Jsonl => report.sessions.iter().try_for_each(|entry| value(out, format, entry)),
        Format::Table => columns(out, REPORT_COLUMNS.map(str::to_owned), report.sessions.iter().map(report_row)),
    }
}

fn report_row(entry: &ReportEntry) -> [String; 5] {
    let lost = match entry.lost_bytes {
        None => "-".to_owned(),
        Some(Lost { bytes: None }) => "unknown".to_owned(),
        Some(Lost { bytes: Some(bytes) }) => bytes.to_string(),
    };
    let outcome = format!("{:?}", entry.outcome).to_lowercase();
    let code = entry.code.map_or("-".to_owned(), |code| code.to_string());
    [entry.session.to_string(), entry.name.clone(), outcome, code, lost]
}

/// Prints what the checks found.
pub(crate) fn findings(out: &mut impl Write, format: Format, findings: &[Finding]) -> io::Result<()> {
    match format {
        Format::Json => value(out, format, &findings),
        Format::Jsonl => findings.iter().try_for_each(|finding| value(out, format, finding)),
        Format::Table => {
            let row = |finding: &Finding| {
                let mend = finding.mend.as_ref().map_or(String::new(), |mend| format!(". Try: {mend}"));
                let level = format!("{:?}", finding.level).to_lowercase();
                [level, finding.check.to_owned(), printable(&format!("{}{mend}", finding.message))]
            };
            columns(out, ["LEVEL", "CHECK", "FOUND"].map(str::to_owned), findings.iter().map(row))
        }
    }
}

/// Prints rows under their headings, each column as wide as its widest cell.
fn columns<const N: usize>(
    out: &mut impl Write,
    headings: [String; N],
    rows: impl Iterator<Item = [String; N]>,
) -> io::Result<()> {
    let rows: Vec<[String; N]> = std::iter::once(headings).chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(record: &Record, now_ms: u64) -> [String; 9] {
    let since = |ms: u64| duration(Duration::from_millis(now_ms.saturating_sub(ms)));
    let command: Vec<String> =
        std::iter::once(&record.command).chain(&record.args).map(|word| printable(word)).collect();
    [
        record.name.clone(),
        state(record),
        record.pid.map_or("-".to_owned(), |pid| pid.to_string()),
        since(record.created_at),
        record.last_output_at.map_or("-".to_owned(), since),
        record.owner.as_ref().map_or("-".to_owned(), ToString::to_string),
        record.observers.to_string(),
        format!("{}x{}", record.cols, record.rows),
        command.join(" "),
    ]
}

fn state(record: &Record) -> String {
    use abide_terminal::ExitKind;
    let how = record.exit.as_ref().map(|exit| match &exit.kind {
        ExitKind::Code(code) => code.to_string(),
        ExitKind::Signal(name) | ExitKind::SpawnFailed(name) | ExitKind::Lost(name) => name.clone(),
        ExitKind::NeverStarted(_) => "never started".to_owned(),
        ExitKind::Unreaped(_) => "unreaped".to_owned(),
    });
    match (record.state, how) {
        (State::Exited | State::Finalized, Some(how)) => format!("{:?} ({how})", record.state),
        (state, _) => format!("{state:?}"),
    }
}

/// The largest unit that fits, and the next one below a tenth of it.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..36_000 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        36_000..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Wall clock in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, changes: &serde_json::Value) -> Record {
        let mut record = serde_json::json!({
            "id": "01K71XR4M00000000000000001", "name": name, "incarnation": 1, "state": "Running",
            "owner_epoch": 1, "observers": 0, "command": "sh", "args": ["-c", "x\u{1b}[31m"], "cwd": "/",
            "created_at": 1_000, "cols": 80, "rows": 24, "base_offset": 0, "end_offset": 0,
            "restore": "never", "takeover": "allow", "labels": {},
        });
        for (key, value) in changes.as_object().unwrap() {
            record[key] = value.clone();
        }
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn sessions_are_a_table() {
        let records = [
            record(
                "build",
                &serde_json::json!({"pid": 4711, "owner": "cli-1", "observers": 2, "last_output_at": 60_000}),
            ),
            record("quiet-heron", &serde_json::json!({"state": "Finalized", "exit": {"signal": "SIGKILL"}})),
        ];
        let mut out = Vec::new();
        sessions(&mut out, Format::Table, &records, 7_301_000).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        NAME         STATE                PID   AGE   IDLE  OWNER  OBSERVERS  SIZE   COMMAND
        build        Running              4711  2h1m  2h0m  cli-1  2          80x24  sh -c x�[31m
        quiet-heron  Finalized (SIGKILL)  -     2h1m  -     -      0          80x24  sh -c x�[31m
        ");
    }

    #[test]
    fn a_report_is_a_table() {
        let report = serde_json::json!({
            "daemon_epoch": 3, "boot_id": "B", "at": 1, "took_ms": 2, "sessions": [
                {"session": "01K71XR4M00000000000000001", "name": "build", "outcome": "alive"},
                {"session": "01K71XR4M00000000000000002", "name": "agent", "outcome": "restored",
                 "code": "HOST_REBOOTED", "lost_bytes": null},
            ],
        });
        let mut out = Vec::new();
        super::report(&mut out, Format::Table, &serde_json::from_value(report).unwrap()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        SESSION                     NAME   OUTCOME   CODE           LOST
        01K71XR4M00000000000000001  build  alive     -              -
        01K71XR4M00000000000000002  agent  restored  HOST_REBOOTED  unknown
        ");
    }

    #[test]
    fn no_sessions_are_an_empty_array_and_no_lines() {
        for (format, text) in [(Format::Json, "[]\n"), (Format::Jsonl, "")] {
            let mut out = Vec::new();
            sessions(&mut out, format, &[], 0).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn ages_are_short() {
        let of = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([of(59), of(61), of(3_700), of(40_000), of(200_000)], ["59s", "1m", "1h1m", "11h", "2d"]);
    }
}
