//! Files that are no source files at all.

use crate::{Project, SMALLEST, check, with};
use insta::assert_snapshot;

#[test]
fn a_binary_file_is_one_mistake() {
    let project = Project::new();
    project.write("sources/a.toml", b"name = \"a\"\nx = \"\x1b[31m\xff\xfe\x00\x01\n");
    let utf16: Vec<u8> = "\u{feff}name = 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    project.write("sources/b.toml", &utf16);
    let found = project.load().diagnostics;
    assert_snapshot!(found, @r#"
    sources/a.toml:2:11: error: the file is not UTF-8 text
      2 | x = "\u{1b}[31m��\u{0}\u{1}
        |                ^
      help: save the file as UTF-8

    sources/b.toml:1:1: error: the file is not UTF-8 text
      1 | ��n\u{0}a\u{0}m\u{0}e\u{0} \u{0}=\u{0} \u{0}1\u{0}
        | ^
      help: this is UTF-16: save the file as UTF-8
    "#);
}

#[test]
fn a_file_of_ten_megabytes_is_not_read() {
    let project = Project::new();
    project.write("sources/a.toml", &vec![b'['; 10 << 20]);
    assert_snapshot!(project.load().diagnostics, @r#"
    sources/a.toml:1:1: error: the file has more than 4 MiB
      help: long lists go into files of their own
    "#);
}

#[test]
fn what_cannot_be_read_is_named() {
    let project = Project::with(&[("sources/a.toml", SMALLEST), ("sources/.b.toml", "x")]);
    std::fs::create_dir(project.dir.path().join("sources/dir.toml")).unwrap();
    std::fs::create_dir(project.dir.path().join("tidewatch.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", project.dir.path().join("sources/gone.toml")).unwrap();
    let loaded = project.load();
    assert_eq!(loaded.sources.len(), 1);
    assert_snapshot!(loaded.diagnostics, @r#"
    sources/dir.toml:1:1: error: the file cannot be read: it is not a file

    sources/gone.toml:1:1: error: the file cannot be read: No such file or directory (os error 2)

    tidewatch.toml:1:1: error: the file cannot be read: it is not a file
    "#);
}

#[test]
fn an_empty_folder_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let found = source::load(dir.path(), &|_| None).diagnostics;
    assert!(found.has_errors());
    assert_snapshot!(found, @r#"
    sources:1:1: error: the folder `sources` cannot be read: No such file or directory (os error 2)
      help: `tidewatch init` writes a first one; `--dir` says where the project is
    "#);
    assert!(!Project::new().load().diagnostics.has_errors());
}

#[test]
fn deep_nesting_and_many_mistakes_stay_bounded() {
    let deep = format!("x = {}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(check(&deep).has_errors());
    let tables = format!("x = {}1{}", "{a=".repeat(50_000), "}".repeat(50_000));
    assert!(check(&tables).has_errors());
    let many: String =
        (0..5000).fold(String::new(), |text, index| text + &format!("key{index} = 1\n"));
    let found = check(&many);
    assert!(found.0.len() <= 51);
    assert!(found.to_string().contains("mistakes in this file are not shown"));
    let garbage = "\u{1}=]\"[{,".repeat(50_000);
    assert!(check(&garbage).has_errors());
}

#[test]
fn long_lines_are_clipped_and_control_characters_escaped() {
    let long = format!("owner = \"{}\"\tx\u{7}y = 1", "é".repeat(5000));
    let found = check(&long);
    assert_snapshot!(found.0[0], @r#"
    sources/a.toml:1:5012: error: not TOML: unexpected key or value, expected newline, `#`
      1 | …éééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"    x\u{7}y = 1
        |                                                                 ^
    "#);
    let text = with("\"daily\"", "\"dai\u{202e}ly\u{1f980}\"  # 日本");
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:5:12: error: `dai\u{202e}ly🦀` is not a calendar
      5 | calendar = "dai\u{202e}ly🦀"  # 日本
        |            ^^^^^^^^^^^^^^^^^
      help: did you mean `daily`?
    "#);
    let text = with("calendar", "\tcalender");
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:5:2: error: unknown key `calender` in `[periods]`
      5 |     calender = "daily"
        |     ^^^^^^^^
      help: did you mean `calendar`?
    "#);
}

#[test]
fn a_truncated_gzip_is_refused() {
    use std::io::Write as _;
    let project = Project::with(&[(
        "sources/a.toml",
        &with("calendar = \"daily\"", "file = \"expected.csv.gz\""),
    )]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"entity,period\nAAPL,2026-01-02\n").unwrap();
    let whole = encoder.finish().unwrap();
    project.write("expected.csv.gz", &whole[..whole.len() - 9]);
    assert_snapshot!(project.load().diagnostics, @r#"
    sources/a.toml:5:8: error: `expected.csv.gz`: the file cannot be read: incomplete deflate stream
      5 | file = "expected.csv.gz"
        |        ^^^^^^^^^^^^^^^^^
      help: the path counts from the project's folder
    "#);
    project.write("expected.csv.gz", &whole);
    assert_eq!(project.load().sources[0].pairs.as_ref().unwrap().len(), 1);
}
