"""A program in asyncio that shows, in a line of a terminal, what a worker process counts.

    python examples/counter/asyncio_counter.py

The worker's numbers wake the loop through the queue's descriptor: there is no thread, and nothing is polled. Enter or
Ctrl-C end the program; the worker is told by a second queue.
"""

import asyncio
import itertools
import signal
import sys

import shoal


def count(numbers, commands):
    """What the worker does: put a number a hundred times a second, until a command comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all its processes
    for number in itertools.count(1):
        numbers.put(number)
        if commands.get_many(1, timeout=0.01):
            return


async def show(numbers):
    async for number in numbers:
        print(f"\r{number}", end="", flush=True)
        await asyncio.sleep(0)  # lets other tasks run, however many come


async def main():
    numbers, commands = shoal.Queue(), shoal.Queue()
    worker = shoal.Process(target=count, args=(numbers, commands), daemon=True)
    worker.start()
    showing = asyncio.create_task(show(numbers))
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, showing.cancel)
    loop.add_signal_handler(signal.SIGINT, showing.cancel)
    await asyncio.wait([showing])
    await commands.aput("quit")
    code = await worker.wait()
    print(f"\nthe worker has ended with {code}")


if __name__ == "__main__":
    asyncio.run(main())
