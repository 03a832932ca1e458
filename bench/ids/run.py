#!/usr/bin/env python3
"""Order ids by parallel writers, on real databases, with kills, pauses, lost answers, clock steps.

    cargo build --release -p id --all-features --example worker
    python3 -m venv VENV && VENV/bin/pip install -r bench/ids/requirements.txt
    VENV/bin/python bench/ids/run.py --worker TARGET/release/examples/worker judge
    VENV/bin/python bench/ids/run.py --worker ... --tidewatch TARGET/release/tidewatch table
    VENV/bin/python bench/ids/run.py --worker ... speed

`judge`: processes mint ids while they are killed, stopped for longer than their lease, and have their
clocks, and with --step-servers the database's, stepped by an hour both ways. No id may come twice.
`table`: processes record trades by each method at each isolation level; the table of
docs/order-ids.md. Both end with 1 if something that must not happen did.
`speed`: one undisturbed process after the other writes ids to a file; beside it what the disk needs
to make a page durable.
"""

import argparse
import array
import collections
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import servers

HERE = os.path.dirname(os.path.abspath(__file__))
SQL = os.path.join(HERE, "..", "..", "crates", "id", "sql")


class Crew:
    """Worker processes; those that were killed are started again."""

    def __init__(self, commands):
        self.commands = commands
        self.processes = {}
        self.stopped = {}
        for name in commands:
            self.start(name)

    def start(self, name):
        command, environment = self.commands[name]
        self.processes[name] = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def running(self):
        """Those at work; a worker that ended badly ends the run."""
        names = []
        for name, process in self.processes.items():
            code = process.poll()
            if code is None:
                names.append(name)
            elif code != 0:
                raise SystemExit(f"worker {name} ended with {code}: {process.stderr.read()[-2000:]}")
        return names

    def kill(self, name):
        self.stopped.pop(name, None)
        self.processes[name].kill()
        self.processes[name].wait()
        self.processes[name].stderr.close()
        self.start(name)

    def stop(self, name, seconds):
        self.processes[name].send_signal(signal.SIGSTOP)
        self.stopped[name] = time.monotonic() + seconds

    def wake(self):
        for name, until in list(self.stopped.items()):
            if time.monotonic() >= until:
                del self.stopped[name]
                self.processes[name].send_signal(signal.SIGCONT)

    def end(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


def judge(options, folder):
    wrong = 0
    for store in options.stores.split(","):
        for method in options.methods.split(","):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                os.chmod(place, 0o755)
                wrong += judge_one(options, place, store, method)
    return wrong


def judge_one(options, folder, store, method):
    with contextlib.ExitStack() as stack:
        server_clock = None
        url = os.path.join(folder, "ids.db")
        if store != "sqlite":
            environment = {}
            if options.step_servers:
                environment, server_clock = servers.faked(folder, "server")
            server = stack.enter_context(getattr(servers, store)(folder, environment))
            url = server.url
        clocks, commands = {}, {}
        for number in range(options.processes):
            environment, clocks[number] = servers.faked(folder, number)
            commands[number] = (
                [options.worker, "mint", f"method={method}", f"store={url}", f"writer={number}",
                 f"lease_ms={options.lease_ms}", f"block={options.block}", f"count={options.ids}",
                 f"out={folder}/out-{number}", "batch=500", "pause_us=50000"],
                {**os.environ, **environment},
            )
        counts = collections.Counter()
        crew = Crew(commands)
        stack.callback(crew.end)
        started = time.monotonic()
        steps_of_server = 0
        while running := crew.running():
            time.sleep(0.05)
            crew.wake()
            if time.monotonic() - started > options.seconds_max:
                raise SystemExit(f"{store} {method}: not done after {options.seconds_max} s")
            awake = [name for name in running if name not in crew.stopped]
            if not awake or sum(counts.values()) >= options.faults:
                continue
            name, what = random.choice(awake), random.random()
            if what < 0.3:
                crew.kill(name)
                counts["kills"] += 1
            elif what < 0.6:
                crew.stop(name, options.lease_ms / 1000 + random.uniform(0.2, 1.5))
                counts["stops"] += 1
            else:
                step(clocks[name])
                counts["clock steps"] += 1
            elapsed = time.monotonic() - started
            if server_clock and elapsed > 4 * (steps_of_server + 1) and steps_of_server < 4:
                step(server_clock)
                steps_of_server += 1
                counts["server clock steps"] += 1
        seconds = time.monotonic() - started
        ids = array.array("q")
        for number in range(options.processes):
            with open(f"{folder}/out-{number}", "rb") as file:
                ids.frombytes(file.read())
    total, duplicates = len(ids), len(ids) - len(set(ids))
    faults = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(
        f"{store} {method}: {options.processes} processes x {options.ids:,} ids: {total:,} ids, "
        f"{duplicates} duplicates; {faults}; {seconds:.1f} s",
        flush=True,
    )
    return int(duplicates > 0 or total != options.processes * options.ids or min(ids) <= 0)


def step(path):
    with open(path, "w") as file:
        file.write(random.choice(["+3600", "-3600", "+0"]) + "\n")


def speed(options, folder):
    for store in options.stores.split(","):
        with tempfile.TemporaryDirectory(dir=folder) as place, contextlib.ExitStack() as stack:
            os.chmod(place, 0o755)
            url = os.path.join(place, "ids.db")
            if store != "sqlite":
                url = stack.enter_context(getattr(servers, store)(place)).url
            for method, burst in [("int", 1), ("block", 1), ("block", 8)]:
                out = os.path.join(place, "out")
                sync_ms = milliseconds_of_a_sync(place)
                worker = subprocess.run(
                    [options.worker, "mint", f"method={method}", f"store={url}", "writer=0", "lease_ms=30000",
                     "block=10000", f"burst={burst}", "count=20000000", "batch=500", "pause_us=0", f"out={out}"],
                    check=True, stderr=subprocess.PIPE, text=True,
                )
                os.remove(out)
                print(f"{store} {method} at most {burst} at once: {worker.stderr.strip()}; a sync {sync_ms:.2f} ms", flush=True)
    return 0


def milliseconds_of_a_sync(folder, count=50):
    with open(os.path.join(folder, "sync"), "wb", buffering=0) as file:
        file.write(bytes(8192 * count))
        os.fsync(file.fileno())
        started = time.monotonic()
        for number in range(count):
            file.seek(8192 * number)
            file.write(b"x" * 8192)
            os.fdatasync(file.fileno())
        return (time.monotonic() - started) * 1000 / count


KEYED = {
    "sqlite": "(order_id {kind} PRIMARY KEY, idempotency_key text NOT NULL UNIQUE, payload text NOT NULL)",
    "postgres": "(order_id {kind} PRIMARY KEY, idempotency_key text NOT NULL UNIQUE, payload text NOT NULL)",
    "mariadb": "(order_id {kind} PRIMARY KEY, idempotency_key varchar(200) NOT NULL UNIQUE, payload text NOT NULL)",
}
SEQUENCE = {
    "sqlite": "integer PRIMARY KEY AUTOINCREMENT",
    "postgres": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "mariadb": "bigint AUTO_INCREMENT PRIMARY KEY",
}
UUID = {"sqlite": "text", "postgres": "uuid", "mariadb": "uuid"}
ISOLATIONS = {
    "sqlite": ["autocommit", "immediate"],
    "postgres": ["read committed", "repeatable read", "serializable"],
    "mariadb": ["read committed", "repeatable read", "serializable"],
}
METHODS = ["int", "function", "block", "uuid", "sequence", "naive", "max"]
TABLE = {
    "int": "trade", "function": "trade", "block": "trade", "uuid": "trade_uuid",
    "sequence": "trade_sequence", "naive": "trade_naive", "max": "trade_max",
}


def schema(database):
    keyed, sequence = KEYED[database], SEQUENCE[database]
    number = "integer" if database == "sqlite" else "bigint"
    key = "varchar(200)" if database == "mariadb" else "text"
    return [
        "CREATE TABLE trade " + keyed.format(kind=number),
        "CREATE TABLE trade_uuid " + keyed.format(kind=UUID[database]),
        "CREATE TABLE trade_sequence " + keyed.format(kind=sequence).replace("PRIMARY KEY PRIMARY KEY", "PRIMARY KEY")
        .replace("AUTOINCREMENT PRIMARY KEY", "AUTOINCREMENT"),
        f"CREATE TABLE trade_naive (order_id {sequence}, idempotency_key {key}, payload text)",
        f"CREATE TABLE trade_max (order_id {number}, idempotency_key {key}, payload text)",
        # Without it the wrong method is slow as well, which hides how wrong it is.
        "CREATE INDEX trade_max_id ON trade_max (order_id)",
    ]


class Database:
    """The judge's own connection."""

    def __init__(self, name, url):
        self.name, self.url = name, url
        if name == "sqlite":
            self.connection = sqlite3.connect(url, isolation_level=None, timeout=30)
        elif name == "postgres":
            import psycopg

            self.connection = psycopg.connect(url, autocommit=True)
        else:
            import pymysql

            port = int(re.search(r":(\d+)/", url)[1])
            self.connection = pymysql.connect(
                host="127.0.0.1", port=port, user="root", database="ids", autocommit=True
            )

    def rows(self, sql):
        cursor = self.connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []

    def break_a_connection(self):
        """A writer's connection, at random; not ours."""
        with contextlib.suppress(Exception):
            if self.name == "postgres":
                self.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    "AND backend_type = 'client backend' ORDER BY random() LIMIT 1"
                )
            elif self.name == "mariadb":
                found = self.rows(
                    "SELECT id FROM information_schema.processlist WHERE id <> connection_id() AND user = 'root' "
                    "ORDER BY rand() LIMIT 1"
                )
                self.rows(f"KILL {found[0][0]}")


