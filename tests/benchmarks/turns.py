"""Compares the times of two works that take turns, each in a thread of its own."""

import gc
import itertools
import statistics
import threading
import time
from collections.abc import Callable

SKIPPED = 3  # First turns of each work, which compile.

Step = Callable[[], None]
Work = Callable[[Step], object]  # Calls its argument before each of its steps, without end.


class FinishedError(Exception):
    """Ends a work."""


class Turns:
    """The turns of one work.

    Args:
        work: The work.
        count: Number of turns.
        steps: Number of steps in a turn.
    """

    def __init__(self, work: Work, count: int, steps: int) -> None:
        self.work, self.count, self.steps = work, count + SKIPPED, steps
        self.times: list[float] = []
        self.may_run = threading.Semaphore(0)
        self.other: Turns | None = None
        self.error: BaseException | None = None
        self._calls, self._began = 0, 0.0

    def run(self) -> None:
        """Runs the work until its turns are over."""
        self.may_run.acquire()
        try:
            self.work(self._step)
        except FinishedError:
            pass
        except BaseException as error:
            self.error = error
        self.other.may_run.release()

    def _step(self) -> None:
        if self._calls % self.steps == 0:
            if self._calls:
                self.times.append(time.perf_counter() - self._began)
                if len(self.times) == self.count or self.other.error:
                    raise FinishedError
                self.other.may_run.release()
                self.may_run.acquire()
            self._began = time.perf_counter()
        self._calls += 1


def ratio(first: Work, second: Work, count: int, steps: int) -> float:
    """Returns the time of one work over that of another, the median of the turns.

    Args:
        first: A work.
        second: The work that it is compared with.
        count: Number of turns of each.
        steps: Number of steps in a turn.
    """
    pair = Turns(first, count, steps), Turns(second, count, steps)
    pair[0].other, pair[1].other = pair[1], pair[0]
    threads = [threading.Thread(target=turns.run) for turns in pair]
    gc.collect()
    gc.disable()
    try:
        for thread in threads:
            thread.start()
        pair[0].may_run.release()
        for thread in threads:
            thread.join()
    finally:
        gc.enable()
    for turns in pair:
        if turns.error is not None:
            raise turns.error
    ours, others = (turns.times[SKIPPED:] for turns in pair)
    around = [(before + after) / 2 for before, after in itertools.pairwise(others)]
    return statistics.median(a / b for a, b in zip(ours[1:], around, strict=True))
