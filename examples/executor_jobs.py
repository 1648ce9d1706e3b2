"""An executor as in `concurrent.futures`, some of whose workers die: only their own calls are lost.

    python examples/executor_jobs.py [LARGEST_NUMBER]

One line was changed: `from concurrent.futures import ProcessPoolExecutor`. With the standard library's, the first
worker that dies breaks the executor, and all other calls fail with it.
"""

import itertools
import os
import signal
import sys

from shoal.futures import CallLost, ProcessPoolExecutor, as_completed


def factors(number):
    if number % 1000 == 0:
        os.kill(os.getpid(), signal.SIGKILL)  # as if it had run out of memory
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def main(largest):
    with ProcessPoolExecutor(2) as executor:
        number_of = {executor.submit(factors, number): number for number in range(2, largest + 1)}
        primes, lost = 0, []
        for future in as_completed(number_of):
            if isinstance(future.exception(), CallLost):
                lost.append(number_of[future])
            else:
                primes += len(future.result()) == 1
        print(f"{primes} primes up to {largest}; calls that were lost: {sorted(lost)}")

        # Chunks go out as the values are taken, so the iterable may be endless.
        squares = executor.map(pow, itertools.count(), itertools.repeat(2), chunksize=10, buffersize=4)
        print(f"{[next(squares) for _ in range(5)]} of an endless map")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