def table(options, folder):
    results = []
    for database in options.stores.split(","):
        with tempfile.TemporaryDirectory(dir=folder) as place, contextlib.ExitStack() as stack:
            os.chmod(place, 0o755)
            if database == "sqlite":
                url = leases = os.path.join(place, "trades.db")
                leases += ".ids"
            else:
                server = stack.enter_context(getattr(servers, database)(place))
                url = leases = server.url
            judge_connection = Database(database, url)
            if database == "sqlite":
                judge_connection.rows("PRAGMA journal_mode = WAL")
            for statement in schema(database):
                judge_connection.rows(statement)
            http = ""
            if database == "postgres":
                for name in ("postgres.sql", "postgres_function.sql"):
                    with open(os.path.join(SQL, name)) as file:
                        judge_connection.rows(file.read())
            if database == "mariadb":
                for name in ("mariadb.sql", "mariadb_function.sql"):
                    with open(os.path.join(SQL, name)) as file:
                        subprocess.run(
                            ["mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(server.port), "-u", "root", "ids"],
                            stdin=file, check=True,
                        )
            if options.tidewatch and database != "sqlite":
                http = stack.enter_context(servers.tidewatch(place, options.tidewatch, leases)).url
            for isolation in ISOLATIONS[database]:
                if options.isolations and isolation not in options.isolations.split(","):
                    continue
                for method in options.methods.split(","):
                    if database == "sqlite" and method == "function":
                        continue
                    if database == "sqlite" and isolation == "autocommit" and method not in ("max", "naive", "sequence"):
                        continue
                    where = (place, judge_connection, isolation, method, http, leases)
                    # Undisturbed, for the speed; then with everything that can go wrong, for the rest.
                    speed = table_one(options, *where, faults_max=0, lost=0, pause_us=0)
                    found = table_one(
                        options, *where, faults_max=options.faults, lost=options.lost, pause_us=options.pause_us
                    )
                    found.update({name: speed[name] for name in ("per_second", "p50_ms", "p99_ms", "out_of_order_percent")})
                    found["retries_undisturbed"] = speed["retries"]
                    for name in ("duplicates", "lost", "doubled", "collisions"):
                        found[name] += speed[name]
                    results.append({"database": database, "isolation": isolation, "method": method, **found})
                    print(json.dumps(results[-1]), flush=True)
    print_table(results)
    ours = [row for row in results if row["method"] not in ("max", "naive")]
    wrong = [row for row in ours if row["duplicates"] or row["lost"] or row["doubled"] or row["collisions"]]
    control = sum(row["duplicates"] for row in results if row["method"] == "max")
    if "max" in options.methods and not control:
        print("the control did not collide: this run shows nothing")
        return 1
    return int(bool(wrong))


def table_one(options, folder, judge_connection, isolation, method, http, leases, faults_max, lost, pause_us):
    name = TABLE[method]
    judge_connection.rows(f"DELETE FROM {name}")
    run = tempfile.mkdtemp(dir=folder)
    commands = {}
    for number in range(options.processes):
        arguments = [
            "trade", f"method={method}", f"db={judge_connection.url}", f"isolation={isolation}", f"store={leases}",
            f"writer=w{number}", f"lease_ms={options.lease_ms}", f"block={options.block}", f"count={options.trades}",
            f"lost_per_thousand={lost}", f"pause_us={pause_us}", f"out={run}/out-{number}", f"http={http}",
        ]
        python = number < options.python and judge_connection.name != "sqlite" and (
            method in ("function", "sequence", "naive", "max") or http
        )
        program = [sys.executable, os.path.join(HERE, "client.py")] if python else [options.worker]
        commands[number] = (program + arguments, dict(os.environ))
    crew = Crew(commands)
    started, faults = time.monotonic(), 0
    try:
        while running := crew.running():
            time.sleep(0.05)
            crew.wake()
            if time.monotonic() - started > (60 if method == "max" else options.seconds_max):
                if method == "max":
                    break  # It may never end: what it did until now is judged.
                raise SystemExit(f"{judge_connection.name} {isolation} {method}: not done in time")
            if faults >= faults_max or time.monotonic() - started < 0.25 * (faults + 1):
                continue
            awake = [name for name in running if name not in crew.stopped]
            if not awake:
                continue
            faults += 1
            [crew.kill, lambda name: crew.stop(name, options.lease_ms / 1000 + 0.3),
             lambda _: judge_connection.break_a_connection()][faults % 3](random.choice(awake))
    finally:
        crew.end()
    return verdict(options, run, judge_connection, name, time.monotonic() - started, method)


def verdict(options, run, judge_connection, name, seconds, method):
    journal = []
    for number in range(options.processes):
        if not os.path.exists(f"{run}/out-{number}"):
            continue
        with open(f"{run}/out-{number}") as file:
            journal += [line.split() for line in file]
    rows = [(str(row[0]), row[1]) for row in judge_connection.rows(f"SELECT order_id, idempotency_key FROM {name}")]
    by_key = collections.Counter(key for _, key in rows)
    ids = {key: order_id for order_id, key in rows}
    acknowledged = {line[0]: line[1] for line in journal}
    as_value = (lambda text: text) if method == "uuid" else int
    values = sorted(as_value(order_id) for order_id, _ in rows)
    latest, behind = None, 0
    for line in sorted(journal, key=lambda line: int(line[3])):
        value = as_value(line[1])
        if latest is not None and value < latest:
            behind += 1
        latest = value if latest is None else max(latest, value)
    if not journal:
        raise SystemExit(f"{judge_connection.name} {method}: not one trade was recorded")
    latencies = sorted(int(line[3]) - int(line[2]) for line in journal)
    dense = method in ("block", "sequence", "naive", "max")
    return {
        "trades": len(rows),
        "duplicates": len(rows) - len(set(order_id for order_id, _ in rows)),
        "lost": sum(key not in ids for key in acknowledged)
        + sum(1 for key, value in acknowledged.items() if by_key[key] == 1 and ids.get(key, value) != value),
        "doubled": sum(count - 1 for count in by_key.values()),
        "collisions": sum(int(line[5]) for line in journal),
        "gaps": values[-1] - values[0] + 1 - len(set(values)) if dense else None,
        "per_second": round(len(journal) / seconds),
        "p50_ms": round(latencies[len(latencies) // 2] / 1000, 1),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] / 1000, 1),
        "retries": sum(int(line[4]) - 1 for line in journal),
        "out_of_order_percent": round(100 * behind / len(journal), 1),
    }


def print_table(results):
    print("| method | database | isolation | duplicates | lost | doubled | gaps | retries | undisturbed: trades/s | p99 ms | retries | acknowledged out of order |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in sorted(results, key=lambda row: METHODS.index(row["method"])):
        gaps = "-" if row["gaps"] is None else row["gaps"]
        print(
            f"| `{row['method']}` | {row['database']} | {row['isolation']} | {row['duplicates']} | {row['lost']} "
            f"| {row['doubled']} | {gaps} | {row['retries']} | {row['per_second']} | {row['p99_ms']} "
            f"| {row['retries_undisturbed']} | {row['out_of_order_percent']} % |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["judge", "table", "speed"])
    parser.add_argument("--worker", required=True, help="the example `worker` of crate `id`")
    parser.add_argument("--tidewatch", help="the program, for Python writers that take ids by HTTP")
    parser.add_argument("--stores", default="sqlite,postgres,mariadb")
    parser.add_argument("--methods", help="default: int for judge, all for table")
    parser.add_argument("--isolations", help="only these (table)")
    parser.add_argument("--processes", type=int, help="default: 64 for judge, 16 for table")
    parser.add_argument("--python", type=int, default=4, help="how many of the writers of a table are Python")
    parser.add_argument("--ids", type=int, default=100_000, help="ids of each process (judge)")
    parser.add_argument("--trades", type=int, default=100, help="trades of each process (table)")
    parser.add_argument("--lost", type=int, default=20, help="lost answers per thousand (table)")
    parser.add_argument("--pause-us", type=int, default=15_000, help="between two trades, when disturbed (table)")
    parser.add_argument("--faults", type=int, help="kills, stops and steps; default: 300 for judge, 6 for table")
    parser.add_argument("--lease-ms", type=int, default=2_000)
    parser.add_argument("--block", type=int, default=1_000)
    parser.add_argument("--seconds-max", type=int, default=300)
    parser.add_argument("--step-servers", action="store_true", help="step the database's clock, too (judge)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    is_judge = options.what == "judge"
    options.methods = options.methods or ("int" if is_judge else ",".join(METHODS))
    options.processes = options.processes or (64 if is_judge else 16)
    options.faults = options.faults if options.faults is not None else (300 if is_judge else 6)
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        sys.exit({"judge": judge, "table": table, "speed": speed}[options.what](options, folder))


main()
