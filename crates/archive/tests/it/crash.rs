//! A process that dies, or may not write any more, while it appends.
//!
//! The test program starts itself as that process.

use crate::{append, body_at};
use archive::{Archive, ArchiveError, ArchiveRef, FileArchive, Limits, check, files};
use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const DIR: &str = "TIDEWATCH_TEST_ARCHIVE_DIR";
const FLUSHED: &str = "flushed ";

/// The other process: appends and tells what is durable, until it is killed.
#[tokio::test]
async fn writer() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else { return };
    let limits = Limits { buffer_bytes: 3000, file_bytes: 200_000, ..Limits::default() };
    let archive = FileArchive::open_with(&dir, limits).unwrap();
    for round in 0..100_000_u32 {
        let places: Vec<_> = (0..20).map(|n| append(&archive, &body(round * 20 + n))).collect();
        archive.flush().await.unwrap();
        for (n, place) in (0..).zip(places) {
            println!("{FLUSHED}{} {place}", round * 20 + n);
        }
    }
}

/// The other process: appends until the disk refuses, then shows that nothing before it is lost.
#[tokio::test]
async fn writer_without_room() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else { return };
    let limits = Limits { buffer_bytes: 3000, ..Limits::default() };
    let archive = FileArchive::open_with(&dir, limits).unwrap();
    let source = crate::source();
    let mut places = Vec::new();
    let error = loop {
        let body = body(places.len() as u32);
        let built = archive::member(&crate::record(&source, &[], &body), &body);
        match archive.append(&source, crate::DAY, built) {
            Ok(place) => places.push(place),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ArchiveError::Io { action: "write to", .. }), "{error}");
    assert!(archive.flush().await.is_err(), "what does not fit is not durable");
    let mut read = 0;
    for (n, place) in (0..).zip(&places) {
        match archive.read(place).await {
            Ok(found) => assert_eq!(found.body, body(n)),
            Err(error) => {
                assert!(matches!(error, ArchiveError::Io { .. }), "{error}");
                break;
            }
        }
        read += 1;
    }
    println!("{FLUSHED}{read} of {}", places.len());
}

fn body(number: u32) -> Vec<u8> {
    format!("{number} ").repeat(number as usize % 500).into_bytes()
}

fn other_process(test: &str, shell: &str, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    let program = env::current_exe().unwrap();
    command.args(["-c", shell, "sh"]).arg(program).args([test, "--exact", "--nocapture"]);
    command.env(DIR, dir).stdout(Stdio::piped());
    command
}

#[tokio::test]
async fn what_was_flushed_survives_a_kill_and_the_next_process_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushed: Vec<(u32, ArchiveRef)> = Vec::new();
    for kill in 0..5 {
        let mut child = other_process("crash::writer", "exec \"$@\"", dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 50 + 333 * kill;
        for line in lines.by_ref() {
            if let Some((_, told)) = line.unwrap().split_once(FLUSHED) {
                let (number, place) = told.split_once(' ').unwrap();
                flushed.push((number.parse().unwrap(), place.parse().unwrap()));
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(flushed.len() > 3000, "{}", flushed.len());
    let archive = FileArchive::open(dir.path()).unwrap();
    for (number, place) in &flushed {
        assert_eq!(body_at(&archive, place).await, body(*number), "{place}");
    }
    let found = check(dir.path()).unwrap();
    assert!(found.damages.iter().all(|damage| damage.is_torn_end), "{:?}", found.damages);
    assert!(found.damages.len() <= 5);
    assert!(found.records >= flushed.len() as u64);
    let before = files(dir.path()).unwrap();
    let new = append(&archive, b"after");
    assert!(!before.contains(&dir.path().join(&new.file)), "a torn file is not continued");
    assert_eq!(body_at(&archive, &new).await, b"after");
}

#[test]
fn without_room_the_append_is_refused_and_nothing_before_it_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    // A process may write 64 KiB to a file; the signal for more is ignored, so that it is an error.
    let shell = "trap '' XFSZ; ulimit -f 128; exec \"$@\"";
    let output = other_process("crash::writer_without_room", shell, dir.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let (_, counts) = told.split_once(FLUSHED).unwrap();
    let read: u64 = counts.split(' ').next().unwrap().parse().unwrap();
    assert!(read > 50, "{counts}");
    let found = check(dir.path()).unwrap();
    assert!(found.records > read, "the warcinfo record and all that was read: {found:?}");
    assert!(found.damages.iter().all(|damage| damage.is_torn_end), "{:?}", found.damages);
}
