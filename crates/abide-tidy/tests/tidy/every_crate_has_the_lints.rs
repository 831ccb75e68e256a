//! Lints stand once, for the workspace.

use crate::tree::{files, root, short, text};

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let manifests = files(&root().join("crates"), "Cargo.toml");
    assert!(manifests.len() >= 3, "the crates were found: {}", manifests.len());
    for manifest in manifests {
        let table: toml::Table = toml::from_str(&text(&manifest)).expect("a manifest is TOML");
        let inherits = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(inherits, Some(true), "{}: add [lints] workspace = true", short(&manifest));
    }
}

#[test]
fn an_exception_from_a_lint_is_expected_with_a_reason() {
    let sources = files(&root().join("crates"), ".rs");
    assert!(sources.len() >= 20, "the sources were found: {}", sources.len());
    for source in sources {
        for (number, line) in text(&source).lines().enumerate() {
            let attribute = line.trim_start();
            let silences = ["#[allow(", "#![allow("].iter().any(|start| attribute.starts_with(start));
            assert!(!silences, "{}:{}: write #[expect(…, reason = …)]", short(&source), number + 1);
        }
    }
}
