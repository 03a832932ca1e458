//! The workspace as it stands keeps its own rules.
#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::{path::Path, sync::LazyLock};
use xtask::{Finding, documents, files, walls, workspace};

static TEXTS: LazyLock<Vec<(String, String)>> =
    LazyLock::new(|| workspace::texts(&workspace::root()).unwrap());

static MEMBERS: LazyLock<Vec<walls::Member>> =
    LazyLock::new(|| workspace::members(&workspace::root()).unwrap());

fn text(path: &str) -> &'static str {
    match TEXTS.iter().find(|(name, _)| name == path) {
        Some((_, text)) => text,
        None => panic!("{path} is missing"),
    }
}

#[track_caller]
fn assert_none(findings: &[Finding]) {
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), list.join("\n"));
}

#[test]
fn the_workspace_is_seen() {
    assert!(MEMBERS.len() >= 15, "{MEMBERS:?}");
    assert!(MEMBERS.iter().any(|member| member.folder == "crates/engine"), "{MEMBERS:?}");
    assert!(TEXTS.len() > 150, "{} files", TEXTS.len());
}

#[test]
fn crates_keep_to_their_walls() {
    assert_none(&walls::broken_walls(&MEMBERS));
}

#[test]
fn heavy_dependencies_stay_in_one_place() {
    assert_none(&walls::strayed_dependencies(&MEMBERS));
}

#[test]
fn files_keep_the_house_rules() {
    let findings: Vec<Finding> =
        TEXTS.iter().flat_map(|(file, text)| files::findings(file, text)).collect();
    assert_none(&findings);
}

#[test]
fn the_code_map_names_every_crate() {
    let folders: Vec<&str> = MEMBERS.iter().map(|member| member.folder.as_str()).collect();
    assert_none(&documents::code_map(text("ARCHITECTURE.md"), &folders));
}

#[test]
fn decisions_have_their_parts() {
    let decisions: Vec<(&str, &str)> = TEXTS
        .iter()
        .filter(|(file, _)| file.starts_with("docs/decisions/"))
        .map(|(file, text)| (file.as_str(), text.as_str()))
        .collect();
    assert!(decisions.len() >= 9, "{} decisions", decisions.len());
    assert_none(&documents::decisions(&decisions));
}

#[test]
fn words_have_one_meaning() {
    assert_none(&documents::glossary("docs/glossary.md", text("docs/glossary.md")));
}

#[test]
fn every_key_of_a_source_file_is_documented() {
    let reference = "docs/source-files.md";
    assert_none(&documents::undocumented_keys(
        text("crates/source/src/keys.rs"),
        reference,
        text(reference),
    ));
}

#[test]
fn links_lead_somewhere() {
    let root = workspace::root();
    let mut findings = Vec::new();
    for (file, markdown) in TEXTS.iter().filter(|(file, _)| files::has_kind(file, "md")) {
        let folder = Path::new(file).parent().unwrap();
        for (line, link) in documents::relative_links(markdown) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { root.join(file) } else { root.join(folder).join(path) };
            if !target.exists() {
                findings.push(Finding::at(file, line, format!("`{link}` leads nowhere")));
            } else if !anchor.is_empty()
                && !documents::anchors(&std::fs::read_to_string(&target).unwrap()).contains(anchor)
            {
                findings.push(Finding::at(
                    file,
                    line,
                    format!("`{link}` names a heading that is not there"),
                ));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn the_first_two_commands_are_those_that_ci_runs() {
    assert_none(&documents::untested_commands(text("README.md"), text(".ci/run")));
}

#[test]
fn the_second_command_compiles_no_dependency_of_the_first_again() {
    let root = workspace::root();
    let program = workspace::packages(&root, &["--edges", "normal,build"]).unwrap();
    let tests = workspace::packages(&root, &["--workspace"]).unwrap();
    assert!(program.lines().count() > 100, "{program}");
    assert_none(&walls::built_twice(&program, &tests));
}
