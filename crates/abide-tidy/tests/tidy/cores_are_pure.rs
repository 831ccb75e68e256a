//! Cores know no socket, no clock, no file, no thread and no chance, so that they run the same in production and under a
//! simulation's seed.

use std::path::{Path, PathBuf};

use crate::tree::{files, root, short, text};

/// Files and folders that are pure although they lie in no folder named `core`.
const PURE: [&str; 23] = [
    "crates/abide-journal/src/format",
    "crates/abide-screen/src",
    "crates/abide-sim/src/clock.rs",
    "crates/abide-sim/src/rng.rs",
    "crates/abide-terminal/src/ids.rs",
    "crates/abide-terminal/src/intake.rs",
    "crates/abide-terminal/src/kill",
    "crates/abide-terminal/src/names",
    "crates/abide-terminal/src/options",
    "crates/abide-terminal/src/procs/members.rs",
    "crates/abide-terminal/src/procs/mod.rs",
    "crates/abide-terminal/src/program/environment.rs",
    "crates/abide-terminal/src/program/failure.rs",
    "crates/abide-terminal/src/protocol",
    "crates/abide-terminal/src/record.rs",
    "crates/abide-terminal/src/recover",
    "crates/abide-terminal/src/refusals.rs",
    "crates/abide-terminal/src/session",
    "crates/abide-terminal/src/store",
    "crates/abide-terminal/src/stream",
    "crates/abide-wire/src/code.rs",
    "crates/abide-wire/src/frame.rs",
    "crates/abide-wire/src/request_id.rs",
];

/// Names that a core may not use, wherever they come from.
const FORBIDDEN_NAMES: [&str; 9] =
    ["tokio", "rustix", "getrandom", "rand", "HashMap", "HashSet", "SystemTime", "Mutex", "println"];

/// Modules of the standard library that a core may not use.
const FORBIDDEN_MODULES: [&str; 5] = ["net", "fs", "thread", "process", "env"];

#[test]
fn no_core_uses_what_is_outside_of_it() {
    let cores = pure_files();
    let mut wrong = Vec::new();
    for core in &cores {
        let found = outside_names(&text(core));
        wrong.extend(found.into_iter().map(|(line, name)| format!("{}:{line}: {name}", short(core))));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(cores.len() >= PURE.len());
}

#[test]
fn what_is_outside_is_found_however_it_is_written() {
    for bad in [
        "use std::fs;",
        "use std::{collections::BTreeMap, net};",
        "use std::{io::{self, Read}, thread};",
        "let now = std::time::Instant::now();",
        "let now = Instant :: now();",
        "use std::collections::{BTreeMap, HashMap};",
        "async fn f() { tokio::spawn(x) }",
        "let x = std::env::var(\"A\");",
        "/* a comment */ use std::net::TcpListener;",
        "let c = '\"'; use std::fs;",
        "fn f<'a>(x: &'a str) { std::fs::read(x) }",
        "#[cfg(test)] mod tests { use std::fs; } use std::net;",
    ] {
        assert_eq!(outside_names(bad).len(), 1, "{bad}");
    }
    for good in [
        "// use std::fs;",
        "/* std::net /* nested */ tokio */",
        "let text = \"std::fs \\\" tokio\";",
        "let text = r#\"std::fs \" tokio\"#;",
        "use std::collections::BTreeMap; use crate::fs;",
        "let random = 7; let tokio_like = operand;",
        "fn at(now: Instant) { now }",
        "#[cfg(test)] mod tests { fn f() { std::fs::read(x) } }",
        "#[cfg(test)] use std::fs;",
    ] {
        assert_eq!(outside_names(good), [], "{good}");
    }
    assert_eq!(outside_names("\n\nuse std::fs;"), [(3, "std::fs".to_owned())]);
}

/// The named files and folders, and all folders named `core`, without tests.
fn pure_files() -> Vec<PathBuf> {
    let named = PURE.iter().map(|name| root().join(name));
    let named = named.flat_map(|path| if path.is_dir() { files(&path, ".rs") } else { vec![path] });
    let is_core = |path: &PathBuf| {
        let mut parts = path.strip_prefix(root()).unwrap_or(path).iter().skip(2);
        parts.next().is_some_and(|part| part == "src") && parts.any(|part| part == "core")
    };
    let cores = files(&root().join("crates"), ".rs").into_iter().filter(is_core);
    named.chain(cores).filter(|path| !is_tests(path)).collect()
}

fn is_tests(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default();
    stem == "tests" || path.iter().any(|part| part == "tests")
}

/// The lines and names in a source that reach outside.
fn outside_names(source: &str) -> Vec<(usize, String)> {
    let tokens = without_tests(tokens(source));
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let next = |n: usize| tokens.get(at + n).map_or("", |token| &*token.text);
        if FORBIDDEN_NAMES.contains(&&*token.text) {
            found.push((token.line, token.text.clone()));
        } else if token.text == "Instant" && (next(1), next(2)) == ("::", "now") {
            found.push((token.line, "Instant::now".to_owned()));
        } else if token.text == "std" && next(1) == "::" {
            let modules = if next(2) == "{" { members(&tokens[at + 3..]) } else { vec![next(2).to_owned()] };
            let forbidden = modules.iter().filter(|module| FORBIDDEN_MODULES.contains(&&***module));
            found.extend(forbidden.map(|module| (token.line, format!("std::{module}"))));
        }
    }
    found
}

