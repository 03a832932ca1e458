//! Reading the workspace: its crates by `cargo metadata`, its files from the disk.

use crate::walls::{Dependency, Member};
use serde_json::Value;
use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// Files that are read as text and must keep the rules of [`crate::files`].
const TEXT: &[&str] = &["rs", "md", "toml", "py", "sh", "sql"];

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The crates of the workspace.
///
/// # Errors
/// Cargo cannot be run or says something unexpected.
pub fn members(root: &Path) -> io::Result<Vec<Member>> {
    let output = cargo(root, &["metadata", "--no-deps", "--offline", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_slice(&output)?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    Ok(packages.iter().map(|package| member(root, package)).collect())
}

/// What the given selection of crates is built from: a line a package of others, with its features.
///
/// # Errors
/// Cargo cannot be run or refuses.
pub fn packages(root: &Path, selection: &[&str]) -> io::Result<String> {
    let format = ["tree", "--offline", "--prefix", "none", "--format", "{p} {f}"];
    let output = cargo(root, &[&format, selection].concat())?;
    let text = String::from_utf8_lossy(&output);
    // The workspace's own crates are shown with their folder, repeated packages with a mark.
    let others = text.lines().filter(|line| !line.contains(" (/") && !line.contains(" (C:"));
    let lines: Vec<&str> = others.map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(lines.join("\n"))
}

fn cargo(root: &Path, arguments: &[&str]) -> io::Result<Vec<u8>> {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn member(root: &Path, package: &Value) -> Member {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let folder = manifest.parent().unwrap_or(root);
    let folder = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
    let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
    let dependencies = dependencies
        .iter()
        .map(|dependency| Dependency {
            name: text(&dependency["name"]),
            internal: !dependency["path"].is_null(),
            tests_only: dependency["kind"] == "dev",
        })
        .collect();
    Member { name: text(&package["name"]), folder, dependencies }
}

/// All text files below the root, as paths from it, with their texts, sorted. Hidden folders other
/// than `.ci`, build folders and projects made by the program itself are left out.
///
/// # Errors
/// A file or folder cannot be read.
pub fn texts(root: &Path) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    collect(root, root, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            let hidden = (name.starts_with('.') && name != ".ci") || name == "target";
            // Cargo marks build folders by the first, the program its projects by the second.
            if !hidden && !path.join("CACHEDIR.TAG").exists() && !path.join(".tidewatch").exists() {
                collect(root, &path, found)?;
            }
            continue;
        }
        let is_text = path.extension().map_or_else(
            || path.starts_with(root.join(".ci")),
            |kind| TEXT.iter().any(|text| kind == *text),
        );
        if is_text {
            let text = std::fs::read_to_string(&path)?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push((path, text));
        }
    }
    Ok(())
}
