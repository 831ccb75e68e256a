//! `docs/errors.md` says what the registry says.

use std::fmt::Write as _;
use std::{env, fs};

use abide_wire::{Entry, Family, registry};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");

const INTRODUCTION: &str = "# Errors

Every error that leaves a process of Abide has a code, and every code has a class that says what its receiver may do, so
that a program can act on a code that it has never seen. This page is made from the registry in `abide-wire`
(`ABIDE_BLESS=1 cargo test -p abide-wire` writes it).

| class | what to do |
| --- | --- |
| `retry` | nothing happened: the same request, after a back-off |
| `resume` | attach or subscribe again, at the place that the error gives |
| `resolve` | look what happened, then decide |
| `fix_request` | the request itself must change |
| `give_up` | stop: a person, or another request, must change something first |
";

fn section(page: &mut String, title: &str, family: Family) {
    let entries: Vec<Entry> = registry().filter(|entry| entry.family == family).collect();
    let _ = write!(page, "\n## {title}\n\n| code | class |\n| --- | --- |\n");
    for Entry { spelling, retry, .. } in &entries {
        let _ = writeln!(page, "| `{spelling}` | {retry} |");
    }
    for Entry { spelling, retry, about, .. } in entries {
        let _ = write!(page, "\n### {spelling}\n\n");
        for line in about {
            let _ = writeln!(page, "{}", line.trim());
        }
        let _ = write!(page, "\nClass: `{retry}`.\n");
    }
}

#[test]
fn the_errors_page_is_what_the_registry_says() {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "Terminal sessions", Family::Terminal);
    section(&mut page, "Journal", Family::Journal);
    if env::var_os("ABIDE_BLESS").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    let committed = fs::read_to_string(PAGE).unwrap();
    assert!(committed == page, "docs/errors.md is stale: run ABIDE_BLESS=1 cargo test -p abide-wire");
}
