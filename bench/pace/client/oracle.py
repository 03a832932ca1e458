"""Knows the limit: asks evenly at 0.99 of it, or keeps exactly the allowed number in flight.

usage: oracle.py URL ITEMS (--shift SECONDS:RATE,... | --concurrency N)
"""

import argparse, asyncio, collections, pathlib, time
import aiohttp

MARGIN = 0.99
LATE_MAX = 3  # Requests made up for at once after the process was held up.


async def paced(ask, waiting, left, steps):
    started = due = time.monotonic()
    running = set()
    while left:
        if not waiting:
            await asyncio.sleep(0.005)
            due = max(due, time.monotonic())
            continue
        now = time.monotonic()
        interval = 1 / (MARGIN * next(rate for since, rate in reversed(steps) if now - started >= since))
        due = max(due, now - LATE_MAX * interval)
        if due > now:
            await asyncio.sleep(due - now)
        task = asyncio.create_task(ask(waiting.popleft()))
        running.add(task)
        task.add_done_callback(running.discard)
        due += interval


async def capped(ask, waiting, left, concurrency):
    async def worker():
        while left:
            if waiting:
                await ask(waiting.popleft())
            else:
                await asyncio.sleep(0.005)

    await asyncio.gather(*(worker() for _ in range(concurrency)))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("items")
    parser.add_argument("--shift")
    parser.add_argument("--concurrency", type=int)
    arguments = parser.parse_args()
    waiting = collections.deque(pathlib.Path(arguments.items).read_text().split())
    left = set(waiting)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def ask(item):
            try:
                async with session.get(arguments.url + item) as answer:
                    await answer.read()
                    good = answer.status == 200
            except (aiohttp.ClientError, asyncio.TimeoutError):
                good = False
            if good:
                left.discard(item)
            else:
                waiting.append(item)

        if arguments.concurrency:
            await capped(ask, waiting, left, arguments.concurrency)
        else:
            steps = [tuple(map(float, step.split(":"))) for step in arguments.shift.split(",")]
            await paced(ask, waiting, left, steps)


asyncio.run(main())
