//! Real servers, started on loopback for the tests of one process and ended with it.
//!
//! A shell holds each server: it waits for the end of its standard input, which comes however this
//! process ends, then stops the server and deletes its folder.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
};

/// A running server; kept for the whole process.
pub(crate) struct Server {
    /// Ends the server when the pipe to it breaks.
    shell: Mutex<Child>,
    /// What to connect to.
    pub(crate) url: String,
    pid: String,
}

impl Server {
    /// Kills the server without ceremony, as a crash would.
    pub(crate) fn crash(&self) {
        let mut shell = self.shell.lock().unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    /// Stops the server as it is (SIGSTOP): connections stay, and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a stopped server go on.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = &self.pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let pids = [pid.as_str()].into_iter().chain(children.split_whitespace());
        assert!(Command::new("kill").arg(signal).args(pids).status().unwrap().success());
    }
}

/// PostgreSQL, `None` where it is not installed; shared by all tests.
#[cfg(feature = "postgres")]
pub(crate) fn postgres() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start_postgres).as_ref()
}

/// MariaDB, `None` where it is not installed; shared by all tests.
#[cfg(feature = "mariadb")]
pub(crate) fn mariadb() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start_mariadb).as_ref()
}

/// A PostgreSQL of the caller's own.
#[cfg(feature = "postgres")]
pub(crate) fn start_postgres() -> Option<Server> {
    start_postgres_with("options=")
}

/// A PostgreSQL of the caller's own that can encrypt, by a certificate and its key as PEM.
#[cfg(feature = "postgres")]
pub(crate) fn start_postgres_with_tls(certificate: &str, key: &str) -> Option<Server> {
    start_postgres_with(&format!(
        "
        umask 077
        echo '{certificate}' >\"$folder/cert.pem\"
        echo '{key}' >\"$folder/key.pem\"
        options=\"-c ssl=on -c ssl_cert_file=$folder/cert.pem -c ssl_key_file=$folder/key.pem\"
        "
    ))
}

#[cfg(feature = "postgres")]
fn start_postgres_with(prepare: &str) -> Option<Server> {
    let Some(bin) = folder_with("initdb", "/usr/lib/postgresql") else {
        skipped("PostgreSQL (Debian: postgresql)");
        return None;
    };
    let script = r#"
        # PostgreSQL refuses to be root.
        if [ "$(id -u)" = 0 ]; then
            as_user="setpriv --reuid=nobody --regid=nogroup --clear-groups"
            chown -R nobody:nogroup "$folder"
        fi
        cd "$folder"
        $as_user "$bin/initdb" -D "$folder/data" -U postgres -A trust --no-sync -E UTF8 --locale=C >&2
        $as_user "$bin/postgres" -D "$folder/data" -p "$port" -k "$folder" -c listen_addresses=127.0.0.1 \
            -c max_connections=200 $options >>"$folder/log" 2>&1 &
        server=$!
        ready() { "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; }
    "#;
    Some(start(
        &format!("{prepare}\n{script}"),
        &bin,
        "postgres://postgres@127.0.0.1:PORT/postgres",
    ))
}

/// A MariaDB of the caller's own.
#[cfg(feature = "mariadb")]
pub(crate) fn start_mariadb() -> Option<Server> {
    let Some(bin) = folder_with("mariadbd", "/usr/sbin") else {
        skipped("MariaDB (Debian: mariadb-server-core, mariadb-client-core)");
        return None;
    };
    let script = r#"
        cd "$folder"
        mariadb-install-db --no-defaults --datadir="$folder/data" --user="$(id -un)" \
            --auth-root-authentication-method=normal --skip-test-db >&2
        "$bin/mariadbd" --no-defaults --datadir="$folder/data" --user="$(id -un)" --socket="$folder/s" \
            --port="$port" --bind-address=127.0.0.1 --max-connections=200 >>"$folder/log" 2>&1 &
        server=$!
        ready() { mariadb --no-defaults -h 127.0.0.1 -P "$port" -u root -e 'CREATE DATABASE IF NOT EXISTS ids' 2>&-; }
    "#;
    Some(start(script, &bin, "mysql://root@127.0.0.1:PORT/ids"))
}

fn start(script: &str, bin: &std::path::Path, url: &str) -> Server {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let frame = format!(
        r#"
        set -eu
        folder=$(mktemp -d)
        as_user=
        server=
        trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null; wait; rm -rf "$folder"' EXIT
        {script}
        for try in $(seq 300); do
            if ready; then echo "ready $server"; cat >/dev/null; exit; fi
            kill -0 "$server" || break
            sleep 0.1
        done
        cat "$folder/log"
        "#
    );
    let mut shell = Command::new("bash")
        .args(["-c", &frame])
        .env("bin", bin)
        .env("port", port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap_or_default();
    let Some(pid) = first.strip_prefix("ready ") else {
        panic!("the server did not start: {first}\n{}", lines.collect::<Vec<_>>().join("\n"));
    };
    let url = url.replace("PORT", &port.to_string());
    Server { shell: Mutex::new(shell), url, pid: pid.to_owned() }
}

/// The folder of a program: on the path, or below a folder of versions, the last of them.
fn folder_with(program: &str, beside: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(beside).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        versions.map(|entry| entry.path().join("bin")).chain([PathBuf::from(beside)]).collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .filter_map(|file| file.canonicalize().ok())
        .find(|file| file.is_file())
        .and_then(|file| file.parent().map(PathBuf::from))
}

/// Says loudly that something is not tested; fails where nothing may be skipped.
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn skipped(what: &str) {
    eprintln!("SKIPPED: {what} is not installed");
    assert!(std::env::var_os("CI").is_none(), "{what} is not installed, and CI skips nothing");
}
