"""How many requests are worked on at once."""

import asyncio
import threading
import time

from anyio import to_thread

from server import lanes


def test_a_thread_that_is_held_long_is_not_counted():
    since = {}
    assert lanes.width([1, 2], since, 0.0, few=2, most=9) == 2
    assert lanes.width([1, 2], since, lanes.SLOW_S / 2, few=2, most=9) == 2
    assert lanes.width([1, 3], since, lanes.SLOW_S, few=2, most=9) == 3  # 1 is slow, 3 is new
    assert lanes.width([3], since, 2 * lanes.SLOW_S, few=2, most=9) == 3  # 3 is slow by now, 1 is gone
    assert lanes.width([], since, 3 * lanes.SLOW_S, few=2, most=9) == 2
    assert since == {}


def test_there_are_never_more_than_the_most():
    since = dict.fromkeys(range(50), 0.0)
    assert lanes.width(range(50), since, 1.0, few=2, most=9) == 9


def test_quick_work_is_done_while_slow_work_holds_every_thread():
    async def run():
        watching = asyncio.create_task(lanes.watch(2, 8))
        await asyncio.sleep(0)
        go_on = threading.Event()
        slow = [asyncio.create_task(to_thread.run_sync(go_on.wait, 20)) for _ in range(4)]
        await asyncio.sleep(0.01)
        quick = await asyncio.wait_for(to_thread.run_sync(time.monotonic), 10)  # 4 of 4 threads are held meanwhile
        assert not any(each.done() for each in slow)
        go_on.set()
        await asyncio.gather(*slow)
        watching.cancel()
        return quick

    assert asyncio.run(run()) > 0
