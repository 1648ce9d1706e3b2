"""An asyncio program and a pool of processes: `await`, `async for`, and a time limit that ends what it is set on.

python examples/asyncio_pool.py
"""

import asyncio
import itertools
import time

import shoal


def collatz(number):
    """How many steps it takes to 1."""
    steps = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


async def main():
    with shoal.Pool(2) as pool:
        steps = await pool.amap(collatz, range(1, 1001))
        print(f"up to 1000, {steps.index(max(steps)) + 1} takes the most steps: {max(steps)}")

        # The iterable is endless; it is read a bounded way ahead.
        numbers = itertools.count(1)
        async for number, steps_of_number in numbered(pool.aimap(collatz, numbers, chunksize=100)):
            if steps_of_number > 250:
                print(f"{number} is the first that takes more than 250 steps")
                break

        # What is cancelled is over: the worker is killed, and another one starts.
        began = time.monotonic()
        try:
            await asyncio.wait_for(pool.amap(time.sleep, [3600]), timeout=0.1)
        except asyncio.TimeoutError:
            print(f"an hour of sleep was ended within {'a second' if time.monotonic() - began < 1 else 'seconds'}")
        print(f"the pool goes on: {await pool.apply_async(collatz, (27,))}")


async def numbered(values, first=1):
    number = first
    async for value in values:
        yield number, value
        number += 1


if __name__ == "__main__":
    asyncio.run(main())
