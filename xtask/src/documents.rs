//! Whether the documents say what is so.

use crate::Finding;
use std::collections::{BTreeMap, BTreeSet};

/// The headings of each decision.
pub const DECISION_HEADINGS: &[&str] =
    &["## Context", "## Choice", "## Refused", "## How we would notice that it was wrong"];

/// The code map names every crate of the workspace and nothing else: lines that begin with
/// ``- `folder`: ``.
pub fn code_map(text: &str, folders: &[&str]) -> Vec<Finding> {
    let place = "ARCHITECTURE.md";
    let map = section(text, "## Code map");
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for line in map.lines() {
        if let Some((folder, _)) = line.strip_prefix("- `").and_then(|rest| rest.split_once("`:")) {
            *named.entry(folder).or_default() += 1;
        }
    }
    let missing = folders
        .iter()
        .filter(|folder| !named.contains_key(**folder))
        .map(|folder| Finding::new(place, format!("the code map does not name `{folder}`")));
    let wrong = named.iter().filter_map(|(folder, &times)| {
        let message = match (folders.contains(folder), times) {
            (true, 1) => return None,
            (true, _) => format!("the code map names `{folder}` {times} times"),
            (false, _) => {
                format!("the code map names `{folder}`, which is no crate of the workspace")
            }
        };
        Some(Finding::new(place, message))
    });
    missing.chain(wrong).collect()
}

/// Decisions are numbered without gaps, titled with their number, and have the four headings.
pub fn decisions(files: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, (file, text)) in files.iter().enumerate() {
        let number = format!("{:04}", index + 1);
        let name = file.rsplit('/').next().unwrap_or(file);
        if !name.starts_with(&format!("{number}-")) {
            findings.push(Finding::new(*file, format!("should have the number {number}")));
        }
        if !text.starts_with(&format!("# {number}: ")) {
            findings.push(Finding::new(
                *file,
                format!("does not begin with `# {number}: ` and its title"),
            ));
        }
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        if found != DECISION_HEADINGS {
            findings.push(Finding::new(
                *file,
                format!("has the headings {found:?}, not {DECISION_HEADINGS:?}"),
            ));
        }
    }
    findings
}

/// The glossary's words, each once: lines that begin with `- **word**: `.
pub fn glossary(file: &str, text: &str) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((words, meaning)) =
            line.strip_prefix("- **").and_then(|rest| rest.split_once("**: "))
        else {
            if line.starts_with("- ") {
                findings.push(Finding::at(
                    file,
                    index + 1,
                    "is not of the form `- **word**: meaning`",
                ));
            }
            continue;
        };
        if meaning.trim().is_empty() {
            findings.push(Finding::at(file, index + 1, format!("`{words}` has no meaning")));
        }
        if !seen.insert(words.to_lowercase()) {
            findings.push(Finding::at(file, index + 1, format!("`{words}` is explained twice")));
        }
    }
    if seen.is_empty() {
        findings.push(Finding::new(file, "explains no word"));
    }
    findings
}

/// Keys of source files, as `keys.rs` lists them, that the reference names neither as `` `key` `` nor,
/// for a table, as `` `[key]` ``.
pub fn undocumented_keys(keys: &str, file: &str, reference: &str) -> Vec<Finding> {
    let names = key_names(keys);
    let mut findings: Vec<Finding> = names
        .iter()
        .filter(|name| {
            !reference.contains(&format!("`{name}`")) && !reference.contains(&format!("`[{name}]`"))
        })
        .map(|name| Finding::new(file, format!("does not name the key `{name}`")))
        .collect();
    if names.len() < 50 {
        findings
            .push(Finding::new(file, format!("only {} keys were found in keys.rs", names.len())));
    }
    findings
}

/// The first argument of each `key(...)` and `required(...)`.
fn key_names(keys: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for call in ["key(", "required("] {
        for (at, _) in keys.match_indices(call) {
            let inside = keys[at + call.len()..].trim_start();
            if let Some((name, _)) = inside.strip_prefix('"').and_then(|rest| rest.split_once('"'))
            {
                names.insert(name);
            }
        }
    }
    names
}

