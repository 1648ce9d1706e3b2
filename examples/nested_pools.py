"""A pool in each worker of a pool: a table of sums, whose rows and cells are computed in parallel.

    python examples/nested_pools.py

The functions are closures, defined where they are used: those are sent by cloudpickle, which has to be installed. The
inner pools end with the worker that has them, however it ends.
"""

import shoal


def table(rows, columns):
    def row(factor):
        with shoal.Pool(2) as inner:
            return inner.map(lambda column: sum(range(factor * column)), range(columns))

    with shoal.Pool(2) as outer:
        return outer.map(row, range(rows), chunksize=1)


def main():
    for row in table(4, 6):
        print(" ".join(f"{cell:4}" for cell in row))


if __name__ == "__main__":
    main()
