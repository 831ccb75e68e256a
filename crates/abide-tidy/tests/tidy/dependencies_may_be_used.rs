//! Licences and sources of everything that is built in.

use crate::tree::metadata;

/// Licences that ask for no more than to be named.
const LICENCES: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn every_dependency_comes_from_the_registry_under_a_permissive_licence() {
    let metadata = metadata();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(source) = &package.source else { continue };
        checked += 1;
        if source != REGISTRY {
            wrong.push(format!("{} {} comes from {source}", package.name, package.version));
        }
        let licence = package.license.as_deref().unwrap_or("none given");
        if !is_permitted(licence) {
            wrong.push(format!("{} {} has the licence {licence}", package.name, package.version));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked >= 20, "the dependencies were seen: {checked}");
}

#[test]
fn a_choice_needs_one_good_licence_and_a_sum_needs_all() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        "MIT AND (GPL-2.0-only OR (ISC AND Zlib))",
    ] {
        assert!(is_permitted(good), "{good}");
    }
    for bad in
        ["GPL-3.0", "", "none given", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "MIT OR", "(MIT", "MIT)"]
    {
        assert!(!is_permitted(bad), "{bad}");
    }
}

/// Whether what an SPDX expression asks for can be met by permitted licences alone.
fn is_permitted(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any(&mut rest).unwrap_or(false) && rest.is_empty()
}

/// Reads alternatives up to the end or a closing parenthesis; none if it is no expression.
fn any(words: &mut &[&str]) -> Option<bool> {
    let mut permitted = all(words)?;
    while take(words, "OR") {
        permitted |= all(words)?;
    }
    Some(permitted)
}

fn all(words: &mut &[&str]) -> Option<bool> {
    let mut permitted = one(words)?;
    while take(words, "AND") {
        permitted &= one(words)?;
    }
    Some(permitted)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let inner = any(words)?;
        return take(words, ")").then_some(inner);
    }
    if !take(words, "WITH") {
        return Some(LICENCES.contains(first));
    }
    let (exception, rest) = words.split_first()?;
    *words = rest;
    Some(LICENCES.contains(&&*format!("{first} WITH {exception}")))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}
