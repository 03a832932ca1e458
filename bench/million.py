#!/usr/bin/env python3
"""A million cells for real: 5,000 entities x 200 days from a local nginx, then `status` on them.

Prints the rate, the program's resident memory at every tenth of the way (it must be flat), and the
time of `tidewatch status` as a whole process.

usage: million.py [--entities N] [--days N] [--tidewatch PATH]
"""

import argparse, datetime, json, pathlib, shutil, socket, statistics, subprocess, sys, tempfile, time, os
from throughput import NGINX, SOURCE, CONCURRENCY, body, free_port

NOW = "2026-11-01T00:00:00Z"


def resident_mb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--entities", type=int, default=5000)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--tidewatch", default="target/release/tidewatch")
    arguments = parser.parse_args()
    program = str(pathlib.Path(arguments.tidewatch).resolve())
    cells = arguments.entities * arguments.days
    first = datetime.date(2026, 11, 1) - datetime.timedelta(days=arguments.days)
    with tempfile.TemporaryDirectory() as folder:
        work, port = pathlib.Path(folder), free_port()
        (work / "nginx.conf").write_text(NGINX.format(dir=work, port=port, body=body()))
        server = subprocess.Popen([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-c", str(work / "nginx.conf")])
        try:
            time.sleep(0.5)
            project = work / "project"
            (project / "sources").mkdir(parents=True)
            (project / "tidewatch.toml").write_text("")
            source = SOURCE.format(port=port, concurrency=CONCURRENCY, learn="false")
            source = source.replace('calendar = "once"', f'calendar = "daily"\nfrom = "{first}"')
            source = source.replace("{{ entity }}", "{{ entity }}?date={{ period }}")
            (project / "sources/bench.toml").write_text(source)
            with open(project / "tickers.csv", "w") as out:
                out.write("entity\n")
                out.writelines(f"T{number:05}\n" for number in range(arguments.entities))
            started = time.monotonic()
            run = subprocess.Popen([program, "run", "--once", "--dir", str(project), "--now", NOW, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            seen = []
            while run.poll() is None:
                seen.append(resident_mb(run.pid))
                time.sleep(0.5)
            wall = time.monotonic() - started
            if run.returncode:
                sys.exit(f"tidewatch ended with {run.returncode}")
            print(json.loads(run.stdout.read()))
        finally:
            server.terminate()
            server.wait()
        print(f"{cells:,} cells in {wall:.1f} s, {cells / wall:,.0f}/s")
        tenths = [max(seen[len(seen) * part // 10 : max(len(seen) * (part + 1) // 10, len(seen) * part // 10 + 1)]) for part in range(10)]
        print("resident MB by tenths of the way: " + " ".join(f"{mb:.0f}" for mb in tenths))
        command = [program, "status", "--dir", str(project), "--now", NOW]
        times = []
        for _ in range(11):
            started = time.monotonic()
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            times.append(time.monotonic() - started)
        print(out)
        print(f"status: median {1000 * statistics.median(times):.0f} ms, maximum {1000 * max(times):.0f} ms")


if __name__ == "__main__":
    main()
