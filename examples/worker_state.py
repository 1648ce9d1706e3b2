"""Workers that open something once, keep it, and put it away in the end; and what they tell of themselves.

    python examples/worker_state.py [NUMBER_OF_JOBS]

Each worker has a database connection of its own, made by the initializer and closed by `worker_exit`, and a CPU of its
own. `pool.insights()` says what each has done: tasks, busy and idle time, start-up time, bytes in and out.
"""

import sqlite3
import sys

import shoal
from shoal.pool import current_worker


def open_database():
    state = current_worker().state
    state.database = sqlite3.connect(":memory:")
    state.database.execute("create table seen (number integer)")


def close_database():
    worker = current_worker()
    ((count,),) = worker.state.database.execute("select count(*) from seen")
    worker.state.database.close()
    # With its newline, so that the line of another worker cannot come in between.
    print(f"worker {worker.number} has seen {count} numbers\n", end="", flush=True)


def remember(number):
    with current_worker().state.database as database:
        database.execute("insert into seen values (?)", (number,))


def main(count):
    pool = shoal.Pool(2, open_database, worker_exit=close_database, cpu_affinity=True)
    pool.map(remember, range(count), chunksize=10)
    insights = pool.insights()
    pool.close()  # workers end in order; terminate() and the end of a `with` statement would kill them
    pool.join()
    print(f"{sum(worker.tasks for worker in insights)} tasks")
    print(insights)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
