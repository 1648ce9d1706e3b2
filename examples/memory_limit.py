"""Tasks that may take only so much memory, so that one of them cannot bring the machine down.

    python examples/memory_limit.py

A task that wants more fails with MemoryError, and the pool goes on. Each worker has the limit for itself.
"""

import shoal

MIB = 2**20


def count_zeros(size):
    return bytes(size).count(0)


def try_with(pool, size):
    try:
        print(f"{pool.apply(count_zeros, (size,)) // MIB} MiB of zeros")
    except MemoryError:
        print(f"{size // MIB} MiB are too much")


def main():
    with shoal.Pool(2, max_memory=512 * MIB) as pool:
        for size in (10 * MIB, 1024 * MIB, 100 * MIB):
            try_with(pool, size)


if __name__ == "__main__":
    main()
