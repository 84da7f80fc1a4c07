"""How many requests one process works on at a time.

Python runs one thread at a time; those that SQLite and NumPy let go meanwhile only take it from one another. Measured
with 64 readers of small pages, boxes and tiles over a million parcels: one thread gave 408 answers/s, two 356, eight
234. So few requests are worked on at once. One that takes long (a large file, a tile nobody has asked for before)
widens the road by one while it lasts, so that nobody waits behind it.
"""

import time
from asyncio import sleep
from collections.abc import Iterable

from anyio import to_thread

SLOW_S = 0.05
LOOK_S = 0.02


def width(held: Iterable[int], since: dict[int, float], now: float, *, few: int, most: int) -> int:
    """Threads to allow, given who holds one now; `since` keeps from look to look when each was first seen."""
    seen = {holder: since.get(holder, now) for holder in held}
    since.clear()
    since.update(seen)
    return min(few + sum(now - begun >= SLOW_S for begun in seen.values()), most)


async def watch(few: int, most: int) -> None:
    """Keep the number of threads fitting; runs as long as the server."""
    limiter = to_thread.current_default_thread_limiter()
    limiter.total_tokens = few
    since: dict[int, float] = {}
    while True:
        await sleep(LOOK_S)
        if limiter.borrowed_tokens or since:
            holders = [id(each) for each in limiter.statistics().borrowers]
            allowed = width(holders, since, time.monotonic(), few=few, most=most)
            if allowed != limiter.total_tokens:
                limiter.total_tokens = allowed
