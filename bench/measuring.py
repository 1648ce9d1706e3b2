"""Measure contestants beside one another: alternately, in one run, several times each."""

from __future__ import annotations

import enum
import os
import signal
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

# A contestant's program ends with this status when what it needs is not installed, and says what that is.
NOT_AVAILABLE = 77

SECONDS_PER_RUN = 0.3
# A run shorter than this says too little about how long a longer one would take.
SECONDS_TO_JUDGE_BY = 0.05
# Starting a program and bringing up its processes takes far less; what lasts longer hangs.
SECONDS_TO_HANG = 60.0


class NotAvailableError(Exception):
    """Something that the measurement needs is not installed."""


class FailedError(Exception):
    """A contestant crashed, hung, or did not say how long it took."""


class Kind(enum.Enum):
    """What is made of the number that a program prints."""

    RATE = enum.auto()  # it prints seconds; so many were done in each; more is better
    DURATION = enum.auto()  # it prints seconds; each one took so long; less is better
    AMOUNT = enum.auto()  # it prints the value itself; less is better


@dataclass(frozen=True)
class Unit:
    """What a result is given in."""

    name: str
    kind: Kind = Kind.RATE
    scale: float = 1.0

    @property
    def more_is_better(self) -> bool:
        return self.kind is Kind.RATE

    def value(self, count: int, printed: float) -> float:
        match self.kind:
            case Kind.RATE:
                return count / printed * self.scale
            case Kind.DURATION:
                return printed / count * self.scale
            case Kind.AMOUNT:
                return printed * self.scale

    def advantage(self, subject: float, peer: float) -> float:
        """How many times better the subject is."""
        return subject / peer if self.more_is_better else peer / subject


