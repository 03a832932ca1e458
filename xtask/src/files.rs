//! House rules of single files.

use crate::Finding;

/// A longer file says at its top why it is.
const LINES_MAX: usize = 700;
/// Words with which a long file begins its reason.
const LONG_REASON: &str = "Long because";
/// Where a reason is looked for.
const TOP_LINES: usize = 25;

/// Things that do not stay in finished code. Written in two parts, so that this file has none.
const UNFINISHED: &[(&str, &str)] =
    &[("to", "do!("), ("unimple", "mented!("), ("db", "g!("), ("#[ig", "nore"), ("FIX", "ME")];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[(&str, &str)] =
    &[("/ho", "me/"), ("/ro", "ot/"), ("/wo", "rk/"), ("/Us", "ers/")];

/// Every rule that a text file must keep.
pub fn findings(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = blanks(file, text);
    findings.extend(machine_paths(file, text));
    findings.extend(too_long(file, text));
    if has_kind(file, "rs") {
        findings.extend(unfinished(file, text));
        findings.extend(unbiased_selects(file, text));
        findings.extend(undescribed_crate(file, text));
    }
    findings
}

/// Whether a file's name ends with `.` and `kind`.
pub fn has_kind(file: &str, kind: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, found)| found == kind)
}

/// Blanks at the end of a line, and files that do not end with one line break.
pub fn blanks(file: &str, text: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = lines(text)
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(number, _)| Finding::at(file, number, "ends with a blank"))
        .collect();
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        findings.push(Finding::new(file, "does not end with exactly one line break"));
    }
    findings
}

/// Paths that exist on one machine only.
pub fn machine_paths(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in lines(text) {
        for (first, second) in MACHINE_PATHS {
            let path = format!("{first}{second}");
            let absolute = line.match_indices(&path).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.' | '}'))
            });
            if absolute {
                findings.push(Finding::at(
                    file,
                    number,
                    format!("names a path of one machine (`{path}`)"),
                ));
            }
        }
    }
    findings
}

/// Files of more than 700 lines without a reason at their top.
pub fn too_long(file: &str, text: &str) -> Vec<Finding> {
    let count = text.lines().count();
    let reason = text.lines().take(TOP_LINES).any(|line| line.contains(LONG_REASON));
    if count <= LINES_MAX || reason {
        return Vec::new();
    }
    vec![Finding::new(
        file,
        format!(
            "has {count} lines: split it, or say `{LONG_REASON} ...` in its first {TOP_LINES} lines"
        ),
    )]
}

/// Leftovers of unfinished work.
pub fn unfinished(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in lines(text) {
        for (first, second) in UNFINISHED {
            let leftover = format!("{first}{second}");
            if line.contains(&leftover) {
                findings.push(Finding::at(file, number, format!("has `{leftover}`")));
            }
        }
    }
    findings
}

/// `select!` whose branches are tried in random order, which no seed repeats.
pub fn unbiased_selects(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, found) in text.match_indices("select!") {
        let line = text[..at].lines().last().unwrap_or_default();
        if line.trim_start().starts_with("//") {
            continue;
        }
        let inside = text[at + found.len()..].trim_start();
        if let Some(inside) = inside.strip_prefix(['{', '('])
            && !inside.trim_start().starts_with("biased;")
        {
            let number = text[..at].matches('\n').count() + 1;
            findings.push(Finding::at(
                file,
                number,
                "begins without `biased;`, so no seed repeats it",
            ));
        }
    }
    findings
}

/// A crate that does not say in its first line what it is.
pub fn undescribed_crate(file: &str, text: &str) -> Vec<Finding> {
    let root = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
    let described = text
        .strip_prefix("//! ")
        .is_some_and(|rest| rest.lines().next().is_some_and(|line| line.len() > 20));
    if root && !described {
        vec![Finding::new(file, "does not begin with `//! ` and what the crate is")]
    } else {
        Vec::new()
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split('\n').enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_found() {
        assert_eq!(blanks("a", "x\ny\n"), []);
        assert_eq!(blanks("a", "x \ny\n"), [Finding::at("a", 1, "ends with a blank")]);
        assert_eq!(blanks("a", "x\r\n").len(), 1);
        assert_eq!(blanks("a", "x").len(), 1);
        assert_eq!(blanks("a", "x\n\n").len(), 1);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let path = |parts: [&str; 2]| parts.concat();
        assert_eq!(machine_paths("a", "see crates/wo/rk and https://a.example/wo"), []);
        assert_eq!(machine_paths("a", &path(["see a/wo", "rk/b"])), []);
        assert_eq!(machine_paths("a", &path(["see $HOME/x, not \"/ro", "ot/x\""])).len(), 1);
        assert_eq!(machine_paths("a", &path(["/wo", "rk/x"])).len(), 1);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(too_long("a", &"x\n".repeat(LINES_MAX)), []);
        assert_eq!(too_long("a", &long).len(), 1);
        assert_eq!(too_long("a", &format!("//! Long because it is a list.\n{long}")), []);
    }

    #[test]
    fn leftovers_are_found() {
        assert_eq!(unfinished("a.rs", "fn done() {}\n"), []);
        for (first, second) in UNFINISHED {
            assert_eq!(unfinished("a.rs", &format!("{first}{second}\n")).len(), 1);
        }
    }

    #[test]
    fn a_select_by_chance_is_found() {
        // In two parts, so that this file keeps the rule.
        let with = |body: &str| format!("{{\n    tokio::{}{} {{\n    {body}\n}}}}", "sel", "ect!");
        assert_eq!(unbiased_selects("a.rs", &with("biased;\n    x => {}")), []);
        assert_eq!(unbiased_selects("a.rs", &format!("// {}", with("x").replace('\n', " "))), []);
        let found = unbiased_selects("a.rs", &with("x => {}"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "a.rs:2");
    }

    #[test]
    fn a_crate_that_does_not_say_what_it_is_is_found() {
        assert_eq!(
            undescribed_crate("crates/a/src/lib.rs", "//! Says in a sentence what it is.\n"),
            []
        );
        assert_eq!(undescribed_crate("crates/a/src/lib.rs", "//! query\n").len(), 1);
        assert_eq!(undescribed_crate("crates/a/src/main.rs", "fn main() {}\n").len(), 1);
        assert_eq!(undescribed_crate("crates/a/src/b.rs", "fn b() {}\n"), []);
    }
}
