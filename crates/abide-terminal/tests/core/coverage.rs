//! What the histories have gone through: the tables of the life cycle, counted.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Rows of the table of transitions, and of the table of owners.
const ROWS: &[&str] = &[
    "created",
    "adopted: start",
    "gone before start: launched again",
    "started",
    "failed",
    "launched three times in vain",
    "not started in time",
    "killed before start",
    "killed while starting",
    "kill",
    "remembered kill",
    "ended",
    "killed again",
    "forced",
    "forced while starting",
    "signal 1",
    "signal 15",
    "signal 9",
    "ended, others left",
    "ended, none left",
    "given up",
    "lost while starting",
    "lost while running",
    "lost while terminating",
    "lost, but its end is known",
    "drain deadline",
    "finalized, collected",
    "finalized without a holder",
    "restored at once",
    "restored with its owner",
    "restored on request",
    "restore refused",
    "offered",
    "killed, so not restored",
    "recover of what was not lost",
    "removed",
    "removed without its end",
    "claimed",
    "claimed anew by its owner",
    "takeover",
    "takeover denied",
    "takeover of one's own",
    "released to nobody",
    "released to another",
    "lapsed",
    "grace ended by a return",
    "owner stream replaced",
    "session owned",
    "input final",
    "handover without an answer",
    "stale owner epoch",
    "input stale",
    "input gap",
    "input window full",
    "input repeated",
    "resizes merged",
    "kill without room",
    "create without room",
    "attach gave up waiting",
    "daemon died in Starting",
    "daemon died in Running",
    "daemon died in Terminating",
    "daemon died in Exited",
    "daemon died in Finalized",
    "owner epoch ahead at the holder",
];

/// Operations, and in which states each of them must have been asked for. Nobody can write while a session starts:
/// no stream is attached yet.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("attach", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("write", &["Running", "Terminating", "Exited", "Finalized"]),
    ("write request", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("signal", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("resize", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("kill", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("takeover", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("release", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("rename", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("recover", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
    ("remove", &["Starting", "Running", "Terminating", "Exited", "Finalized"]),
];

/// How often each thing happened.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    rows: BTreeMap<&'static str, u64>,
    pairs: BTreeMap<(&'static str, String, String), u64>,
    pub(crate) steps: u64,
}

impl Coverage {
    pub(crate) fn saw(&mut self, row: &'static str) {
        assert!(ROWS.contains(&row), "{row} is no row");
        *self.rows.entry(row).or_default() += 1;
    }

    pub(crate) fn asked(&mut self, operation: &'static str, state: String, outcome: String) {
        *self.pairs.entry((operation, state, outcome)).or_default() += 1;
    }

    /// The count of each row and of each operation by state and outcome, for people.
    pub(crate) fn table(&self) -> String {
        let mut table = format!("{:>10} steps\n", self.steps);
        for row in ROWS {
            writeln!(table, "{:>10} {row}", self.rows.get(row).unwrap_or(&0)).unwrap();
        }
        for ((operation, state, outcome), count) in &self.pairs {
            writeln!(table, "{count:>10} {operation} in {state}: {outcome}").unwrap();
        }
        table
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<String> {
        let rows = ROWS.iter().filter(|row| !self.rows.contains_key(*row)).map(|row| (*row).to_owned());
        let wanted =
            OPERATIONS.iter().flat_map(|(operation, states)| states.iter().map(move |state| (operation, state)));
        let taken = |operation: &str, state: &str| {
            self.pairs.keys().any(|(op, at, _)| (*op, at.as_str()) == (operation, state))
        };
        let left = wanted.filter(|(operation, state)| !taken(operation, state));
        let pairs = left.map(|(operation, state)| format!("{operation} in {state}"));
        rows.chain(pairs).collect()
    }
}
