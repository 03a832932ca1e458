"""The limiters: real software, started on loopback, each with its kind, its figures and its log."""

import dataclasses, os, pathlib, shutil, signal, socket, subprocess, time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path.home() / ".cache/tw/pace-rig"
PATH = os.environ["PATH"] + ":/usr/sbin"
ANSWER = '{"data":[{"t":"2026-01-05","c":"1.5"}],"total":1}\n'
START_S = 20  # The longest a server may take to answer.
GUNICORN = [CACHE / "venv/bin/gunicorn", "--no-control-socket", "--graceful-timeout", 1, "--log-level", "error"]


@dataclasses.dataclass(frozen=True)
class Goals:
    """One line of the table of goals."""

    cold: float
    refused: float
    memory: float
    p50_factor: float = 0
    p50_ms: float = 0


LEAKY = Goals(1.10, 0.01, 1.03)
QUEUE = Goals(1.10, 0.0, 1.03, p50_factor=3, p50_ms=5)
BUCKET = Goals(0.95, 0.007, 0.90)
FIXED = Goals(1.00, 0.003, 0.95)
MOVING = Goals(1.10, 0.007, 1.03)
COUNTING = Goals(1.15, 0.007, 1.03)
CAP = Goals(1.15, 0.01, 1.05)
OVERLOAD = Goals(1.15, 0.005, 1.08, p50_factor=2, p50_ms=20)
SHIFT = Goals(1.15, 0.015, 1.08)
PENALTY = Goals(1.10, 0.004, 1.08)


@dataclasses.dataclass(frozen=True, eq=False)
class Limiter:
    name: str
    what: str
    goals: Goals
    start: object  # (limiter, folder, port, seconds) -> Running
    rate: float = 0  # Per second; 0: measured, because concurrency is what is limited.
    seconds: float = 12
    window_s: int = 1
    burst_s: float = 0.05  # Burst or queue, in seconds of the rate.
    concurrency: int = 0
    service_ms: float = 0
    penalty_s: float = 0
    shift: tuple = ((0, 1.0),)  # (since, factor): share of the job's seconds, share of the rate.
    settings: dict = dataclasses.field(default_factory=dict)

    @property
    def quota(self):
        return max(1, round(self.rate * self.window_s))

    @property
    def burst(self):
        return max(self.settings.get("burst_min", 5), round(self.burst_s * self.rate))

    def steps(self, seconds, rate):
        return [(share * seconds, factor * rate) for share, factor in self.shift]


