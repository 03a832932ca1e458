//! Another program's reader understands our files: warcio, where Python has it.

use crate::{DAY, at, headers, record, source};
use archive::{Archive, FileArchive, RefersTo, Revisit, files, member, revisit_member};
use std::{fs, path::Path, process::Command};

const SCRIPT: &str = r"
import sys
from warcio.archiveiterator import ArchiveIterator
for path in sys.argv[1:]:
    with open(path, 'rb') as stream:
        for record in ArchiveIterator(stream, check_digests='raise'):
            body = record.raw_stream.read()
            http = record.http_headers
            print(record.rec_type, record.rec_headers.get_header('WARC-Target-URI'),
                http.get_statuscode() if http else '-',
                http.get_header('X-Name') if http else '-', len(body), sep='|')
";

fn python() -> Option<Command> {
    let has = Command::new("python3").args(["-c", "import warcio"]).output();
    has.is_ok_and(|output| output.status.success()).then(|| Command::new("python3"))
}

#[tokio::test]
async fn warcio_reads_what_we_write() {
    let Some(mut python) = python() else {
        eprintln!(
            "SKIPPED: `python3 -c 'import warcio'` fails, so nobody else reads our WARC files"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let archive = FileArchive::open(dir.path()).unwrap();
    let source = source();
    let headers = headers(&[("X-Name", "va: lue"), ("Transfer-Encoding", "chunked")]);
    let small = br#"{"data":[]}"#.as_slice();
    let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let first = record(&source, &headers, small);
    let holder = archive.append(&source, DAY, member(&first, small)).unwrap();
    let mut second = record(&source, &headers, &large);
    second.http_version = "HTTP/2";
    archive.append(&source, DAY, member(&second, &large)).unwrap();
    let mut third = first;
    third.status = 304;
    third.received_at = at("2026-11-20T00:00:00Z");
    let refers_to = RefersTo {
        at: &holder,
        target_uri: Some(first.target_uri),
        received_at: Some(first.received_at),
    };
    let revisit = revisit_member(&third, &refers_to, Revisit::ServerNotModified);
    archive.append(&source, DAY, revisit).unwrap();
    let spool = dir.path().join("spool");
    fs::write(&spool, &large).unwrap();
    archive.append_file(&second, DAY, &spool).await.unwrap();
    archive.flush().await.unwrap();

    let output = python.args(["-c", SCRIPT]).args(files(dir.path()).unwrap()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let uri = first.target_uri;
    let expected = format!(
        "warcinfo|None|-|-|{}\nresponse|{uri}|200|va: lue|11\nresponse|{uri}|200|va: lue|800000\n\
         revisit|{uri}|304|va: lue|0\nwarcinfo|None|-|-|{}\nresponse|{uri}|200|va: lue|800000\n",
        block_bytes(&dir.path().join(&holder.file)),
        block_bytes(&files(dir.path()).unwrap()[1]),
    );
    assert_eq!(told, expected);
}

fn block_bytes(path: &Path) -> u64 {
    archive::records(path).unwrap().next().unwrap().unwrap().body_bytes
}
