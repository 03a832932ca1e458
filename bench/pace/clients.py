"""The clients: each is asked for all items of a job and ends when it has them, or is ended."""

import dataclasses, os, pathlib, signal, subprocess, time
from limiters import CACHE, HERE, tool

IDLE_RUNS = 3  # Runs of `tidewatch run --once` that asked for nothing, after which there is no hope.
PAUSE_S = 0.2

SOURCE = """
name = "bench"
[entities]
file = "tickers.csv"
[periods]
calendar = "once"
[request]
url = "{url}{{{{ entity }}}}"
[limit]
concurrency = 256
[extract]
format = "json"
records = "$.data[*]"
empty = "$.total == 0"
[extract.fields]
date = {{ path = "$.t", type = "date" }}
close = {{ path = "$.c", type = "decimal(18,6)" }}
[expect]
records_per_cell = 1
key = ["entity", "date"]
checks = [ {{ not_null = "close" }} ]
"""


class TimedOut(Exception):
    pass


@dataclasses.dataclass
class Job:
    port: int
    items: list
    folder: pathlib.Path
    deadline: float  # Monotonic.
    server: object  # limiters.Running
    steps: list
    concurrency: int
    tidewatch: str

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/item/"

    @property
    def list(self):
        path = self.folder / "items.txt"
        path.write_text("\n".join(self.items) + "\n")
        return path

    def run(self, command, env=None):
        """Runs a program in a session of its own until it ends or the time is over; its exit code."""
        with open(self.folder / "client.log", "ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command], cwd=self.folder, env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        try:
            while process.poll() is None:
                if time.monotonic() > self.deadline:
                    raise TimedOut
                self.server.tick()
                time.sleep(0.02)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # Its own session: started above.
                process.wait()
        return process.returncode


def project(job):
    folder = job.folder / "project"
    (folder / "sources").mkdir(parents=True, exist_ok=True)
    (folder / "tidewatch.toml").write_text("")
    (folder / "sources/bench.toml").write_text(SOURCE.format(url=job.url))
    (folder / "tickers.csv").write_text("entity\n" + "".join(f"{item}\n" for item in job.items))
    return folder


def tidewatch(job):
    """`run --once`, repeated while it ends with 3: left something undone."""
    folder, idle = project(job), 0
    command = [job.tidewatch, "run", "--once", "--dir", folder, "--accept-entities", "bench"]
    runs = 0
    while idle < IDLE_RUNS:
        before = job.server.log.stat().st_size if job.server.log.exists() else 0
        code = job.run(command)
        runs += 1
        if code != 3:
            break
        idle = idle + 1 if job.server.log.stat().st_size == before else 0
        time.sleep(PAUSE_S)
    return f"{runs} runs, exit {code}" if runs > 1 or code else ""


def python(job, script, *arguments):
    code = job.run([CACHE / "venv/bin/python", HERE / "client" / script, *arguments])
    return f"exit {code}" if code else ""


def oracle(job):
    if job.concurrency:
        return python(job, "oracle.py", job.url, job.list, "--concurrency", job.concurrency)
    steps = ",".join(f"{since}:{rate}" for since, rate in job.steps)
    return python(job, "oracle.py", job.url, job.list, "--shift", steps)


def naive(job):
    return python(job, "naive.py", job.url, job.list)


def scrapy(*settings):
    def run(job):
        command = [CACHE / "venv/bin/python", "-m", "scrapy", "runspider", HERE / "client/spider.py"]
        command += ["-a", f"url={job.url}", "-a", f"items={job.list}", "-o", job.folder / "out.jsonl"]
        code = job.run(command + list(settings), dict(PYTHONDONTWRITEBYTECODE="1"))
        return f"exit {code}" if code else ""

    return run


def crawlee(job):
    env = dict(NODE_PATH=str(CACHE / "node_modules"))
    code = job.run([tool("node"), HERE / "client/crawl.cjs", job.url, job.list], env)
    return f"exit {code}" if code else ""


@dataclasses.dataclass(frozen=True)
class Client:
    name: str
    ask: object  # (job) -> what is to be noted
    memory: bool = False  # An earlier run in the same project goes before the one that is scored.


CLIENTS = {client.name: client for client in [
    Client("tidewatch-cold", tidewatch),
    Client("tidewatch-memory", tidewatch, memory=True),
    Client("oracle", oracle),
    Client("scrapy-autothrottle", scrapy("-s", "AUTOTHROTTLE_ENABLED=1")),
    Client("scrapy-fixed", scrapy()),
    Client("crawlee", crawlee),
    Client("naive", naive),
]}
