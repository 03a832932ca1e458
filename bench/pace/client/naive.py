"""100 at once; each item is repeated with exponential back-off (full jitter, 0.5 s doubling to 30 s).

usage: naive.py URL ITEMS
"""

import asyncio, pathlib, random, sys
import aiohttp

CONCURRENCY, FIRST_S, MAX_S = 100, 0.5, 30.0


async def main(url, items):
    waiting = pathlib.Path(items).read_text().split()[::-1]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def worker():
            while waiting:
                item, pause = waiting.pop(), FIRST_S
                while True:
                    try:
                        async with session.get(url + item) as answer:
                            await answer.read()
                            if answer.status == 200:
                                break
                    except (aiohttp.ClientError, asyncio.TimeoutError):
                        pass
                    await asyncio.sleep(random.uniform(0, pause))
                    pause = min(2 * pause, MAX_S)

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


asyncio.run(main(*sys.argv[1:]))
