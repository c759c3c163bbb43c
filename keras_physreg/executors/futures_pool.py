"""FuturesPool: the workers of any `concurrent.futures.Executor`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait

from keras_physreg.executors.group import Group, GroupResult
from keras_physreg.executors.pool import LostWorkersError, Pool
from keras_physreg.executors.worker import Shared, train_group

BROKEN = (
    "a worker of the executor died, and {name} is of no use after that: `{error}`. Create a new "
    "one. A Dask client in its place survives the death of workers."
)


class FuturesPool(Pool):
    """The workers of any `concurrent.futures.Executor`.

    The model and the data go with each group; a worker reads them once.

    Args:
        executor: The executor.
        workers: Its number of workers.
    """

    def __init__(self, executor: Executor, workers: int) -> None:
        self.executor, self._workers = executor, workers

    @property
    def workers(self) -> int:
        """The number of workers."""
        return self._workers

    def share(self, shared: Shared) -> Shared:
        """Returns the shared thing itself."""
        return shared

    def run(
        self, program: Shared, data: Shared, groups: Sequence[Group]
    ) -> Iterator[tuple[int, GroupResult | BaseException]]:
        """See `Pool.run`."""
        waiting = iter(enumerate(groups))
        running: dict[Future, int] = {}
        try:
            while True:
                for position, group in itertools.islice(waiting, self.workers - len(running)):
                    try:
                        future = self.executor.submit(train_group, program, data, group)
                    except BrokenExecutor as error:
                        yield position, self._lost(error)
                    else:
                        running[future] = position
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), self._result(future)
        except KeyboardInterrupt:
            for future in [future for future in running if future.done()]:
                yield running.pop(future), self._result(future)
            raise
        finally:
            for future in running:
                future.cancel()

    def _result(self, future: Future) -> GroupResult | BaseException:
        error = future.exception()
        if isinstance(error, BrokenExecutor):
            return self._lost(error)
        if error is not None:
            return error
        result: GroupResult = future.result()
        return result

    def _lost(self, error: BrokenExecutor) -> LostWorkersError:
        name = f"this {type(self.executor).__name__}"
        message = BROKEN.format(name=name, error=type(error).__name__)
        return LostWorkersError(message, is_final=True)
