//! Source files as users write them, right and wrong, through the crate's public interface.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by panicking")]

mod diagnostics;
mod expected_cells;
mod hostile;
mod many;
mod project;
mod values;

use source::{Diagnostics, Loaded, Source};
use std::path::Path;

/// A source in which all that is needed is there, and nothing else.
pub(crate) const SMALLEST: &str = r#"
[entities]
list = ["AAPL", "MSFT"]

[periods]
calendar = "daily"

[request]
url = "https://api.example.com/eod/{{ entity }}?date={{ period }}"

[extract]
format = "json"
records = "$.data[*]"

[extract.fields]
close = { path = "$.c", type = "decimal(18,6)" }
"#;

/// The environment of the tests: one secret.
pub(crate) fn environment(name: &str) -> Option<String> {
    match name {
        "EOD_TOKEN" => Some("s3cr3t-token".to_owned()),
        "EMPTY" => Some(String::new()),
        "TWO_LINES" => Some("a\nb".to_owned()),
        _ => None,
    }
}

/// A project of files in a folder that lasts as long as this value.
pub(crate) struct Project {
    pub(crate) dir: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sources")).unwrap();
        Self { dir }
    }

    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let project = Self::new();
        for (name, text) in files {
            project.write(name, text.as_bytes());
        }
        project
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    pub(crate) fn load(&self) -> Loaded {
        source::load(self.dir.path(), &environment)
    }
}

/// What is wrong with the text of one source file.
pub(crate) fn check(text: &str) -> Diagnostics {
    let (source, diagnostics) = parse(text);
    assert_eq!(source.is_none(), diagnostics.has_errors(), "{diagnostics}");
    diagnostics
}

/// A source file that has no mistake.
pub(crate) fn sound(text: &str) -> Source {
    let (source, diagnostics) = parse(text);
    assert!(diagnostics.0.is_empty(), "{diagnostics}");
    source.unwrap()
}

fn parse(text: &str) -> (Option<Source>, Diagnostics) {
    source::parse_source(Path::new("/nowhere"), Path::new("sources/a.toml"), text, &environment)
}

/// The smallest source with one text in it replaced.
pub(crate) fn with(old: &str, new: &str) -> String {
    assert!(SMALLEST.contains(old), "{old}");
    SMALLEST.replacen(old, new, 1).trim_start().to_owned()
}
