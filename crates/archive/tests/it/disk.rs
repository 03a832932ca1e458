//! The file engine: files, bounds, damage, errors of the disk.

use crate::{DAY, append, body_at, record, source};
use archive::{Archive, ArchiveError, FileArchive, Limits, check, files, member, records};
use model::SourceId;
use std::fs::{self, OpenOptions};
use std::path::Path;

fn kinds(path: &Path) -> Vec<String> {
    records(path).unwrap().map(|record| record.unwrap().kind().to_owned()).collect()
}

#[tokio::test]
async fn every_file_begins_with_a_warcinfo_record_and_lists_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let archive = FileArchive::open(dir.path()).unwrap();
    let places = [append(&archive, b"one"), append(&archive, b"two")];
    archive.flush().await.unwrap();
    let path = dir.path().join("prices/2026-11-19/000001.warc.gz");
    assert_eq!(files(dir.path()).unwrap(), std::slice::from_ref(&path));
    assert_eq!(kinds(&path), ["warcinfo", "response", "response"]);
    let listed: Vec<_> = records(&path).unwrap().skip(1).map(|r| r.unwrap().at).collect();
    assert_eq!(listed, places);
    let found = check(dir.path()).unwrap();
    assert_eq!((found.files, found.records, found.damages_count), (1, 3, 0));
    assert_eq!(found.bytes, fs::metadata(path).unwrap().len());
}

#[tokio::test]
async fn a_new_process_begins_a_new_file_and_reads_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let first = FileArchive::open(dir.path()).unwrap();
    let old = append(&first, b"old");
    first.flush().await.unwrap();
    let second = FileArchive::open(dir.path()).unwrap();
    let new = append(&second, b"new");
    let third = append(&first, b"both live");
    assert!(old.file.ends_with("000001.warc.gz") && new.file.ends_with("000002.warc.gz"));
    assert_eq!(third.file, old.file, "the other process's file is not touched");
    for archive in [&first, &second] {
        archive.flush().await.unwrap();
    }
    for (place, body) in [(old, "old"), (new, "new"), (third, "both live")] {
        assert_eq!(body_at(&second, &place).await, body.as_bytes());
    }
}

#[tokio::test]
async fn a_full_file_is_followed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { file_bytes: 3000, ..Limits::default() };
    let archive = FileArchive::open_with(dir.path(), limits).unwrap();
    let places: Vec<_> = (0..50).map(|n: u32| append(&archive, &n.to_be_bytes())).collect();
    archive.flush().await.unwrap();
    let files = files(dir.path()).unwrap();
    assert!((5..50).contains(&files.len()), "{}", files.len());
    for file in files {
        assert!(fs::metadata(file).unwrap().len() <= 3000);
    }
    for (n, place) in (0..50_u32).zip(places) {
        assert_eq!(body_at(&archive, &place).await, n.to_be_bytes());
    }
    assert_eq!(check(dir.path()).unwrap().damages_count, 0);
}

#[tokio::test]
async fn many_sources_share_few_open_files() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { open_files: 4, buffer_bytes: 1, ..Limits::default() };
    let archive = FileArchive::open_with(dir.path(), limits).unwrap();
    let mut places = Vec::new();
    for round in 0..3 {
        for number in 0..40 {
            let source = SourceId::parse(&format!("s{number}")).unwrap();
            let body = format!("{round} of {number}").into_bytes();
            let built = member(&record(&source, &[], &body), &body);
            places.push((archive.append(&source, DAY, built).unwrap(), body));
            assert!(open_files_below(dir.path()) <= 4);
        }
    }
    archive.flush().await.unwrap();
    assert!(open_files_below(dir.path()) <= 4);
    assert_eq!(files(dir.path()).unwrap().len(), 40, "a closed file is opened again, not replaced");
    for (place, body) in places {
        assert_eq!(body_at(&archive, &place).await, body);
    }
}

fn open_files_below(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        fs::read_link(entry.ok()?.path()).ok().filter(|target| target.starts_with(dir))
    });
    open.count()
}