@dataclass(frozen=True)
class Contestant:
    """A library, and the program that does the case's work with it.

    The program is given as its last argument how many times to do it, and prints a number: see Kind.
    """

    name: str
    command: Sequence[str]

    def run(self, count: int) -> float:
        """Run the program once and return what it printed.

        Raises NotAvailableError and FailedError.
        """
        try:
            # A session of its own, so that the processes which it has started can be ended with it.
            process = subprocess.Popen(
                [*self.command, str(count)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise NotAvailableError(f"{self.command[0]} is not built") from None
        try:
            output, errors = process.communicate(timeout=SECONDS_TO_HANG)
        except subprocess.TimeoutExpired:
            raise FailedError(f"not done with {count} after {SECONDS_TO_HANG:.0f} s") from None
        finally:
            if process.returncode != 0:
                _end_session(process)
        if process.returncode == NOT_AVAILABLE:
            raise NotAvailableError(errors.strip())
        if process.returncode != 0:
            last_words = errors.strip().splitlines()[-1:] or ["no message"]
            raise FailedError(f"status {process.returncode}: {last_words[0]}")
        try:
            return float(output)
        except ValueError:
            raise FailedError(f"expected a number, it printed {output!r}") from None


def _end_session(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@dataclass(frozen=True)
class Case:
    """One thing to measure: Shoal, beside those that do the same, or alone."""

    name: str
    unit: Unit
    subject: Contestant
    peers: Sequence[Contestant] = ()
    # The least ratios wanted, by the names of peers.
    targets: dict[str, float] = field(default_factory=dict)
    # The value that Shoal is to reach: at least this, or at most, as the unit has it.
    limit: float | None = None
    # How much is done in a run, where it is the same for all; else each does what takes it SECONDS_PER_RUN.
    count: int | None = None
    # The most runs of each, where one takes long and differs little from the next.
    most_runs: int | None = None


@dataclass(frozen=True)
class Values:
    """What the runs of one contestant gave, in their order."""

    each: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    def as_json(self, whose: str) -> dict[str, float]:
        return {f"{whose}_median": self.median, f"{whose}_min": min(self.each), f"{whose}_max": max(self.each)}


@dataclass(frozen=True)
class Comparison:
    """Shoal and one peer in one case."""

    case: Case
    peer: Contestant
    subject_values: Values
    peer_values: Values

    @property
    def ratio(self) -> float:
        """The ratio of the medians; higher means that Shoal is better."""
        return self.case.unit.advantage(self.subject_values.median, self.peer_values.median)

    @property
    def ratios(self) -> list[float]:
        """The ratio in each round, of two runs made one right after the other."""
        pairs = zip(self.subject_values.each, self.peer_values.each, strict=True)
        return [self.case.unit.advantage(*pair) for pair in pairs]

    @property
    def target(self) -> float | None:
        return self.case.targets.get(self.peer.name)

    @property
    def missed(self) -> bool:
        return self.target is not None and self.ratio < self.target

    def as_json(self) -> dict[str, str | float | int | None]:
        return {
            "case": self.case.name,
            "subject": self.case.subject.name,
            "peer": self.peer.name,
            "unit": self.case.unit.name,
            **self.subject_values.as_json("subject"),
            **self.peer_values.as_json("peer"),
            "ratio": self.ratio,
            "min": min(self.ratios),
            "max": max(self.ratios),
            "target": self.target,
            "missed": self.missed,
            "runs": len(self.ratios),
        }


@dataclass(frozen=True)
class Standing:
    """Shoal in one case, by itself."""

    case: Case
    values: Values

    @property
    def target(self) -> float | None:
        return self.case.limit

    @property
    def missed(self) -> bool:
        if self.target is None:
            return False
        value = self.values.median
        return value < self.target if self.case.unit.more_is_better else value > self.target

    def as_json(self) -> dict[str, str | float | int | None]:
        return {
            "case": self.case.name,
            "subject": self.case.subject.name,
            "peer": None,
            "unit": self.case.unit.name,
            **self.values.as_json("subject"),
            "target": self.target,
            "missed": self.missed,
            "runs": len(self.values.each),
        }


def suitable_count(contestant: Contestant) -> int:
    """Find how many times the contestant does its work in a run; the runs needed for that are its warm-up."""
    count = 100
    seconds = contestant.run(count)
    while seconds < SECONDS_TO_JUDGE_BY:
        # At most a hundredfold at a time: the first items may have been much faster or slower than the rest.
        count = int(count * min(100.0, 1.5 * SECONDS_TO_JUDGE_BY / max(seconds, 1e-6)))
        seconds = contestant.run(count)
    return max(1, int(count * SECONDS_PER_RUN / seconds))


@dataclass
class Outcome:
    """The results of a case, and why contestants that have none have none."""

    results: list[Comparison | Standing] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def measure(case: Case, runs: int) -> Outcome:
    """Run the contestants in turn: Shoal, each peer, Shoal, each peer, ...

    Unless the case says how much, each does as much as takes it SECONDS_PER_RUN, so that none is measured in an instant
    while another takes minutes.
    """
    outcome = Outcome()
    counts: dict[str, int] = {}
    values: dict[str, list[float]] = {}
    subject = case.subject.name
    alone = case.limit is not None or not case.peers
    # The first round only finds out how much each can do.
    for round_number in range(min(runs, case.most_runs or runs) + 1):
        for contestant in (case.subject, *case.peers):
            name = contestant.name
            try:
                if round_number == 0:
                    counts[name] = suitable_count(contestant) if case.count is None else case.count
                    values[name] = []
                elif name in values:
                    values[name].append(case.unit.value(counts[name], contestant.run(counts[name])))
            except NotAvailableError as reason:
                outcome.skipped.append(f"{case.name}, {name}: {reason}")
                values.pop(name, None)
            except FailedError as reason:
                outcome.failed.append(f"{case.name}, {name}: {reason}")
                values.pop(name, None)
        if subject not in values or (len(values) == 1 and not alone):
            return outcome
    own = Values(values[subject])
    if alone:
        outcome.results.append(Standing(case, own))
    for peer in case.peers:
        if peer.name in values:
            outcome.results.append(Comparison(case, peer, own, Values(values[peer.name])))
    return outcome
