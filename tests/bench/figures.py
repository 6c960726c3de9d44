"""Runs put together: who took what, median and spread, in rounds that take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from tests.bench.delivery import Contender, Delivery, Export, deliver

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Series:
    """Values of the same thing in several rounds."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    def text(self, digits: int = 2) -> str:
        """The median, and what it lay between when there was more than one round."""
        words = f"{self.middle:,.{digits}f}"
        if len(self.values) > 1:
            words += f" ({min(self.values):,.{digits}f}-{max(self.values):,.{digits}f})"
        return words


@dataclass(frozen=True, slots=True)
class Figures:
    """All deliveries of one contender of one export."""

    deliveries: tuple[Delivery, ...]

    def of(self, value: Callable[[Delivery], float]) -> Series:
        """One value of each delivery."""
        return Series(tuple(value(delivery) for delivery in self.deliveries))

    @property
    def wall(self) -> Series:
        """Seconds from start to end of the process."""
        return self.of(lambda delivery: delivery.ran.wall)

    @property
    def cpu(self) -> Series:
        """CPU seconds of the process and all below it."""
        return self.of(lambda delivery: delivery.ran.cpu)

    @property
    def rate(self) -> Series:
        """Events per second."""
        return self.of(lambda delivery: delivery.rate)

    @property
    def peak(self) -> float:
        """Most memory that any process had, in MB."""
        return max(delivery.ran.peak_mb for delivery in self.deliveries)


def take_turns(
    pairs: Sequence[tuple[Contender, Export]], rounds: int, say: Say, *, latency: float = 0.0
) -> list[Figures]:
    """Deliver each pair once a round, slow contenders in the first round only; in the order of *pairs*."""
    taken: list[list[Delivery]] = [[] for _ in pairs]
    for number, index in _schedule(pairs, rounds):
        contender, export = pairs[index]
        delivery = deliver(contender, export, latency=latency)
        taken[index].append(delivery)
        say(f"round {number + 1}: {contender.name}, {export.folder.name}: {delivery.ran.wall:.2f} s")
    return [Figures(tuple(deliveries)) for deliveries in taken]


def _schedule(pairs: Sequence[tuple[Contender, Export]], rounds: int) -> Iterator[tuple[int, int]]:
    for number in range(rounds):
        for index, (contender, _) in enumerate(pairs):
            if number == 0 or not contender.slow:
                yield number, index
