"""Several pieces of work on threads of their own, one at a time, changing places only where a script says so."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

__all__ = ["Choose", "Interleaving", "Stuck", "at_random", "each_in_turn", "others_inside"]

# (who is not done, who stopped or None, how often it has stopped so far) -> who goes on
Choose = Callable[[Sequence[int], int | None, int], int]


class Stuck(Exception):
    """Nobody went on: the one whose place it is waits for something that another has."""


class Interleaving:
    """As the runtime's turn it stands where compiled calls begin and end: there another piece may go on."""

    def __init__(self, work: Sequence[Callable[[], None]], choose: Choose, patience_s: float) -> None:
        """``patience_s`` is how long a piece may take from one place to the next before all is called stuck."""
        self._work = work
        self._choose = choose
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._left = list(range(len(work)))
        self._stops = [0] * len(work)
        self._now = choose(self._left, None, 0)
        self._places: dict[int, int] = {}

    def run(self) -> None:
        """Return when all is done.

        Raises:
            Stuck: then threads are left that wait for ever.
        """
        threads = [threading.Thread(target=self._do, args=(number,), daemon=True) for number in range(len(self._work))]
        for thread in threads:
            thread.start()
        with self._changed:
            while self._left:
                if not self._changed.wait(self._patience_s):
                    raise Stuck

    def holds(self) -> bool:
        """A thread of the user's own does not."""
        return threading.get_ident() in self._places

    def give_back(self) -> None:
        self._stop()

    def take(self) -> None:
        self._stop()

    def _do(self, number: int) -> None:
        with self._changed:
            self._places[threading.get_ident()] = number
            self._changed.wait_for(lambda: self._now == number)
        try:
            self._work[number]()
        finally:
            with self._changed:
                self._left.remove(number)
                if self._left:
                    self._now = self._choose(self._left, None, 0)
                self._changed.notify_all()

    def _stop(self) -> None:
        number = self._places[threading.get_ident()]
        with self._changed:
            self._stops[number] += 1
            self._now = self._choose(self._left, number, self._stops[number])
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._now == number)


def each_in_turn(left: Sequence[int], stopped: int | None, stops: int) -> int:
    return left[0] if stopped is None else left[(left.index(stopped) + 1) % len(left)]


def others_inside(outer: int, stop: int) -> Choose:
    """``outer`` stops for the ``stop``-th time: then each of the others goes on to its end."""

    def choose(left: Sequence[int], stopped: int | None, stops: int) -> int:
        others = [number for number in left if number != outer]
        if stopped is None:
            # One has ended, or nobody has begun: whoever is inside is done first.
            return others[0] if others and len(began) > 0 else (outer if outer in left else left[0])
        if stopped == outer and stops == stop and others:
            began.append(True)
            return others[0]
        return stopped

    began: list[bool] = []
    return choose


def at_random(seed: int) -> Choose:
    chance = random.Random(seed)

    def choose(left: Sequence[int], stopped: int | None, stops: int) -> int:
        return chance.choice(left)

    return choose
