"""One Python script among the writers of `run.py`: psycopg or PyMySQL, ids by HTTP or by SQL.

Arguments are name=value, as those of the Rust worker; the journal has the same lines.
"""

import json
import os
import random
import sys
import time
import urllib.request


def now_us():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Again(Exception):
    """Nothing was done."""


class Taken(Exception):
    """A unique column has the value."""


class Lost(Exception):
    """Nobody knows."""


class Ids:
    """Ids from `tidewatch serve`, a batch at a time."""

    def __init__(self, url, kind):
        self.address, self.ids = f"{url}?kind={kind}&count=100", []

    def next(self):
        while not self.ids:
            try:
                with urllib.request.urlopen(urllib.request.Request(self.address, method="POST"), timeout=10) as answer:
                    self.ids = json.load(answer)["ids"][::-1]
            except OSError:
                time.sleep(0.02)
        return self.ids.pop()


class Postgres:
    def __init__(self, url, isolation):
        import psycopg

        self.errors = psycopg.errors
        self.connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
        self.connection.execute(f"SET default_transaction_isolation = '{isolation}'")
        self.conflict = "ON CONFLICT (idempotency_key) DO NOTHING"

    def run(self, sql):
        try:
            cursor = self.connection.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return None if row is None or row[0] is None else str(row[0])
        except self.errors.UniqueViolation as error:
            raise Taken from error
        except (self.errors.SerializationFailure, self.errors.DeadlockDetected) as error:
            raise Again from error
        except self.errors.Error as error:
            raise Lost from error

    def close(self):
        self.connection.close()


class MariaDb:
    def __init__(self, url, isolation):
        import pymysql

        self.pymysql = pymysql
        host, database = url.removeprefix("mysql://root@").split("/")
        name, port = host.split(":")
        self.connection = pymysql.connect(
            host=name, port=int(port), user="root", database=database, autocommit=True, connect_timeout=5
        )
        self.run(f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}")
        self.conflict = ""

    def run(self, sql):
        try:
            cursor = self.connection.cursor()
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return None if row is None or row[0] is None else str(row[0])
        except self.pymysql.err.MySQLError as error:
            code = error.args[0] if error.args else 0
            raise {1062: Taken, 1213: Again, 1205: Again, 1020: Again}.get(code, Lost) from error

    def close(self):
        self.connection.close()


def connect(settings):
    kind = Postgres if settings["db"].startswith("postgres") else MariaDb
    while True:
        try:
            return kind(settings["db"], settings["isolation"])
        except Exception:
            time.sleep(0.05)


def insert(db, table, value, key):
    """Once for each key, however often it is tried (docs/order-ids.md)."""
    column, value = ("order_id, ", f"{value}, ") if value else ("", "")
    try:
        found = db.run(
            f"INSERT INTO {table} ({column}idempotency_key, payload) VALUES ({value}'{key}', 'x') {db.conflict} "
            "RETURNING order_id"
        )
        if found:
            return found
    except Taken:
        pass
    found = db.run(f"SELECT order_id FROM {table} WHERE idempotency_key = '{key}'")
    if not found:
        raise Taken
    return found


def greatest_plus_one(db, key):
    """Do not do this."""
    db.run("BEGIN")
    try:
        number = int(db.run("SELECT max(order_id) FROM trade_max") or 0) + 1
        db.run(f"INSERT INTO trade_max VALUES ({number}, '{key}', 'x')")
        db.run("COMMIT")
        return str(number)
    except Exception:
        try:
            db.run("ROLLBACK")
        except (Again, Lost, Taken):
            pass
        raise


def record(db, ids, method, key):
    if method in ("int", "block"):
        return insert(db, "trade", ids.next(), key)
    if method == "uuid":
        return insert(db, "trade_uuid", f"'{ids.next()}'", key)
    if method == "function":
        return insert(db, "trade", "tidewatch_next_id()", key)
    if method == "sequence":
        return insert(db, "trade_sequence", None, key)
    if method == "naive":
        return db.run(
            f"INSERT INTO trade_naive (idempotency_key, payload) VALUES ('{key}', 'x') RETURNING order_id"
        )
    return greatest_plus_one(db, key)


def main():
    settings = dict(argument.split("=", 1) for argument in sys.argv[2:])
    out, method = settings["out"], settings["method"]
    done = 0
    if os.path.exists(out):
        with open(out) as file:
            text = file.read()
        done = text.count("\n")
        if not text.endswith("\n"):
            with open(out, "r+") as file:
                file.truncate(text.rfind("\n") + 1)
    ids = Ids(settings["http"], method)
    lost = float(settings["lost_per_thousand"]) / 1000
    pause = float(settings["pause_us"]) / 1e6
    db = connect(settings)
    with open(out, "a", buffering=1) as journal:
        for number in range(done, int(settings["count"])):
            key = f"{settings['writer']}-{number}"
            time.sleep(pause)
            begun, tries, collisions = now_us(), 0, 0
            while True:
                tries += 1
                try:
                    found = record(db, ids, method, key)
                    # The answer is lost on the way: the trade is recorded, and we do not know it.
                    if random.random() < lost:
                        db.close()
                        db = connect(settings)
                        continue
                    break
                except Again:
                    time.sleep(random.uniform(0.0002, 0.0012))
                except Lost:
                    db = connect(settings)
                except Taken:
                    collisions += 1
            journal.write(f"{key} {found} {begun} {now_us()} {tries} {collisions}\n")


main()
