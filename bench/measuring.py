"""Measure contestants beside one another: alternately, in one run, several times each."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

# A contestant's program ends with this status when what it needs is not installed, and says what that is.
NOT_AVAILABLE = 77

SECONDS_PER_RUN = 0.4
# A run shorter than this says too little about how long a longer one would take.
SECONDS_TO_JUDGE_BY = 0.05
# Starting a program and bringing up its processes takes far less; what lasts longer hangs.
SECONDS_TO_HANG = 60.0


class NotAvailableError(Exception):
    """Something that the measurement needs is not installed."""


class FailedError(Exception):
    """A contestant crashed, hung, or did not say how long it took."""


@dataclass(frozen=True)
class Unit:
    """What a result is given in: so many per second, or so long for one."""

    name: str
    scale: float = 1.0
    per_second: bool = True

    def value(self, count: int, seconds: float) -> float:
        return (count / seconds if self.per_second else seconds / count) * self.scale

    def advantage(self, subject: float, peer: float) -> float:
        """How many times better the subject is."""
        return subject / peer if self.per_second else peer / subject


@dataclass(frozen=True)
class Contestant:
    """A library, and the program that does the case's work with it.

    The program is given as its last argument how many times to do it, and prints how many seconds that took.
    """

    name: str
    command: Sequence[str]

    def seconds(self, count: int) -> float:
        """Run the program once.

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
            raise FailedError(f"expected a number of seconds, it printed {output!r}") from None


def _end_session(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@dataclass(frozen=True)
class Case:
    """One thing to measure: Shoal, beside the libraries that do the same."""

    name: str
    unit: Unit
    subject: Contestant
    peers: Sequence[Contestant]
    # The least ratios wanted, by the names of peers.
    targets: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Shoal and one peer in one case: the values of each run, in the order of the runs."""

    case: Case
    peer: Contestant
    subject_values: Sequence[float]
    peer_values: Sequence[float]

    @property
    def subject_median(self) -> float:
        return statistics.median(self.subject_values)

    @property
    def peer_median(self) -> float:
        return statistics.median(self.peer_values)

    @property
    def ratio(self) -> float:
        """The ratio of the medians; higher means that Shoal is better."""
        return self.case.unit.advantage(self.subject_median, self.peer_median)

    @property
    def ratios(self) -> list[float]:
        """The ratio in each round, of two runs made one right after the other."""
        return [self.case.unit.advantage(*pair) for pair in zip(self.subject_values, self.peer_values, strict=True)]

    @property
    def target(self) -> float | None:
        return self.case.targets.get(self.peer.name)

    def as_json(self) -> dict[str, str | float | int]:
        return {
            "case": self.case.name,
            "subject": self.case.subject.name,
            "peer": self.peer.name,
            "unit": self.case.unit.name,
            "subject_median": self.subject_median,
            "peer_median": self.peer_median,
            "ratio": self.ratio,
            "min": min(self.ratios),
            "max": max(self.ratios),
            "runs": len(self.ratios),
        }


def suitable_count(contestant: Contestant) -> int:
    """Find how many times the contestant does its work in a run; the runs needed for that are its warm-up."""
    count = 100
    seconds = contestant.seconds(count)
    while seconds < SECONDS_TO_JUDGE_BY:
        # At most tenfold at a time: the first items may have been much faster or slower than the rest.
        count = int(count * min(10.0, 1.5 * SECONDS_TO_JUDGE_BY / max(seconds, 1e-6)))
        seconds = contestant.seconds(count)
    return max(1, int(count * SECONDS_PER_RUN / seconds))


@dataclass
class Outcome:
    """The results of a case, and why contestants that have none have none."""

    results: list[Result] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def measure(case: Case, rounds: int) -> Outcome:
    """Run the contestants in turn: Shoal, each peer, Shoal, each peer, ...

    Each does as much as takes it SECONDS_PER_RUN, so that none is measured in an instant while another takes minutes.
    """
    outcome = Outcome()
    counts: dict[str, int] = {}
    values: dict[str, list[float]] = {}
    # The first round only finds out how much each can do.
    for round_number in range(rounds + 1):
        for contestant in (case.subject, *case.peers):
            name = contestant.name
            try:
                if round_number == 0:
                    counts[name] = suitable_count(contestant)
                    values[name] = []
                elif name in values:
                    values[name].append(case.unit.value(counts[name], contestant.seconds(counts[name])))
            except NotAvailableError as reason:
                outcome.skipped.append(f"{case.name}, {name}: {reason}")
                values.pop(name, None)
            except FailedError as reason:
                outcome.failed.append(f"{case.name}, {name}: {reason}")
                values.pop(name, None)
        if case.subject.name not in values or len(values) == 1:
            return outcome
    own = values[case.subject.name]
    outcome.results = [Result(case, peer, own, values[peer.name]) for peer in case.peers if peer.name in values]
    return outcome