#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

/// The first names in a list in braces whose opening brace was just passed.
fn members(tokens: &[Token]) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for token in tokens {
        match &*token.text {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            name if begins && depth == 0 => names.push(name.to_owned()),
            _ => {}
        }
        begins = token.text == ",";
    }
    names
}

/// Leaves out each item behind `#[cfg(test)]`, up to the end of its block or its semicolon.
fn without_tests(mut tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let is_mark = |tokens: &[Token]| tokens.iter().map(|token| &*token.text).eq(MARK);
    while let Some(start) = tokens.windows(MARK.len()).position(is_mark) {
        let mut depth = 0;
        let is_end = |token: &Token| {
            depth += i32::from(token.text == "{") - i32::from(token.text == "}");
            depth == 0 && matches!(&*token.text, "}" | ";")
        };
        let item = start + MARK.len();
        let end = tokens[item..].iter().position(is_end).map_or(tokens.len(), |length| item + length + 1);
        tokens.drain(start..end);
    }
    tokens
}

/// Cuts a source into names, `::` and single other characters, without comments and without the insides of texts.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while at < chars.len() {
        let end = end_of(&chars, at).max(at + 1);
        let text: String = chars[at..end].iter().collect();
        if is_token(&text) {
            tokens.push(Token { line, text: text.clone() });
        }
        line += text.matches('\n').count();
        at = end;
    }
    tokens
}

fn is_token(text: &str) -> bool {
    let is_text = text.len() > 1 && (text.ends_with(['"', '#', '\'']) || text.starts_with('\''));
    !text.starts_with("//") && !text.starts_with("/*") && !is_text && !text.trim().is_empty()
}

/// Where the piece of source that begins here ends.
fn end_of(chars: &[char], at: usize) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let find =
        |from: usize, stop: &dyn Fn(usize) -> bool| (from..chars.len()).find(|&i| stop(i)).unwrap_or(chars.len());
    match (chars[at], chars.get(at + 1)) {
        ('/', Some('/')) => find(at, &|i| chars[i] == '\n'),
        ('/', Some('*')) => end_of_comment(chars, at),
        ('"', _) => end_of_text(chars, at),
        ('r', Some('"' | '#')) => end_of_raw_text(chars, at),
        (':', Some(':')) => at + 2,
        // A character, or the name of a lifetime.
        ('\'', Some('\\')) => find(at + 3, &|i| chars[i] == '\'') + 1,
        ('\'', _) if chars.get(at + 2) == Some(&'\'') => at + 3,
        ('\'', _) => find(at + 1, &|i| !is_name(chars[i])),
        (first, _) if is_name(first) => find(at, &|i| !is_name(chars[i])),
        _ => at + 1,
    }
    .min(chars.len())
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_text(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_raw_text(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|&&c| c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        // A raw name such as r#type.
        return start + 1;
    }
    let is_end =
        |&i: &usize| chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    (open + 1..chars.len()).find(is_end).map_or(chars.len(), |end| end + 1 + hashes)
}
