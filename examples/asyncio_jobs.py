"""An asyncio program that has its hard work done by processes, while its event loop stays free for other things.

    python examples/asyncio_jobs.py [NUMBER_OF_JOBS]

The queues wake the event loop through a descriptor each: there is no thread in between, and nothing is polled.
"""

import asyncio
import sys
from itertools import pairwise

import shoal


def work(jobs, results):
    for number in jobs:  # until the queue is shut down
        results.put((number, sum(int(digit) for digit in str(3**number))))


async def submit(jobs, count):
    for number in range(count):
        await jobs.aput(number)  # waits while the queue is full, and lets the other tasks run
    jobs.shutdown()


async def collect(results, count):
    sums = {}
    async for number, digit_sum in results:
        sums[number] = digit_sum
        if len(sums) == count:
            break
    return sums


async def tick(ticks):
    while True:
        ticks.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)


async def main(count):
    jobs, results = shoal.Queue(maxsize=10), shoal.Queue()
    workers = [shoal.Process(target=work, args=(jobs, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    ticks = []
    ticker = asyncio.create_task(tick(ticks))
    _, sums = await asyncio.gather(submit(jobs, count), collect(results, count))
    ticker.cancel()
    for worker in workers:
        worker.join()
    largest = max(sums, key=sums.get)
    print(f"{len(sums)} powers of 3; the largest sum of digits is {sums[largest]}, of 3**{largest}")
    longest = max((later - earlier for earlier, later in pairwise(ticks)), default=0)
    print(f"the event loop was never away for more than {longest * 1000:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
