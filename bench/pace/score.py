"""What a server's own log says about one client: how long, how much refused, how slow. Pure."""

import bisect, collections, dataclasses, math, statistics

WINDOW_S = 0.5  # The sliding window in which the accepted rate is looked at.
REACHED = 0.9   # The share of the limit that counts as having reached it.
SMALL_SHARE_COUNT = 3  # In small jobs this many refusals are within any share.
SMALL_JOB = 100


@dataclasses.dataclass(frozen=True)
class Request:
    start: float
    end: float
    item: str
    status: int

    @property
    def service(self):
        return self.end - self.start


def read(log, unit_s):
    """The requests in a log of `end, path, status, service`; times are in units of `unit_s` seconds."""
    requests = []
    for line in open(log, errors="replace"):
        fields = line.rstrip("\n").split("\t")
        if len(fields) != 4 or not fields[1].startswith("/item/"):
            continue
        end = float(fields[0]) * unit_s
        requests.append(Request(end - float(fields[3]) * unit_s, end, fields[1].removeprefix("/item/"), int(fields[2])))
    return sorted(requests, key=lambda request: request.end)


def percentile(values, share):
    """The smallest value that `share` of the values do not exceed; nothing of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def ideal_s(count, steps):
    """Seconds to get `count` at the rates of `steps`: (since, rate) pairs in order of time."""
    for (since, rate), until in zip(steps, [since for since, _ in steps[1:]] + [math.inf]):
        if count <= rate * (until - since):
            return since + count / rate
        count -= rate * (until - since)


def reached_s(times, since, rate, until=math.inf):
    """Seconds from `since` to the first acceptance that ends a window at `REACHED` of `rate`.

    Fence posts: an even pace at `rate` puts at least floor(rate * WINDOW_S) into a window.
    """
    times = times[bisect.bisect_left(times, since):]
    needed = max(1, math.floor(REACHED * rate * WINDOW_S))
    for index in range(needed - 1, len(times)):
        if times[index] > until:
            break
        if times[index] - times[index - needed + 1] <= WINDOW_S:
            return times[index] - since
    return None


def refused_share(requests, start, end):
    asked = [request.status for request in requests if start <= request.start < end]
    return sum(status != 200 for status in asked) / len(asked) if asked else 0.0


def score(requests, items, steps):
    """The figures of one run. `items` are those wanted, `steps` the limit over time as (since, rate)."""
    wanted, accepted = set(items), collections.Counter()
    if not requests:
        return dict(requests=0, accepted=0, lost=len(wanted), doubled=0, refused=0, refused_share=0.0, ratio=None)
    first, last = min(request.start for request in requests), None
    for request in requests:
        if request.status == 200 and request.item in wanted:
            accepted[request.item] += 1
            if accepted[request.item] == 1:
                last = request.end
    good = [request for request in requests if request.status == 200]
    times = [request.end for request in good]
    refused = len(requests) - len(good)
    lost = len(wanted) - len(accepted)
    ideal = ideal_s(len(wanted), steps)
    figures = dict(
        requests=len(requests), accepted=len(accepted), lost=lost, doubled=accepted.total() - len(accepted),
        refused=refused, refused_share=refused / len(requests),
        statuses=dict(sorted(collections.Counter(request.status for request in requests).items())),
        ideal_s=ideal, seconds=last - first if last else None,
        ratio=(last - first) / ideal if last and not lost else None,
        p50_ms=1000 * statistics.median(request.service for request in good) if good else None,
        p95_ms=1000 * percentile([request.service for request in good], 0.95) if good else None,
        reached_s=reached_s(times, first, steps[0][1]),
    )
    if len(steps) > 1:
        (fall, _), (rise, rate) = steps[1], steps[2]
        figures["refused_after_fall"] = refused_share(requests, first + fall + 1, first + fall + 2)
        figures["reached_after_rise_s"] = reached_s(times, first + rise, rate)
    return figures


def goal_ratio(goal, default_s, actual_s):
    """A cold goal for a job of another length: what is lost once is lost once."""
    return goal if abs(actual_s / default_s - 1) < 0.05 else 1.02 + (goal - 1.02) * 12 / actual_s


def share_allowed(goal, requests):
    return max(SMALL_SHARE_COUNT, goal * requests) if requests < SMALL_JOB and goal else goal * requests


def verdict(figures, goals, memory, default_s, penalty_s, unloaded_ms):
    """The goals that were missed, in words; empty if all were reached."""
    missed = []

    def check(good, text):
        if not good:
            missed.append(text)

    check(figures["lost"] == 0, f"{figures['lost']} lost")
    if figures["ratio"] is not None:
        cold = goal_ratio(goals.cold, default_s, figures["ideal_s"]) + penalty_s / figures["ideal_s"]
        most = goals.memory if memory else cold
        check(figures["ratio"] <= most, f"ratio > {most:.2f}")
    if not memory:
        allowed = share_allowed(goals.refused, figures["requests"])
        check(figures["refused"] <= allowed, f"refused > {goals.refused:.1%}")
    if figures.get("p50_ms") is not None and goals.p50_factor:
        most = goals.p50_factor * unloaded_ms + goals.p50_ms
        check(figures["p50_ms"] <= most, f"p50 > {most:.0f} ms")
    most = (0.5 if memory else 2.0) + unloaded_ms / 1000
    reached = figures.get("reached_s")
    check(reached is not None and reached <= most, f"90 % later than {most:.1f} s")
    if "refused_after_fall" in figures:
        check(figures["refused_after_fall"] < 0.05, "refused >= 5 % 1 s after the fall")
        rise = figures["reached_after_rise_s"]
        check(rise is not None and rise <= 5, "90 % later than 5 s after the rise")
    return missed
