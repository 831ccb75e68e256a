//! The layers of the workspace. A crate that needs something from above takes it as a trait.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Metadata, metadata};

/// Each crate with those that it may know, the highest first: nobody may know a crate above itself.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "abide",
        &[
            "abide-api",
            "abide-control-plane",
            "abide-docd",
            "abide-controller",
            "abide-logd",
            "abide-terminal",
            "abide-replica",
            "abide-pool",
            "abide-journal",
            "abide-wire",
            "abide-holder",
            "abide-screen",
            "abide-ring",
        ],
    ),
    ("abide-api", &["abide-control-plane", "abide-docd", "abide-controller", "abide-logd", "abide-wire"]),
    ("abide-control-plane", &["abide-controller", "abide-logd", "abide-wire"]),
    ("abide-docd", &["abide-controller", "abide-logd", "abide-wire"]),
    ("abide-controller", &["abide-logd", "abide-wire"]),
    ("abide-logd", &["abide-journal", "abide-wire"]),
    ("abide-terminal", &["abide-journal", "abide-wire", "abide-holder", "abide-screen", "abide-ring"]),
    // Drives a terminal for tests and examples; reads screens, starts programs, knows no session.
    ("abide-drive", &["abide-screen"]),
    ("abide-replica", &["abide-journal"]),
    ("abide-pool", &[]),
    ("abide-journal", &[]),
    ("abide-wire", &[]),
    ("abide-holder", &["abide-ring"]),
    ("abide-screen", &[]),
    ("abide-ring", &[]),
    ("abide-sim", &[]),
    ("abide-tidy", &[]),
];

/// For tests alone: no crate that is delivered knows them.
const FOR_TESTS: [&str; 2] = ["abide-sim", "abide-drive"];

#[test]
fn the_table_itself_points_downwards() {
    let place: BTreeMap<&str, usize> = LAYERS.iter().enumerate().map(|(i, &(name, _))| (name, i)).collect();
    assert_eq!(place.len(), LAYERS.len(), "no crate stands twice");
    for (name, known) in LAYERS {
        for below in *known {
            assert!(place[below] > place[name], "{name} may not know {below}: it stands above");
        }
    }
}

#[test]
fn no_crate_knows_another_that_it_may_not() {
    let (checked, wrong) = check(&metadata());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 0, "crates of the workspace know each other");
}

#[test]
fn an_arrow_that_points_upwards_is_found() {
    let package = |name: &str, dependency: &str, kind: &str| {
        format!(
            r#"{{"name":"{name}","version":"0.1.0","license":null,"source":null,
                "dependencies":[{{"name":"{dependency}","kind":{kind}}}]}}"#
        )
    };
    let found = |name, dependency, kind| {
        let others = ["abide-ring", "abide-terminal", "abide-sim"].map(|other| package(other, "libc", "null"));
        let packages = [package(name, dependency, kind)].into_iter().chain(others).collect::<Vec<_>>().join(",");
        let metadata: Metadata = serde_json::from_str(&format!(r#"{{"packages":[{packages}]}}"#)).expect("it is JSON");
        check(&metadata).1.len()
    };
    assert_eq!(found("abide-wire", "abide-ring", "null"), 1);
    assert_eq!(found("abide-holder", "abide-ring", "null"), 0);
    assert_eq!(found("abide-screen", "abide-terminal", r#""dev""#), 1);
    assert_eq!(found("abide-screen", "abide-sim", r#""dev""#), 0);
    assert_eq!(found("abide-screen", "abide-sim", "null"), 1);
    assert_eq!(found("abide-surprise", "libc", "null"), 1);
}

/// Counts the arrows between crates of this repository, and names those that may not be.
fn check(metadata: &Metadata) -> (usize, Vec<String>) {
    let own: BTreeSet<&str> =
        metadata.packages.iter().filter(|package| package.source.is_none()).map(|package| &*package.name).collect();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.source.is_none()) {
        let Some((_, known)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} stands in no layer: give it a place in LAYERS", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| own.contains(&*dependency.name)) {
            checked += 1;
            let for_tests = dependency.kind.as_deref() == Some("dev") && FOR_TESTS.contains(&&*dependency.name);
            if !for_tests && !known.contains(&&*dependency.name) {
                wrong.push(format!("{} may not know {}", package.name, dependency.name));
            }
        }
    }
    (checked, wrong)
}
