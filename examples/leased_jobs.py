"""Workers are killed again and again, and still every job gets done: each is taken on lease.

    python examples/leased_jobs.py [NUMBER_OF_JOBS]

An item that was taken on lease comes back to the queue by itself if its holder dies before it is acknowledged. A worker
that is killed between sending its result and acknowledging the job has done it, and another one does it again. The
results are told apart by their job, so it does not matter here.
"""

import random
import sys

import shoal


def smallest_factor(number):
    return next((divisor for divisor in range(2, int(number**0.5) + 1) if number % divisor == 0), number)


def work(jobs, results):
    while True:
        try:
            lease = jobs.get(lease=True)
        except shoal.ShutDown:
            return
        with lease:  # acknowledges at the end of the block, and gives the job back if it raises
            results.put((lease.item, smallest_factor(lease.item)))


def start_worker(jobs, results):
    worker = shoal.Process(target=work, args=(jobs, results))
    worker.start()
    return worker


def main(count):
    jobs, results = shoal.Queue(), shoal.Queue()
    jobs.put_many(range(2, count + 2))
    workers = [start_worker(jobs, results) for _ in range(2)]
    factors, killed, repeated = {}, 0, 0
    while len(factors) < count:
        for number, factor in results.get_many(100):
            repeated += number in factors
            factors[number] = factor
        victim = workers.pop(random.randrange(len(workers)))
        victim.kill()
        victim.join()
        killed += 1
        workers.append(start_worker(jobs, results))
    jobs.shutdown()
    for worker in workers:
        worker.join()
    primes = sum(number == factor for number, factor in factors.items())
    print(f"{len(factors)} jobs done, {primes} of the numbers are prime")
    print(f"{killed} workers were killed; {repeated} jobs were done twice, none was lost")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