/// Relative links of a Markdown file: `target`, `target#anchor` and `#anchor`.
pub fn relative_links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            if let Some((target, _)) = line[at + 2..].split_once(')')
                && !target.contains("://")
                && !target.starts_with("mailto:")
            {
                links.push((index + 1, target));
            }
        }
    }
    links
}

/// The anchors that a Markdown file's headings make.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let headings = text.lines().filter(|line| {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        !in_code && line.starts_with('#')
    });
    let slug = |heading: &str| -> String {
        heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings.map(slug).collect()
}

/// The commands of the first two `sh` blocks of README.
pub fn first_commands(readme: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    for block in readme.split("```sh\n").skip(1).take(2) {
        let block = block.split("```").next().unwrap_or_default();
        commands.extend(
            block.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')),
        );
    }
    commands
}

/// Commands of README that CI does not run in the same words.
pub fn untested_commands(readme: &str, ci: &str) -> Vec<Finding> {
    let commands = first_commands(readme);
    let mut findings: Vec<Finding> = commands
        .iter()
        .filter(|command| !ci.lines().any(|line| line.trim().ends_with(*command)))
        .map(|command| {
            Finding::new("README.md", format!("`{command}` is not run by .ci/run in these words"))
        })
        .collect();
    if commands.len() != 2 {
        findings.push(Finding::new(
            "README.md",
            format!("begins with {} commands, not two", commands.len()),
        ));
    }
    findings
}

/// The text of a section, up to the next heading of its level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let Some((_, rest)) = text.split_once(&format!("\n{heading}\n")) else { return "" };
    rest.split("\n## ").next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_map_that_differs_from_the_workspace_is_found() {
        let text = "# A\n\n## Code map\n\n- `crates/a`: what it is\n- `crates/b`: what\n\n## More\n- `crates/c`: no\n";
        assert_eq!(code_map(text, &["crates/a", "crates/b"]), []);
        assert_eq!(code_map(text, &["crates/a"]).len(), 1);
        assert_eq!(code_map(text, &["crates/a", "crates/b", "crates/c"]).len(), 1);
        assert_eq!(code_map("no map", &["crates/a"]).len(), 1);
    }

    #[test]
    fn a_decision_without_its_parts_is_found() {
        let good = "# 0001: It\n## Context\n## Choice\n## Refused\n## How we would notice that it was wrong\n";
        assert_eq!(decisions(&[("d/0001-it.md", good)]), []);
        assert_eq!(decisions(&[("d/0001-it.md", &good.replace("## Refused\n", ""))]).len(), 1);
        assert_eq!(decisions(&[("d/0002-it.md", good)]).len(), 1);
        assert_eq!(decisions(&[("d/0001-it.md", &good.replace("# 0001: ", "# "))]).len(), 1);
    }

    #[test]
    fn a_word_explained_twice_is_found() {
        assert_eq!(glossary("g", "# G\n- **cell**: one\n- **grid**: two\n"), []);
        assert_eq!(glossary("g", "- **cell**: one\n- **Cell**: two\n").len(), 1);
        assert_eq!(glossary("g", "- cell: one\n").len(), 2);
    }

    #[test]
    fn a_key_that_the_reference_forgot_is_found() {
        let keys = "key(\"name\", Kind::Text, \"x\"),\n required(\n    \"url\",\n) later(\"arrival\"), const fn key(name";
        assert_eq!(key_names(keys), BTreeSet::from(["name", "url"]));
        let found = undocumented_keys(keys, "r", "| `name` |");
        assert!(found.iter().any(|finding| finding.message.contains("`url`")), "{found:?}");
    }

    #[test]
    fn links_and_anchors_are_read() {
        let text = "# One thing\n[a](b.md) [c](https://d) [e](#one-thing)\n```\n[no](no.md)\n```\n";
        assert_eq!(relative_links(text), [(2, "b.md"), (2, "#one-thing")]);
        assert_eq!(anchors(text), BTreeSet::from(["one-thing".to_owned()]));
    }

    #[test]
    fn a_command_that_ci_does_not_run_is_found() {
        let readme = "```sh\ncargo run\n```\n\n```sh\ncargo test\n```\n```sh\nother\n```\n";
        assert_eq!(untested_commands(readme, "stage x cargo run\ncargo test\n"), []);
        assert_eq!(untested_commands(readme, "cargo test --workspace\ncargo run\n").len(), 1);
    }
}
