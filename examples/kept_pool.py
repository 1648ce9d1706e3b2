"""A library that uses processes without asking its callers for a pool: all share the one that the program keeps.

python examples/kept_pool.py
"""

import math
import time

import shoal


def is_prime(number):
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def count_primes(numbers):
    """A function of the library: nobody has to make a pool for it, or to close one."""
    return sum(shoal.get_reusable_pool(2).map(is_prime, numbers))


def main():
    seconds = []
    for hundred in range(0, 500, 100):
        began = time.perf_counter()
        print(f"{count_primes(range(hundred, hundred + 100))} primes from {hundred} to {hundred + 99}")
        seconds.append(time.perf_counter() - began)
    print(
        f"first call {seconds[0] * 1000:.1f} ms, with the start of workers; the others {min(seconds[1:]) * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
