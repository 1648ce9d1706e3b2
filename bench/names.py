"""What the cases of both languages share: names and units."""

from __future__ import annotations

from measuring import Kind, Unit

SUBJECT = "shoal"

# No queues: what the machine, or a step that cannot be left out, takes by itself.
BARE_PICKLE = "bare pickle.dumps + loads"
BARE_MEMCPY = "bare memcpy"
BARE_SHARED_MEMORY = "bare shared memory"
BARE_CACHE_LINE = "bare cache line"
BARE_FUTEX = "bare futex"
BARE_FORK = "bare fork + _exit + wait"
BARE_INTERPRETER = "python -c pass"
BARE_SPAWN = "bare posix_spawn + wait"

ITEMS = Unit("items/s")
MICROSECONDS = Unit("us", Kind.DURATION, 1e6)
NANOSECONDS = Unit("ns", Kind.DURATION, 1e9)
WAKEUPS = Unit("wake-ups/s", Kind.AMOUNT)
PROCESSOR_TIME = Unit("us/s", Kind.AMOUNT)

KIB = 1024
MIB = 1024 * 1024

# A queue of which this many items are unread is a long one.
LONG = 10_000_000
# Beside a queue that is short. An item's cost that grew with the length would be many times as high; what is allowed
# here is that a long queue is made of memory that is new to it.
LEAST_RATIO_OF_LONG = 0.8

# What a process that waits may cost: a wake-up a second, and 0.05 % of a processor, which `top` shows as 0.0.
MOST_WAKEUPS = 1.0
MOST_PROCESSOR_TIME = 500.0
SECONDS_OF_WAITING = 3
