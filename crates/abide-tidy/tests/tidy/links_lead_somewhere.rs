//! Links in pages lead to files and headings that are there.

use std::path::Path;

use crate::tree::{files, root, short, text};

#[test]
fn every_link_of_a_page_leads_to_something_in_the_repository() {
    let mut links = 0;
    let mut broken = Vec::new();
    for page in files(&root(), ".md") {
        for target in targets(&text(&page)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, heading) =
                target.split_once('#').map_or((&*target, None), |(path, heading)| (path, Some(heading)));
            let folder = page.parent().expect("a page lies in a folder");
            let file = if path.is_empty() { page.clone() } else { folder.join(path) };
            if !leads_somewhere(&file, heading) {
                broken.push(format!("{}: {target}", short(&page)));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(links >= 3, "links were found: {links}");
}

fn leads_somewhere(file: &Path, heading: Option<&str>) -> bool {
    match heading {
        None => file.exists(),
        Some(heading) => file.is_file() && headings(&text(file)).iter().any(|found| found == heading),
    }
}

/// The targets of `[text](target)` and `[name]: target`, without those in code.
fn targets(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            targets.extend(target.split_whitespace().next().map(str::to_owned));
        }
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.extend(inline.map(|(target, _)| target.split(' ').next().unwrap_or(target).to_owned()));
    }
    targets
}

/// The headings of a page as links name them.
fn headings(page: &str) -> Vec<String> {
    let titles = prose(page).into_iter().filter_map(|line| line.strip_prefix('#'));
    let slug = |title: &str| {
        let kept = title.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    titles.map(slug).collect()
}

/// The lines of a page that stand in no fenced block.
fn prose(page: &str) -> Vec<&str> {
    let mut fenced = false;
    let is_prose = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    };
    page.lines().filter(is_prose).collect()
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

#[test]
fn links_and_headings_are_read_as_a_browser_reads_them() {
    let page = "# A page, `with` code\n[a](b.md) and [c](d.md#e \"title\")\n`[x](y)`\n```\n[x](y)\n# no heading\n```\n[f]: g.md\n## Two_words-here\n";
    assert_eq!(targets(page), ["b.md", "d.md#e", "g.md"]);
    assert_eq!(headings(page), ["a-page-with-code", "two_words-here"]);
}
