//! Every error code of terminal sessions is met, by the command line or on a socket, or stands here with the reason why
//! nobody outside can meet it.

mod commands;
mod recoveries;
mod requests;
mod streams;

use std::collections::BTreeSet;

use abide_wire::Code;
use serde_json::Value;

use crate::harness::Place;

/// Codes that nobody can meet from outside, and why.
const UNMET: [(Code, &str); 1] = [(Code::Internal, "a bug, and no test knows one")];

/// The codes that were met.
struct Met(BTreeSet<Code>);

impl Met {
    /// An answer, a message or an event with this code has come.
    #[track_caller]
    fn by(&mut self, code: Code, found: &Value) {
        assert_eq!(found["code"], code.as_str(), "{found}");
        self.0.insert(code);
    }

    /// `abide` with these arguments fails with this code.
    #[track_caller]
    fn by_command(&mut self, code: Code, place: &Place, args: &[&str]) {
        let output = place.run(&[&["-o", "json"], args].concat());
        assert!(!output.status.success(), "abide {args:?} succeeds");
        let errors = String::from_utf8_lossy(&output.stderr);
        let found = errors.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
        self.by(code, &found.unwrap_or_else(|| panic!("abide {args:?}: {errors}")));
    }
}

#[test]
fn every_code_that_can_be_met_is_met() {
    let mut met = Met(BTreeSet::new());
    requests::meet(&mut met);
    streams::meet(&mut met);
    commands::meet(&mut met);
    recoveries::meet(&mut met);
    let unmet: BTreeSet<Code> = UNMET.iter().map(|(code, _)| *code).collect();
    let both: Vec<&Code> = unmet.intersection(&met.0).collect();
    assert!(both.is_empty(), "these can be met: {both:?}");
    let missing: Vec<&Code> = Code::ALL.iter().filter(|code| !met.0.contains(code) && !unmet.contains(code)).collect();
    assert!(missing.is_empty(), "these are neither met nor excused: {missing:?}");
    println!("{} codes met, {} excused", met.0.len(), unmet.len());
}
