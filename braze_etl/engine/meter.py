"""A budget at work: a worker asks before it sends, and the parent counts, grants and has the state remember.

`Allowance` and `Asking` are the worker's side, `Meter` is the parent's.

Where a bound stops types, nothing is sent that was not granted before, and no grant is given that is not on
record: after a crash the state may say more than was sent, and never less. Elsewhere, what was accepted is on
record before the settlement that it belongs to: what a crash leaves unsettled is sent and counted again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Final

from braze_etl.clock import Clock, iso
from braze_etl.engine.books import Tag, TaskBooks
from braze_etl.engine.budget import NOTE, Account, Spent, Terms
from braze_etl.engine.tasks import Ask, Grant, Settlement
from braze_etl.model import Event
from braze_etl.state.ledger import Ledger


class Allowance:
    """Lets events through as far as the budget reaches.

    *stops* knows the event types that a bound stops; *ask* gets a `Grant`, or None once the run has to stop.
    """

    def __init__(self, stops: Callable[[str], bool], ask: Callable[[Ask], Grant | None]) -> None:
        self._stops = stops
        self._ask = ask
        self._task: int | None = None
        self._left = 0
        self._last = Grant(0)

    def admit(
        self, books: TaskBooks, file: int, events: list[Event], tags: list[Tag]
    ) -> tuple[list[Event], list[Tag]]:
        """Give those that may be sent; the others are entered into the books. From one on, all of a file."""
        count = self._count(books, file, len(events))
        if count is None:
            books.never_sent(file)
            return [], []
        if tags[count:]:
            assert self._last.until is not None
            books.hold(file, tags[count:], self._last.words, self._last.until)
        return events[:count], tags[:count]

    def _count(self, books: TaskBooks, file: int, wanted: int) -> int | None:
        """How many of so many may be sent; None when the run has to stop."""
        if books.held(file):
            return 0
        if books.task.number != self._task:
            # What is left of the last task's grants is given back when that is settled.
            self._task, self._left = books.task.number, 0
        if wanted > self._left:
            event_type = books.task.files[file].ref.event_type
            grant = self._ask(Ask(books.task.number, wanted - self._left, self._stops(event_type)))
            if grant is None:
                return None
            self._left += grant.events
            self._last = grant if grant.until else self._last
        count = min(wanted, self._left)
        self._left -= count
        return count


_MOST_GRANTED: Final = 10_000
"""Events granted at once: few questions, and little that is kept from others by who does not use it."""
_SHARES_A_WORKER: Final = 8
"""Near the end of a bound, grants shrink to what was asked for: then none of it lies idle."""
_MOST_AHEAD: Final = 100_000
_AHEAD: Final = 100
"""What goes on record is ahead of what is granted by a hundredth of what is left: few writes, and little
that a crash leaves counted too much."""


class Meter:
    """What is spent, under the lease of the ledger: from `open` to `close`, in each round. One thread."""

    def __init__(self, ledger: Ledger, terms: Terms, clock: Clock, *, workers: int = 1) -> None:
        self.terms: Final = terms
        self._ledger = ledger
        self._clock = clock
        self._workers = workers
        self._granted: dict[int, int] = {}
        self._spent = self._noted = Spent.nothing(clock.now())
        self._told: set[str] = set()
        self._open = False

    def open(self) -> None:
        """Read what the state remembers; also after the lease was in other hands."""
        self._granted.clear()
        self._noted = self._spent = Spent.from_note(self._ledger.get_note(NOTE), self._clock.now())
        self._open = True

    def answer(self, ask: Ask) -> Grant:
        """Grant events for a task: what was asked for or more, unless a bound is near; `StateError`."""
        left = self._roll().left or 0
        events = max(ask.events, min(_MOST_GRANTED, left // (_SHARES_A_WORKER * self._workers)))
        if ask.stops:
            events = min(events, left)
        self._granted[ask.task] = self._granted.get(ask.task, 0) + events
        self._spent = self._spent.plus(events)
        if not self._noted.covers(self._spent):
            self._note(ahead=min(_MOST_AHEAD, (self.account.left or 0) // _AHEAD))
        return self._refusal(events) if events < ask.events else Grant(events)

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """Count what was accepted, and take back the rest of what was granted; warns in the settlements."""
        for settlement in settlements:
            self._roll()
            accepted = sum(tally.accepted for tally in settlement.counts.by_event_type.values())
            self._spent = self._spent.plus(accepted - self._granted.pop(settlement.task, 0))
            self._warn(settlement)
        if self.terms.configured and not self._noted.covers(self._spent):
            self._note()

    def close(self) -> None:
        """Have the state remember what is spent to the event; call it while nothing is in flight.

        What was granted to workers that died is counted as spent. One that is not open writes nothing: what
        the state remembers may be another run's by now.
        """
        if not self._open:
            return
        self._roll()
        if self._noted != self._spent:
            self._note()
        self._open = False

    @property
    def account(self) -> Account:
        """How the budget stands."""
        return Account(self.terms, self._spent)

    def _roll(self) -> Account:
        self._spent = self._spent.at(self._clock.now(), sum(self._granted.values()))
        return self.account

    def _note(self, ahead: int = 0) -> None:
        self._noted = self._spent.plus(ahead)
        self._ledger.put_note(NOTE, self._noted.as_note())

    def _warn(self, settlement: Settlement) -> None:
        """Warn once a run of each bound that is nearly spent, and of one that is exceeded."""
        for line in self.account.lines:
            for name, applies in (("warned", line.warned), ("used_up", line.used_up)):
                warning = f"budget_{line.name}_{name}"
                if applies and warning not in self._told:
                    self._told.add(warning)
                    settlement.warnings[warning] += 1

    def _refusal(self, events: int) -> Grant:
        line = self.account.used_up
        assert line is not None
        words = f"{line.key} ({line.limit:,} events) is used up until {iso(line.ends_at)}"
        return Grant(events, words, line.ends_at)


class Asking:
    """Called in the working thread; `receive` is called in the one that listens to the parent."""

    def __init__(self, send: Callable[[Ask], None], stop: threading.Event) -> None:
        self._send = send
        self._stop = stop
        self._answers: queue.SimpleQueue[Grant | None] = queue.SimpleQueue()

    def __call__(self, ask: Ask) -> Grant | None:
        """Ask, and wait for the answer; None when the run has to stop."""
        if self._stop.is_set():
            return None
        self._send(ask)
        return self._answers.get()

    def receive(self, answer: Grant | None) -> None:
        """The parent has answered; or with None, it was told to stop, and may answer no more."""
        self._answers.put(answer)