class Running:
    """A started server: its log, and how to end it."""

    def __init__(self, log, unit_s=1.0):
        self.log, self.unit_s, self.processes, self.changes = log, unit_s, [], []

    def spawn(self, command, folder, env=None, stdout=None):
        out = open(stdout, "wb") if stdout else subprocess.DEVNULL
        with open(folder / "server-errors.log", "ab") as errors:
            process = subprocess.Popen(
                [str(part) for part in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                env={**os.environ, **{key: str(value) for key, value in (env or {}).items()}},
            )
        self.processes.append(process)

    def tick(self):
        """Makes the changes that are due, counted from the first request in the log."""
        if not self.changes:
            return
        if not hasattr(self, "first"):
            line = open(self.log).readline() if self.log.exists() else ""
            if not line.endswith("\n"):
                return
            fields = line.split("\t")
            self.first = float(fields[0]) - float(fields[3])
        while self.changes and time.time() >= self.first + self.changes[0][0]:
            self.changes.pop(0)[1]()

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def fill(template, target, **values):
    text = (HERE / "server" / template).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    target.write_text(text)


def tool(name):
    found = shutil.which(name, path=PATH)
    if not found:
        raise SystemExit(f"{name} is missing: run `rig.py setup`")
    return found


def node(running, script, folder, **env):
    env |= dict(NODE_PATH=CACHE / "node_modules", ANSWER=folder / "answer.json", NODE_ENV="production")
    running.spawn([tool("node"), HERE / "server" / script], folder, env, folder / "access.log")


def gunicorn(running, app, folder, bind, options, **env):
    env |= dict(PYTHONPATH=HERE / "server", ANSWER=folder / "answer.json", PYTHONDONTWRITEBYTECODE=1)
    running.spawn([*GUNICORN, app, "--bind", bind, *options], folder, env, folder / "access.log")


def connected(address, family=socket.AF_INET):
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


def wait_for(address, running, family=socket.AF_INET):
    """Waits until something listens, by connecting only: no request, so no quota is spent."""
    for _ in range(int(START_S / 0.05)):
        if any(process.poll() is not None for process in running.processes):
            break
        if connected(address, family):
            return
        time.sleep(0.05)
    running.stop()
    raise SystemExit(f"no server at {address}:\n" + (running.log.parent / "server-errors.log").read_text()[-2000:])


def nginx_zone(limiter, factor=1.0):
    rate = limiter.rate * factor
    shown = f"{round(rate)}r/s" if rate >= 20 else f"{round(60 * rate)}r/m"
    return f"limit_req_zone $binary_remote_addr zone=rate:1m rate={shown};"


def start_nginx(limiter, folder, port, seconds):
    """limit_req on a static file."""
    running = Running(folder / "access.log")
    location = f"limit_req zone=rate burst={limiter.burst} {limiter.settings.get('limit_req', 'nodelay')};"
    if "status" in limiter.settings:
        location += f" limit_req_status {limiter.settings['status']};"
    location += " try_files /answer.json =404;"

    def write(factor):
        values = dict(DIR=folder, PORT=port, HTTP=nginx_zone(limiter, factor), LOCATION=location)
        fill("nginx.conf", folder / "nginx.conf", **values)

    def change(factor):
        write(factor)
        running.processes[0].send_signal(signal.SIGHUP)

    write(1.0)
    running.spawn([tool("nginx"), "-c", folder / "nginx.conf", "-e", folder / "nginx-error.log"], folder)
    running.changes = [(share * seconds, lambda factor=factor: change(factor)) for share, factor in limiter.shift[1:]]
    return running


def start_nginx_cap(limiter, folder, port, seconds):
    """limit_conn, and limit_req too if there is a rate, in front of an upstream of fixed service time."""
    running, upstream = Running(folder / "access.log"), folder / "upstream.sock"
    env = dict(SOCKET=upstream, SERVICE_MS=limiter.service_ms, ANSWER=folder / "answer.json")
    running.spawn([tool("node"), HERE / "server/slow.cjs"], folder, env)
    wait_for(str(upstream), running, socket.AF_UNIX)
    upstream.chmod(0o777)
    http = "limit_conn_zone $binary_remote_addr zone=cap:1m;"
    http += f" upstream slow {{ server unix:{upstream}; keepalive 512; }}"
    location = f"limit_conn cap {limiter.concurrency}; proxy_pass http://slow;"
    location += " proxy_http_version 1.1; proxy_set_header Connection '';"
    if "limit_req" in limiter.settings:
        http += " " + nginx_zone(limiter)
        location += f" limit_req zone=rate burst={limiter.burst} nodelay; limit_req_status 429;"
    fill("nginx.conf", folder / "nginx.conf", DIR=folder, PORT=port, HTTP=http, LOCATION=location)
    running.spawn([tool("nginx"), "-c", folder / "nginx.conf", "-e", folder / "nginx-error.log"], folder)
    return running


def start_overload(limiter, folder, port, seconds):
    """A few synchronous gunicorn workers with a short backlog behind an nginx with a short time-out."""
    running, upstream = Running(folder / "access.log"), folder / "upstream.sock"
    options = ["--workers", limiter.concurrency, "--worker-class", "sync", "--backlog", limiter.settings["backlog"]]
    env = dict(SERVICE_MS=limiter.service_ms, ANSWER=folder / "answer.json", PYTHONPATH=HERE / "server")
    command = [*GUNICORN, "worker_app:application", "--bind", f"unix:{upstream}", *options]
    running.spawn(command, folder, env | dict(PYTHONDONTWRITEBYTECODE=1))
    wait_for(str(upstream), running, socket.AF_UNIX)
    time.sleep(1)  # The master listens before its workers are up.
    location = f"proxy_pass http://unix:{upstream}:; proxy_read_timeout {limiter.settings['timeout_ms']}ms;"
    fill("nginx.conf", folder / "nginx.conf", DIR=folder, PORT=port, HTTP="", LOCATION=location)
    running.spawn([tool("nginx"), "-c", folder / "nginx.conf", "-e", folder / "nginx-error.log"], folder)
    return running


def start_haproxy(limiter, folder, port, seconds):
    running = Running(folder / "access.log", unit_s=0.001)
    fill("haproxy.cfg", folder / "haproxy.cfg", DIR=folder, PORT=port, WINDOW_S=limiter.window_s, QUOTA=limiter.quota)
    running.spawn([tool("haproxy"), "-db", "-f", folder / "haproxy.cfg"], folder, stdout=folder / "access.log")
    return running


def start_express(limiter, folder, port, seconds):
    running = Running(folder / "access.log")
    env = dict(PORT=port, QUOTA=limiter.quota, WINDOW_S=limiter.window_s)
    env["STANDARD_HEADERS"] = limiter.settings.get("standard", "")
    env["LEGACY_HEADERS"] = int(limiter.settings.get("legacy", False))
    if len(limiter.shift) > 1:
        env["SHIFT"] = ",".join(f"{share * seconds}:{factor}" for share, factor in limiter.shift)
    node(running, "express.cjs", folder, **env)
    return running


def start_flexible(limiter, folder, port, seconds):
    running = Running(folder / "access.log")
    env = dict(PORT=port, QUOTA=limiter.quota, WINDOW_S=limiter.window_s, BLOCK_S=limiter.penalty_s)
    node(running, "flexible.cjs", folder, RETRY_AFTER=int(limiter.settings["retry_after"]), **env)
    return running


def start_flask(limiter, folder, port, seconds):
    """One process, since the limiters count in memory; threads, so that connections are kept."""
    running = Running(folder / "access.log")
    options = ["--workers", 1, "--worker-class", "gthread", "--threads", 16, "--worker-connections", 2048]
    options += ["--keep-alive", 600]
    env = dict(RATE=limiter.rate, QUOTA=limiter.quota, WINDOW_S=limiter.window_s, BURST=limiter.burst)
    env |= dict(STRATEGY=limiter.settings.get("strategy", ""), HEADERS=int(limiter.settings.get("headers", False)))
    env["RETRY_AFTER"] = int(limiter.settings.get("retry_after", False))
    gunicorn(running, limiter.settings["app"], folder, f"127.0.0.1:{port}", options, **env)
    return running


def start_slowapi(limiter, folder, port, seconds):
    running = Running(folder / "access.log")
    command = [CACHE / "venv/bin/uvicorn", "slowapi_app:application", "--port", port, "--no-access-log", "--log-level", "error"]
    env = dict(QUOTA=limiter.quota, WINDOW_S=limiter.window_s, ANSWER=folder / "answer.json")
    env |= dict(PYTHONPATH=HERE / "server", PYTHONDONTWRITEBYTECODE=1)
    running.spawn(command + ["--timeout-keep-alive", 600], folder, env, folder / "access.log")
    return running


def express_family():
    headers = dict(draft6=dict(standard="draft-6"), draft7=dict(standard="draft-7"), draft8=dict(standard="draft-8"))
    headers |= dict(legacy=dict(legacy=True), none={})
    for window_s, rate, seconds in ((1, 100, 12), (10, 50, 20)):
        for name, settings in headers.items():
            what = f"express-rate-limit, fixed window of {window_s} s, headers: {name}"
            goals = FIXED if settings else MOVING
            yield Limiter(
                f"express-{name}-{window_s}s", what, goals, start_express, rate, seconds, window_s, settings=settings
            )


SHIFTING = ((0, 1.0), (1 / 3, 0.4), (2 / 3, 1.5))
LIMITERS = {limiter.name: limiter for limiter in [
    Limiter("nginx-429", "nginx limit_req nodelay, 429", LEAKY, start_nginx, 100, settings=dict(status=429)),
    Limiter("nginx-503", "nginx limit_req nodelay, its default 503", LEAKY, start_nginx, 50),
    Limiter(
        "nginx-444", "nginx limit_req nodelay, connection dropped",
        LEAKY, start_nginx, 100, settings=dict(status=444),
    ),
    Limiter("nginx-5", "the same at 5/s, 429", LEAKY, start_nginx, 5, settings=dict(status=429, burst_min=2)),
    Limiter(
        "nginx-1000", "the same at 1000/s, 429",
        LEAKY, start_nginx, 1000, settings=dict(status=429), burst_s=0.02,
    ),
    Limiter(
        "nginx-queue", "nginx limit_req with a queue of 0.5 s: latency, then 503",
        QUEUE, start_nginx, 100, burst_s=0.5, settings=dict(limit_req=""),
    ),
    Limiter(
        "nginx-conn", "nginx limit_conn 8, 503; service 50 ms",
        CAP, start_nginx_cap, concurrency=8, service_ms=50,
    ),
    Limiter(
        "nginx-both", "limit_req 100/s (429) and limit_conn 8 (503) at once; service 50 ms",
        LEAKY, start_nginx_cap, 100, concurrency=8, service_ms=50, settings=dict(limit_req="nodelay"),
    ),
    Limiter("haproxy", "HAProxy http_req_rate over 1 s, 429; refused requests count", COUNTING, start_haproxy, 100),
    Limiter("haproxy-10s", "the same over 10 s", COUNTING, start_haproxy, 50, 20, 10),
    *express_family(),
    Limiter(
        "bucket", "PyPI token-bucket in Flask, burst of 2 s, Retry-After rounded up",
        BUCKET, start_flask, 100, burst_s=2, settings=dict(app="bucket_app", retry_after=True),
    ),
    Limiter(
        "bucket-silent", "the same without Retry-After",
        BUCKET, start_flask, 100, burst_s=2, settings=dict(app="bucket_app"),
    ),
    Limiter(
        "flask-moving", "Flask-Limiter, moving window of 1 s, no headers",
        MOVING, start_flask, 100, settings=dict(app="limits_app", strategy="moving-window"),
    ),
    Limiter(
        "flask-moving-10s", "Flask-Limiter, moving window of 10 s, with headers",
        MOVING, start_flask, 50, 20, 10, settings=dict(app="limits_app", strategy="moving-window", headers=True),
    ),
    Limiter(
        "flask-sliding", "Flask-Limiter, sliding window counter of 1 s, no headers",
        MOVING, start_flask, 100, settings=dict(app="limits_app", strategy="sliding-window-counter"),
    ),
    Limiter(
        "slowapi", "slowapi, moving window of 1 s, headers and Retry-After on 200 answers",
        MOVING, start_slowapi, 100,
    ),
    Limiter(
        "flexible", "rate-limiter-flexible, 1 s, blocks 5 s, Retry-After",
        PENALTY, start_flexible, 100, penalty_s=5, settings=dict(retry_after=True),
    ),
    Limiter(
        "flexible-silent", "the same without Retry-After",
        PENALTY, start_flexible, 100, penalty_s=5, settings=dict(retry_after=False),
    ),
    Limiter(
        "overload", "4 sync gunicorn workers of 20 ms, backlog 64, behind nginx with a time-out of 250 ms",
        OVERLOAD, start_overload, concurrency=4, service_ms=20, settings=dict(backlog=64, timeout_ms=250),
    ),
    Limiter(
        "shift-express", "express-rate-limit (draft-7), 1 s; to 40 % at 1/3, to 150 % at 2/3",
        SHIFT, start_express, 100, 25, shift=SHIFTING, settings=dict(standard="draft-7"),
    ),
    Limiter("shift-silent", "the same without headers", SHIFT, start_express, 100, 25, shift=SHIFTING),
    Limiter(
        "shift-nginx", "nginx limit_req nodelay, 429, reloaded: to 40 % at 1/3, to 150 % at 2/3",
        SHIFT, start_nginx, 100, 25, shift=SHIFTING, settings=dict(status=429),
    ),
]}


def start(limiter, folder, port, seconds):
    """Starts the limiter in `folder`, which must be empty; its server listens when this returns."""
    folder.chmod(0o755)  # nginx's worker is another user.
    (folder / "answer.json").write_text(ANSWER)
    running = limiter.start(limiter, folder, port, seconds)
    wait_for(("127.0.0.1", port), running)
    return running
