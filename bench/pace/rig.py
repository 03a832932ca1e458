#!/usr/bin/env python3
"""Judges how a client finds and keeps a server's limit: real limiters on loopback, scored from their logs.

usage: rig.py setup
       rig.py list
       rig.py [--limiters A,B] [--clients A,B] [--tidewatch PATH] [--seconds S] [--rate R] [--rounds N]
              [--patience X] [--json FILE]

README.md beside this file says what is measured. Everything that is started is ended by this program.
"""

import argparse, concurrent.futures, dataclasses, functools, http.client, json, os, pathlib, shutil, socket, statistics
import subprocess, sys, tempfile, time

sys.dont_write_bytecode = True  # Nothing is left in the repository.

import score
from clients import CLIENTS, Job, TimedOut
from limiters import CACHE, HERE, LIMITERS, PATH, start

UNLOADED_REQUESTS = 8
CAPACITY_S = 3.0
GRACE_S = 30  # Beyond `--patience` times the ideal, before a job counts as never finished.
SETTLE_S = 0.3  # After a client has ended, for the server to write its log.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def setup():
    CACHE.mkdir(parents=True, exist_ok=True)
    missing = [name for name in ("nginx", "haproxy") if not shutil.which(name, path=PATH)]
    if missing and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-q", *missing], check=True, env=environment)
    elif missing:
        sys.exit(f"missing: {', '.join(missing)}; install Debian's packages, or run this as root")
    for name in ("node", "npm"):
        if not shutil.which(name):
            sys.exit(f"{name} is missing")
    subprocess.run([sys.executable, "-m", "venv", CACHE / "venv"], check=True)
    subprocess.run([CACHE / "venv/bin/pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
    shutil.copy(HERE / "package.json", CACHE)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=CACHE, check=True)


def ask(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"/item/{name}")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@functools.cache
def unloaded_ms(limiter):
    """The median service time of a few spaced requests to an instance of their own."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        running = start(limiter, pathlib.Path(folder), port, 3600)
        try:
            for number in range(UNLOADED_REQUESTS):
                ask(port, f"U{number}")
                time.sleep(1.5 / limiter.rate if limiter.rate else 0.1)
            time.sleep(SETTLE_S)
        finally:
            running.stop()
        good = [request.service for request in score.read(running.log, running.unit_s) if request.status == 200]
        return 1000 * statistics.median(good)


@functools.cache
def capacity(limiter):
    """Answers per second of a limiter without a rate: with all its places taken, none refused.

    An overloaded pool is asked for two requests a worker, so that none waits for work.
    """
    in_flight = limiter.concurrency * (2 if "backlog" in limiter.settings else 1)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        running = start(limiter, pathlib.Path(folder), port, 3600)

        def load(worker):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            until, number = time.monotonic() + CAPACITY_S, 0
            while time.monotonic() < until:
                connection.request("GET", f"/item/C{worker}-{number}")
                connection.getresponse().read()
                number += 1
            connection.close()

        try:
            with concurrent.futures.ThreadPoolExecutor(in_flight) as pool:
                list(pool.map(load, range(in_flight)))
            time.sleep(SETTLE_S)
        finally:
            running.stop()
        good = [request.end for request in score.read(running.log, running.unit_s) if request.status == 200]
        first = min(good)
        inner = [end for end in good if first + 0.5 <= end < first + CAPACITY_S - 0.5]
        return len(inner) / (CAPACITY_S - 1)


def one_job(client, limiter, seconds, rate, port, base, prefix, arguments):
    """One client against a fresh server; (figures, note)."""
    steps = limiter.steps(seconds, rate)
    items = [f"{prefix}{number:06}" for number in range(max(1, round(rate * seconds)))]
    folder = base / f"server-{prefix}"
    folder.mkdir()
    server = start(limiter, folder, port, seconds)
    allowed = arguments.patience * (score.ideal_s(len(items), steps) + limiter.penalty_s) + GRACE_S
    job = Job(
        port, items, base, time.monotonic() + allowed, server, steps,
        0 if limiter.rate else limiter.concurrency, arguments.tidewatch,
    )
    note = ""
    try:
        note = client.ask(job)
    except TimedOut:
        note = f"never finished ({allowed:.0f} s)"
    finally:
        time.sleep(SETTLE_S)
        server.stop()
    return score.score(score.read(server.log, server.unit_s), items, steps), note


def one_run(client, limiter, arguments):
    seconds = arguments.seconds or limiter.seconds
    rate = limiter.rate or capacity(limiter)
    unloaded = unloaded_ms(limiter)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        base, port = pathlib.Path(folder), free_port()
        base.chmod(0o755)
        earlier = None
        if client.memory:
            earlier, _ = one_job(client, limiter, seconds / 3, rate, port, base, "E", arguments)
        figures, note = one_job(client, limiter, seconds, rate, port, base, "T", arguments)
        if arguments.keep and (figures["lost"] or "exit" in note):
            shutil.copy(base / "client.log", arguments.keep)
    missed = score.verdict(figures, limiter.goals, client.memory, limiter.seconds, limiter.penalty_s, unloaded)
    return dict(
        limiter=limiter.name, client=client.name, rate=rate, **figures, unloaded_ms=unloaded, load=load,
        load_after=os.getloadavg()[0], note=note, missed=missed, earlier=earlier,
    )


HEAD = (
    f"{'limiter':19}{'client':20}{'ratio':>6}{'refused':>15}{'lost':>6}{'dbl':>5}{'p50 / p95 ms':>15}{'90 % s':>8}"
    f"{'load':>6}  verdict"
)


def shown(value, form):
    return "-" if value is None else format(value, form)


def row(run):
    refused = f"{run['refused_share']:.1%} ({run['refused']})"
    latency = f"{shown(run.get('p50_ms'), '.1f')} / {shown(run.get('p95_ms'), '.1f')}"
    extra = ""
    if "refused_after_fall" in run:
        extra = f" [after fall {run['refused_after_fall']:.0%}, after rise {shown(run['reached_after_rise_s'], '.1f')} s]"
    words = "; ".join(run["missed"]) or "reached"
    return (
        f"{run['limiter']:19}{run['client']:20}{shown(run['ratio'], '.2f'):>6}{refused:>15}{run['lost']:6}{run['doubled']:5}"
        f"{latency:>15}{shown(run.get('reached_s'), '.2f'):>8}{run['load']:6.1f}  {words}{extra}"
        + (f" ({run['note']})" if run["note"] else "")
    )


def print_medians(runs, rounds):
    print(f"\nmedians of {rounds} rounds; goals reached in how many")
    for key in dict.fromkeys((run["limiter"], run["client"]) for run in runs):
        same = [run for run in runs if (run["limiter"], run["client"]) == key]
        ratios = [run["ratio"] for run in same if run["ratio"] is not None]
        ratio = statistics.median(ratios) if len(ratios) == len(same) else None
        refused = statistics.median(run["refused_share"] for run in same)
        reached = sum(not run["missed"] for run in same)
        print(f"{key[0]:19}{key[1]:20}{shown(ratio, '.2f'):>6}{refused:15.1%}  {reached} of {len(same)}")


def chosen(text, known, what):
    names = text.split(",") if text else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no such {what}: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["setup", "list", "run"], default="run")
    parser.add_argument("--limiters", help="default: all")
    parser.add_argument("--clients", help="default: all")
    parser.add_argument("--tidewatch", default="target/release/tidewatch")
    parser.add_argument("--seconds", type=float, help="of the limit's rate in one job; default: the limiter's")
    parser.add_argument("--rate", type=float, help="per second, instead of the limiter's own")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--patience", type=float, default=8, help="times the ideal, and 30 s: then ended")
    parser.add_argument("--json", help="append one line per run to this file")
    parser.add_argument("--keep", help="copy a failed client's messages to this file")
    arguments = parser.parse_args()
    if arguments.command == "setup":
        return setup()
    if arguments.command == "list":
        for limiter in LIMITERS.values():
            print(f"{limiter.name:19}{f'{limiter.rate:g}/s' if limiter.rate else 'measured':>9}  {limiter.what}")
        return
    if not (CACHE / "venv/bin/scrapy").exists() or not (CACHE / "node_modules").exists():
        sys.exit("not set up: run `rig.py setup`")
    limiters = chosen(arguments.limiters, LIMITERS, "limiter")
    clients = chosen(arguments.clients, CLIENTS, "client")
    arguments.tidewatch = str(pathlib.Path(arguments.tidewatch).resolve())
    if any(client.name.startswith("tidewatch") for client in clients) and not os.access(arguments.tidewatch, os.X_OK):
        sys.exit(f"no program at {arguments.tidewatch}: name one with --tidewatch, or leave its clients out with --clients")
    if arguments.rate:
        limiters = [dataclasses.replace(limiter, rate=arguments.rate) if limiter.rate else limiter for limiter in limiters]
    runs = []
    print(HEAD, flush=True)
    for _ in range(arguments.rounds):
        for limiter in limiters:
            for client in clients:
                run = one_run(client, limiter, arguments)
                runs.append(run)
                print(row(run), flush=True)
                if arguments.json:
                    with open(arguments.json, "a") as out:
                        out.write(json.dumps(run) + "\n")
    if arguments.rounds > 1:
        print_medians(runs, arguments.rounds)
    sys.exit(any(run["missed"] for run in runs if run["client"].startswith("tidewatch")))


if __name__ == "__main__":
    main()
