//! Who may depend on whom: one line a crate, and heavy dependencies that stay in one place.

use crate::Finding;
use std::collections::BTreeSet;

/// A crate of the workspace, as `cargo metadata` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its folder below the workspace's, `crates/model`.
    pub folder: String,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// Whether it is a crate of this workspace.
    pub internal: bool,
    /// Whether only tests and benchmarks have it.
    pub tests_only: bool,
}

/// What a crate may know of this workspace: the walls of ARCHITECTURE.md. A step of the way knows
/// no other step; only `engine` joins them. Tests keep to the same walls, apart from `ANY`.
const WALLS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("env", &[]),
    ("source", &["model"]),
    ("state", &["model"]),
    ("plan", &["model"]),
    ("pace", &["model", "env"]),
    ("fetch", &["model", "env"]),
    ("archive", &["model"]),
    ("extract", &["model"]),
    ("validate", &["model"]),
    ("lake", &["model"]),
    ("query", &["model", "lake"]),
    ("account", &["model"]),
    ("engine", ENGINE),
    ("onnx", &["plan"]),
    ("web", &[]),
    ("cli", ANY),
    ("id", &[]),
    ("sim", ANY),
    ("xtask", &[]),
];

const ANY: &[&str] = &["*"];

const ENGINE: &[&str] = &[
    "model", "env", "source", "state", "plan", "pace", "fetch", "archive", "extract", "validate",
    "lake", "account",
];

/// Packages (by the beginning of their names) and the crates that may name them.
const HEAVY: &[(&str, &[&str])] = &[
    ("datafusion", &["query"]),
    ("deltalake", &["lake"]),
    ("object_store", &["lake"]),
    ("parquet", &["lake", "query"]),
    ("rusqlite", &["state", "id"]),
    ("postgres", &["id"]),
    ("tokio-postgres", &["id"]),
    ("mysql", &["id"]),
    ("hyper", &["fetch", "sim", "web"]),
    ("rustls", &["fetch", "id"]),
    ("reqwest", &[]),
    ("toml", &["source", "sim", "pace"]),
    ("minijinja", &["source"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("tract", &["onnx"]),
    ("scraper", &["extract", "source"]),
    ("quick-xml", &["extract"]),
    ("rand", &["env"]),
];

/// All that `model` may be built from: text, time, errors. No I/O and no runtime.
const MODEL_MAY: &[&str] = &["serde", "jiff", "thiserror"];

/// Dependencies that break a wall.
pub fn broken_walls(members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        let Some((_, allowed)) = WALLS.iter().find(|(name, _)| *name == member.name) else {
            findings.push(Finding::new(
                &member.name,
                "has no line in the table of walls (xtask/src/walls.rs)",
            ));
            continue;
        };
        let internal = member.dependencies.iter().filter(|dependency| dependency.internal);
        for dependency in internal.filter(|_| *allowed != ANY) {
            if !allowed.contains(&dependency.name.as_str()) {
                findings.push(Finding::new(
                    &member.name,
                    format!("must not know `{}`: the engine joins them", dependency.name),
                ));
            }
        }
    }
    findings
}

/// Heavy dependencies outside of their crate, and what `model` must not have.
pub fn strayed_dependencies(members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        for dependency in member.dependencies.iter().filter(|dependency| !dependency.internal) {
            let at_home = |(prefix, homes): &&(&str, &[&str])| {
                is_of(&dependency.name, prefix) && !homes.contains(&member.name.as_str())
            };
            if let Some((_, homes)) = HEAVY.iter().find(at_home) {
                findings.push(Finding::new(
                    &member.name,
                    format!("depends on `{}`, which is for {homes:?} only", dependency.name),
                ));
            }
            if member.name == "model"
                && !dependency.tests_only
                && !MODEL_MAY.contains(&dependency.name.as_str())
            {
                findings.push(Finding::new(
                    "model",
                    format!(
                        "depends on `{}`: it holds nouns, built from {MODEL_MAY:?} only",
                        dependency.name
                    ),
                ));
            }
        }
    }
    findings
}

/// Packages of the first list (lines of name, version and features) that the second has with other
/// features only: they, and all that stands on them, are compiled twice.
pub fn built_twice(program: &str, tests: &str) -> Vec<Finding> {
    let name_of = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let of_tests: BTreeSet<&str> = tests.lines().collect();
    let differs = |line: &&str| !line.is_empty() && !of_tests.contains(line);
    let names: BTreeSet<String> = program.lines().filter(differs).map(name_of).collect();
    let message = "has other features in the tests than in the program, so the second command compiles it again, \
                   with all that depends on it: give it the same ones in `[workspace.dependencies]`";
    names.into_iter().map(|name| Finding::new(name, message)).collect()
}

/// `hyper` and `hyper-util`, but not `hyperloglog`.
fn is_of(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: &[(&str, bool)]) -> Member {
        let dependencies = dependencies
            .iter()
            .map(|&(name, internal)| Dependency {
                name: name.to_owned(),
                internal,
                tests_only: false,
            })
            .collect();
        Member { name: name.to_owned(), folder: format!("crates/{name}"), dependencies }
    }

    #[test]
    fn a_step_that_knows_another_step_is_found() {
        assert_eq!(broken_walls(&[member("fetch", &[("model", true)])]), []);
        assert_eq!(broken_walls(&[member("fetch", &[("extract", true)])]).len(), 1);
        assert_eq!(broken_walls(&[member("model", &[("env", true)])]).len(), 1);
    }

    #[test]
    fn a_crate_without_walls_is_found() {
        assert_eq!(broken_walls(&[member("helpers", &[])]).len(), 1);
    }

    #[test]
    fn a_heavy_dependency_outside_of_its_crate_is_found() {
        assert_eq!(strayed_dependencies(&[member("query", &[("datafusion", false)])]), []);
        assert_eq!(
            strayed_dependencies(&[member("engine", &[("datafusion-expr", false)])]).len(),
            1
        );
        assert_eq!(strayed_dependencies(&[member("engine", &[("hyper-util", false)])]).len(), 1);
        assert_eq!(strayed_dependencies(&[member("engine", &[("hyperloglog", false)])]), []);
    }

    #[test]
    fn a_package_with_other_features_in_tests_is_found() {
        let program = "tokio v1.0.0 net,time\nurl v2.0.0 std\n";
        assert_eq!(
            built_twice(program, "proptest v1.0.0 std\ntokio v1.0.0 net,time\nurl v2.0.0 std\n"),
            []
        );
        let found = built_twice(program, "tokio v1.0.0 net,test-util,time\nurl v2.0.0 std\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "tokio");
    }

    #[test]
    fn a_runtime_in_model_is_found() {
        assert_eq!(strayed_dependencies(&[member("model", &[("serde", false)])]), []);
        assert_eq!(strayed_dependencies(&[member("model", &[("tokio", false)])]).len(), 1);
    }
}
