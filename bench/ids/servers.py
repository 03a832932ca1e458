"""Real servers on loopback for the time of a run: PostgreSQL, MariaDB, `tidewatch serve`."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def faked(folder, name):
    """Additions to an environment, and the file by which its clock is stepped."""
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not library:
        raise SystemExit("libfaketime is not installed (Debian: libfaketime)")
    path = os.path.join(folder, f"clock-{name}")
    with open(path, "w") as file:
        file.write("+0\n")
    os.chmod(path, 0o644)
    extra = {
        "LD_PRELOAD": library[0],
        "FAKETIME_TIMESTAMP_FILE": path,
        "FAKETIME_CACHE_DURATION": "1",
        # What no operator can step stays as it is.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    return extra, path


def with_clock(environment):
    """As a command, so that the library is loaded by the server's own user only."""
    return ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []


class Server:
    """A server with a folder of its own; stopped and deleted at the end of a `with`."""

    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        self.port = free_port()
        os.makedirs(self.folder)
        self.process = None
        self.log = open(os.path.join(self.folder, "log"), "w")

    def start(self, command, ready):
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, cwd=self.folder
        )
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                ready()
                return self
            except Exception:
                time.sleep(0.1)
        raise SystemExit(f"{command[0]} did not start; see {self.log.name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def postgres(folder, environment=()):
    import psycopg

    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    initdb = found[-1] if found else shutil.which("initdb")
    if not initdb:
        raise SystemExit("PostgreSQL is not installed (Debian: postgresql)")
    bin_folder = os.path.dirname(os.path.realpath(initdb))
    server = Server(folder, "postgres")
    user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to be root.
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(server.folder, "nobody", "nogroup")
    data = os.path.join(server.folder, "data")
    subprocess.run(
        [*user, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"],
        check=True, stdout=server.log, stderr=server.log, cwd=server.folder,
    )
    server.url = f"postgres://postgres@127.0.0.1:{server.port}/postgres"
    command = [
        *user, *with_clock(environment), os.path.join(bin_folder, "postgres"), "-D", data, "-p", str(server.port), "-k", server.folder,
        "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300",
    ]
    return server.start(command, lambda: psycopg.connect(server.url).close())


def mariadb(folder, environment=()):
    import pymysql

    if not shutil.which("mariadb-install-db"):
        raise SystemExit("MariaDB is not installed (Debian: mariadb-server-core, mariadb-client-core)")
    server = Server(folder, "mariadb")
    data = os.path.join(server.folder, "data")
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}",
         "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True, stdout=server.log, stderr=server.log,
    )
    program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    server.url = f"mysql://root@127.0.0.1:{server.port}/ids"
    command = [
        *with_clock(environment), program, "--no-defaults", f"--datadir={data}", f"--user={user}", f"--socket={server.folder}/s",
        f"--port={server.port}", "--bind-address=127.0.0.1", "--max-connections=300",
    ]

    def ready():
        connection = pymysql.connect(host="127.0.0.1", port=server.port, user="root")
        connection.cursor().execute("CREATE DATABASE IF NOT EXISTS ids")
        connection.close()

    return server.start(command, ready)


def tidewatch(folder, program, store):
    """`tidewatch serve` on a store."""
    server = Server(folder, "tidewatch")
    server.url = f"http://127.0.0.1:{server.port}/v1/ids"
    command = [program, "serve", "--listen", f"127.0.0.1:{server.port}", "--store", store]
    return server.start(command, lambda: socket.create_connection(("127.0.0.1", server.port)).close())
