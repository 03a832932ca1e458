#!/usr/bin/env python3
"""Requests and CPU of Tidewatch, Scrapy and wrk against one local nginx, in one run.

Each asks a static nginx on loopback (one worker) for 1 KB JSON answers:

* Tidewatch: the release program, `run --once`, archive on, typed records into Delta tables; once
  as it comes, finding the server's capacity by itself, and once told not to (`learn = false`);
* Scrapy: one spider, the same parsing, into JSON lines;
* wrk: the ceiling, it only counts answers.

usage: throughput.py [--cells N] [--scrapy-cells N] [--rounds R] [--tidewatch PATH] [--python PATH]

Needs nginx and wrk (Debian's packages), and Scrapy in the interpreter named by --python (the part
is left out, loudly, where it is missing). Prints one table and the ratios; everything it starts is
ended by it.
"""

import argparse, json, os, pathlib, resource, shutil, socket, statistics, subprocess, sys, tempfile, time

CONCURRENCY = 64
# A round: the CPU of wrk depends on where the scheduler puts it and the server, in one run of some.
WRK_RUNS = 3

SOURCE = """
name = "bench"
[entities]
file = "tickers.csv"
[periods]
calendar = "once"
[request]
url = "http://127.0.0.1:{port}/eod/{{{{ entity }}}}"
[limit]
concurrency = {concurrency}
learn = {learn}
[extract]
format = "json"
records = "$.data[*]"
empty = "$.total == 0"
[extract.fields]
date = {{ path = "$.t", type = "date" }}
open = {{ path = "$.o", type = "decimal(18,6)" }}
close = {{ path = "$.c", type = "decimal(18,6)" }}
volume = {{ path = "$.v", type = "int" }}
[expect]
records_per_cell = 1
key = ["entity", "date"]
checks = [ {{ not_null = "close" }}, {{ between = {{ field = "close", min = 0 }} }} ]
"""

