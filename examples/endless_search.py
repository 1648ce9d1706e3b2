"""A search among numbers without end: the pool reads them only as fast as its workers go.

    python examples/endless_search.py [HOW_MANY]

`imap` takes its input from a generator that never ends. It reads only so many chunks ahead of what was taken from its
results, so memory does not grow, and the search stops when enough was found. The progress is shown on stderr: by tqdm
where it is installed.
"""

import itertools
import sys

import shoal

produced = 0


def candidates():
    global produced
    for number in itertools.count(10**9 + 1, 2):
        produced += 1
        yield number


def prime_or_none(number):
    return number if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2)) else None


def main(how_many):
    with shoal.Pool(2) as pool:
        tested = pool.imap(prime_or_none, candidates(), chunksize=10, buffersize=20, progress=True)
        primes = list(itertools.islice(filter(None, tested), how_many))
    print(f"the first primes after a thousand million: {', '.join(map(str, primes))}")
    print(f"{produced} candidates were produced", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