#[tokio::test]
async fn a_torn_end_disturbs_nobody_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let first = FileArchive::open(dir.path()).unwrap();
    let whole = append(&first, b"whole");
    let torn = append(&first, b"torn");
    first.flush().await.unwrap();
    let path = dir.path().join(&torn.file);
    for (length, zeros) in [(torn.length - 1, 0), (20, 0), (1, 0), (0, 100), (30, 100)] {
        let bytes = fs::read(&path).unwrap();
        let end = (torn.offset + length) as usize;
        let mut torn_bytes = bytes[..end].to_vec();
        torn_bytes.resize(end + zeros, 0);
        fs::write(&path, torn_bytes).unwrap();

        assert_eq!(body_at(&first, &whole).await, b"whole");
        let error = first.read(&torn).await.unwrap_err();
        assert!(matches!(&error, ArchiveError::Torn { offset, .. } if *offset == torn.offset));
        let listed: Vec<_> = records(&path).unwrap().collect();
        assert_eq!(listed.len(), 3, "warcinfo, the whole one, the note");
        assert!(matches!(&listed[2], Err(ArchiveError::Torn { .. })));
        let found = check(dir.path()).unwrap();
        assert_eq!((found.records, found.damages.len()), (2, 1));
        assert!(found.damages[0].is_torn_end);
        let told = found.damages[0].error.to_string();
        assert!(told.contains("000001.warc.gz` is torn at byte"), "{told}");
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(check(dir.path()).unwrap().damages_count, 0);
}

#[tokio::test]
async fn a_wrong_record_is_told_and_those_behind_it_are_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let archive = FileArchive::open(dir.path()).unwrap();
    let source = source();
    let wrong = member(&record(&source, &[], b"claimed"), b"written");
    archive.append(&source, DAY, wrong).unwrap();
    let behind = append(&archive, b"behind");
    archive.flush().await.unwrap();
    let listed: Vec<_> = records(dir.path().join(&behind.file)).unwrap().collect();
    assert!(matches!(&listed[1], Err(ArchiveError::DigestMismatch { .. })));
    assert_eq!(listed[2].as_ref().unwrap().body, b"behind");
    let found = check(dir.path()).unwrap();
    assert_eq!((found.records, found.damages_count), (2, 1));
    assert!(!found.damages[0].is_torn_end);
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let archive = FileArchive::open(dir.path()).unwrap();
    let place = append(&archive, &b"some text, some more text. ".repeat(30));
    archive.flush().await.unwrap();
    let path = dir.path().join(&place.file);
    let good = fs::read(&path).unwrap();
    // Byte 4 to 9 of a gzip header (time, hints, system) and the mark mean nothing to a reader.
    for position in (place.offset + 48..place.offset + place.length).step_by(3) {
        let mut bad = good.clone();
        bad[position as usize] ^= 4;
        fs::write(&path, bad).unwrap();
        assert!(archive.read(&place).await.is_err(), "{position}");
    }
}

#[tokio::test]
async fn a_disk_that_refuses_is_named_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let archive = FileArchive::open(dir.path()).unwrap();
    let in_the_way = dir.path().join("prices");
    fs::write(&in_the_way, "a file where a folder must be").unwrap();
    let source = source();
    let built = member(&record(&source, &[], b"body"), b"body");
    let error = archive.append(&source, DAY, built.clone()).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("cannot create `") && told.contains("prices/2026-11-19"), "{told}");
    fs::remove_file(in_the_way).unwrap();
    let place = archive.append(&source, DAY, built).unwrap();
    archive.flush().await.unwrap();
    assert_eq!(body_at(&archive, &place).await, b"body");

    let error = FileArchive::open(dir.path().join(&place.file)).unwrap_err();
    assert!(matches!(error, ArchiveError::Io { action: "create", .. }), "{error}");
}

#[tokio::test]
async fn a_spool_that_is_refused_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let archive = FileArchive::open(dir.path().join("archive")).unwrap();
    let spool = dir.path().join("spool");
    fs::write(&spool, "other bytes").unwrap();
    let source = source();
    let claim = record(&source, &[], b"the bytes");
    assert!(archive.append_file(&claim, DAY, &spool).await.is_err());
    assert!(files(archive.dir()).unwrap().is_empty());
}

#[tokio::test]
async fn a_body_larger_than_what_is_kept_is_still_checked() {
    let dir = tempfile::tempdir().unwrap();
    let archive = FileArchive::open(dir.path()).unwrap();
    let place = append(&archive, &vec![b'x'; 1_000_000]);
    archive.flush().await.unwrap();
    let path = dir.path().join(&place.file);
    let cut = records(&path).unwrap().with_body_limit(10).nth(1).unwrap().unwrap();
    assert_eq!((cut.body.as_slice(), cut.body_bytes), (b"xxxxxxxxxx".as_slice(), 1_000_000));
}

#[test]
fn an_empty_file_and_strangers_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let day = dir.path().join("prices/2026-11-19");
    fs::create_dir_all(&day).unwrap();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(day.join("000001.warc.gz"))
        .unwrap();
    fs::write(day.join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("README"), "mine").unwrap();
    let found = check(dir.path()).unwrap();
    assert_eq!((found.files, found.records, found.damages_count), (1, 0, 0));
    assert!(check(dir.path().join("nowhere")).is_err());
}
