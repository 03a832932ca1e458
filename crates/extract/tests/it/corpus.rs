//! Every upstream layout seen so far: `tests/corpus/<source>/`, with `source.json` (what is
//! declared), `*.body` (what came) and `*.expected` (what it became).
//!
//! To change an expectation on purpose, copy the file that the failure names over it.

use crate::table::{extract, spec};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

#[test]
fn every_body_of_the_corpus_becomes_what_is_expected() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut unlike = Vec::new();
    let mut bodies = 0;
    for source in sorted(&corpus) {
        let declared: serde_json::Value =
            serde_json::from_slice(&fs::read(source.join("source.json")).unwrap()).unwrap();
        let fields: Vec<&str> = declared["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line.as_str().unwrap())
            .collect();
        let spec = spec(declared["records"].as_str().unwrap(), declared["empty"].as_str(), &fields);
        for body in
            sorted(&source).into_iter().filter(|file| file.extension().is_some_and(|e| e == "body"))
        {
            bodies += 1;
            let found = shown(&spec, &fs::read(&body).unwrap());
            let expected = body.with_extension("expected");
            if fs::read_to_string(&expected).unwrap_or_default() != found {
                let name = format!("{}.expected", body.strip_prefix(&corpus).unwrap().display());
                let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace('/', "-"));
                fs::write(&copy, &found).unwrap();
                unlike.push(format!("{} became {}:\n{found}", body.display(), copy.display()));
            }
        }
    }
    assert!(bodies > 0, "the corpus is empty");
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
}

fn sorted(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn shown(spec: &model::field::ExtractSpec, body: &[u8]) -> String {
    let table = extract(spec, body);
    let mut out = format!("{:?}\n", table.extraction.finding);
    for ((row, ordinal), span) in table.rows.iter().zip(&table.ordinals).zip(&table.spans) {
        writeln!(out, "row {ordinal} {}..{}: {}", span.0, span.1, row.join(" | ")).unwrap();
    }
    for reject in &table.extraction.rejects {
        let field = reject.field.as_deref().unwrap_or("-");
        let (from, to) = reject.span;
        writeln!(out, "reject {} {from}..{to} {field}: {}", reject.ordinal, reject.reason).unwrap();
    }
    for field in &table.extraction.fields_never_found {
        writeln!(out, "never found: {field}").unwrap();
    }
    out
}