SPIDER = """
import scrapy

class Bench(scrapy.Spider):
    name = "bench"
    custom_settings = dict(
        CONCURRENT_REQUESTS={concurrency}, CONCURRENT_REQUESTS_PER_DOMAIN={concurrency}, LOG_LEVEL="ERROR",
        ROBOTSTXT_OBEY=False, TELNETCONSOLE_ENABLED=False, COOKIES_ENABLED=False, RETRY_ENABLED=False,
        DOWNLOAD_DELAY=0,
    )

    async def start(self):
        for number in range({cells}):
            yield scrapy.Request("http://127.0.0.1:{port}/eod/T%07d" % number, dont_filter=True)

    def parse(self, response):
        for record in response.json()["data"]:
            yield dict(date=record["t"], open=record["o"], close=record["c"], volume=record["v"], url=response.url)
"""

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location /eod/ {{ default_type application/json; return 200 '{body}'; }}
    }}
}}
"""


def body():
    record = dict(t="2026-11-19", o=261.74, h=263.1, l=259.02, c=262.815, v=48213377)
    answer = dict(symbol="ANY", total=1, data=[record], note="")
    answer["note"] = "x" * (1024 - len(json.dumps(answer)))
    return json.dumps(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def timed(command, **options):
    """Runs a command; (wall seconds, CPU seconds, peak MB)."""
    started = time.monotonic()
    process = subprocess.Popen(command, **options)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tidewatch(program, work, port, cells, learn="false"):
    project = work / "project"
    shutil.rmtree(project, ignore_errors=True)
    (project / "sources").mkdir(parents=True)
    (project / "tidewatch.toml").write_text("")
    (project / "sources/bench.toml").write_text(SOURCE.format(port=port, concurrency=CONCURRENCY, learn=learn))
    with open(project / "tickers.csv", "w") as out:
        out.write("entity\n")
        out.writelines(f"T{number:07}\n" for number in range(cells))
    figures = timed([program, "run", "--once", "--dir", str(project), "--json"], stdout=subprocess.PIPE)
    count = subprocess.run(
        [program, "sql", "--dir", str(project), "--json", "select count(*) as records from bench"],
        capture_output=True, text=True, check=True,
    )
    found = json.loads(count.stdout)[0]["records"]
    if found != cells:
        sys.exit(f"tidewatch wrote {found} records of {cells}")
    return figures


def scrapy(python, work, port, cells):
    spider = work / "spider.py"
    spider.write_text(SPIDER.format(port=port, concurrency=CONCURRENCY, cells=cells))
    out = work / "out.jsonl"
    out.unlink(missing_ok=True)
    figures = timed([python, "-m", "scrapy", "runspider", str(spider), "-o", str(out)], cwd=work)
    found = sum(1 for _ in open(out))
    if found != cells:
        sys.exit(f"scrapy wrote {found} records of {cells}")
    return figures


def wrk(port, seconds):
    command = ["wrk", "-t1", f"-c{CONCURRENCY}", f"-d{seconds}s", f"http://127.0.0.1:{port}/eod/T0000001"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    requests = int(next(line for line in text.splitlines() if "requests in" in line).split()[0])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return requests, wall, cpu, after.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--scrapy-cells", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wrk-seconds", type=int, default=3)
    parser.add_argument("--tidewatch", default="target/release/tidewatch")
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    for tool in ("nginx", "wrk"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            sys.exit(f"{tool} is missing: install Debian's package")
    has_scrapy = subprocess.run([arguments.python, "-c", "import scrapy"], capture_output=True).returncode == 0
    if not has_scrapy:
        print(f"LEFT OUT: scrapy is not installed in {arguments.python}", file=sys.stderr)
    program = str(pathlib.Path(arguments.tidewatch).resolve())
    with tempfile.TemporaryDirectory() as folder:
        work, port = pathlib.Path(folder), free_port()
        (work / "nginx.conf").write_text(NGINX.format(dir=work, port=port, body=body()))
        path = os.environ["PATH"] + ":/usr/sbin"
        server = subprocess.Popen([shutil.which("nginx", path=path), "-c", str(work / "nginx.conf")])
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            rows = {}
            for _ in range(arguments.rounds):
                for _ in range(WRK_RUNS):
                    requests, wall, cpu, peak = wrk(port, arguments.wrk_seconds)
                    rows.setdefault("wrk", []).append((requests / wall, requests / cpu, 1e4 * cpu / requests, peak))
                wall, cpu, peak = tidewatch(program, work, port, arguments.cells)
                rows.setdefault("tidewatch", []).append((arguments.cells / wall, arguments.cells / cpu, 1e4 * cpu / arguments.cells, peak))
                wall, cpu, peak = tidewatch(program, work, port, arguments.cells, "true")
                rows.setdefault("  learning", []).append((arguments.cells / wall, arguments.cells / cpu, 1e4 * cpu / arguments.cells, peak))
                if has_scrapy:
                    wall, cpu, peak = scrapy(arguments.python, work, port, arguments.scrapy_cells)
                    cells = arguments.scrapy_cells
                    rows.setdefault("scrapy", []).append((cells / wall, cells / cpu, 1e4 * cpu / cells, peak))
        finally:
            server.terminate()
            server.wait()
    print(f"{'':12}{'requests/s':>12}{'per CPU-s':>12}{'CPU-s/10k':>12}{'peak MB':>10}   (medians of {arguments.rounds})")
    medians = {name: [statistics.median(column) for column in zip(*figures)] for name, figures in rows.items()}
    for name, (rate, per_cpu, per_10k, peak) in medians.items():
        print(f"{name:12}{rate:12,.0f}{per_cpu:12,.0f}{per_10k:12.3f}{peak:10,.0f}")
    share = medians["tidewatch"][1] / medians["wrk"][1]
    runs = ", ".join(f"{figures[1]:,.0f}" for figures in sorted(rows["wrk"], key=lambda it: it[1]))
    print(f"tidewatch / wrk, requests per client CPU-second: {share:.1%} (wrk's runs: {runs})")
    if has_scrapy:
        print(f"tidewatch / scrapy, requests per second: {medians['tidewatch'][0] / medians['scrapy'][0]:.1f} x")


if __name__ == "__main__":
    main()
