//! Encrypted connections to PostgreSQL.

use crate::servers;
use id::{PostgresStore, StoreError};
use postgres::{Client, NoTls};
use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::TcpListener,
};

fn certificate() -> (String, String) {
    // Not of the address `127.0.0.1`.
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn chain(error: &StoreError) -> String {
    let first: &dyn Error = error;
    let all = std::iter::successors(Some(first), |error| (*error).source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn connections_are_encrypted_as_sslmode_says() {
    let (certificate, key) = certificate();
    let Some(server) = servers::start_postgres_with_tls(&certificate, &key) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (own, other) = (file("own.pem", &certificate), file("other.pem", &self::certificate().0));
    let empty = file("empty.pem", "");
    let mut judge = Client::connect(&server.url, NoTls).unwrap();
    let mut number = 0;
    let mut encrypted = |host: &str, parameters: &str| {
        number += 1;
        let url = server.url.replace("127.0.0.1", host);
        let store =
            PostgresStore::connect(&format!("{url}?application_name=n{number}{parameters}"))
                .map_err(|error| chain(&error))?;
        let select = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
        let row = judge.query_one(select, &[&format!("n{number}")]).unwrap();
        drop(store);
        Ok::<bool, String>(row.get(0))
    };
    let ip = "127.0.0.1";
    assert_eq!(encrypted(ip, ""), Ok(true));
    assert_eq!(encrypted(ip, "&sslmode=disable"), Ok(false));
    assert_eq!(encrypted(ip, "&sslmode=require"), Ok(true));
    assert_eq!(encrypted(ip, &format!("&sslmode=verify-ca&sslrootcert={own}")), Ok(true));
    let full = format!("&sslmode=verify-full&sslrootcert={own}");
    assert_eq!(encrypted("localhost", &full), Ok(true));
    let mut refused = |host: &str, parameters: &str, why: &str| {
        let error = encrypted(host, parameters).unwrap_err();
        assert!(error.contains(why), "{parameters}: {error}");
    };
    refused(ip, &full, "not valid for name");
    refused(ip, "&sslmode=verify-full", "UnknownIssuer");
    refused(ip, &format!("&sslmode=verify-ca&sslrootcert={other}"), "invalid peer certificate");
    refused(ip, &format!("&sslmode=require&sslrootcert={other}"), "invalid peer certificate");
    refused(ip, "&sslmode=verify-ca&sslrootcert=/not/there.pem", "/not/there.pem");
    refused(ip, &format!("&sslmode=verify-ca&sslrootcert={empty}"), "no PEM file");
    refused(ip, "&sslmode=required", "not `required`");
}

/// What a server that cannot encrypt gets to hear, if it asks for a password in the clear.
fn told_without_tls(parameters: &str) -> (Vec<u8>, Option<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = vec![0; 8];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(b"N").unwrap();
            let mut more = [0; 1000];
            let count = stream.read(&mut more).unwrap();
            heard.extend_from_slice(&more[..count]);
            if count > 0 {
                stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).unwrap();
                let count = stream.read(&mut more).unwrap();
                heard.extend_from_slice(&more[..count]);
            }
            heard
        });
        let url = format!("postgres://user:secret@127.0.0.1:{port}/d?{parameters}");
        let error = PostgresStore::connect(&url).err().map(|error| chain(&error));
        (heard.join().unwrap(), error)
    })
}

#[test]
fn no_password_goes_out_in_the_clear_where_encryption_is_required() {
    let has =
        |heard: &[u8], text: &str| heard.windows(text.len()).any(|part| part == text.as_bytes());
    for mode in ["require", "verify-ca", "verify-full"] {
        let (heard, error) = told_without_tls(&format!("sslmode={mode}"));
        assert_eq!(heard, [0, 0, 0, 8, 4, 210, 22, 47], "the question for TLS, and nothing more");
        let error = error.unwrap();
        assert!(error.contains("server does not support TLS"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    // The default, as that of PostgreSQL's own programs, does without.
    let (heard, error) = told_without_tls("");
    assert!(has(&heard, "user") && has(&heard, "secret"));
    assert!(!error.unwrap().contains("secret"));
}
