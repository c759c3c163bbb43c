"""DaskPool: the workers of a Dask cluster."""

from __future__ import annotations

import itertools
import uuid
import warnings
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

from keras_physreg.executors.group import Group, GroupResult
from keras_physreg.executors.pool import LostWorkersError, Pool
from keras_physreg.executors.worker import Shared, train_group


class DaskPool(Pool):
    """The workers of a Dask cluster, which may die and come back.

    Model and data travel to a worker once. They are tasks, so that the scheduler makes them again
    if all workers that hold them died.

    Args:
        client: A `distributed.Client`.
        workers: The number of workers; `None` for those that there are.
    """

    def __init__(self, client: Any, workers: int | None) -> None:
        self.client, self._given = client, workers

    @property
    def workers(self) -> int:
        """The number of workers."""
        return self._given or max(1, len(self.client.nthreads()))

    def share(self, shared: Shared) -> Any:
        """Returns a future of something that many groups need."""
        key = f"keras_physreg-{shared.key}"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")
            return self.client.submit(_held, shared.key, shared.content, key=key, pure=False)

    def run(
        self, program: Any, data: Any, groups: Sequence[Group]
    ) -> Iterator[tuple[int, GroupResult | BaseException]]:
        """See `Pool.run`."""
        import distributed

        waiting = iter(enumerate(groups))
        finished = distributed.as_completed()
        running: dict[Any, tuple[int, str | None]] = {}
        try:
            while True:
                idle = self._idle([worker for _, worker in running.values()])
                free = max(self.workers, len(idle) + len(running)) - len(running)
                for position, group in itertools.islice(waiting, free):
                    worker = idle.pop(0) if idle else None
                    future = self._submit(program, data, group, worker)
                    running[future] = position, worker
                    finished.add(future)
                if not running:
                    return
                future = next(finished)
                position, _ = running.pop(future)
                found = _result(future)
                future.release()  # A result that a dead worker held would be computed again.
                yield position, found
        except KeyboardInterrupt:
            for future in [future for future in running if future.status == "finished"]:
                yield running.pop(future)[0], _result(future)
            raise
        finally:
            self.client.cancel(list(running), force=True)

    def _submit(self, program: Any, data: Any, group: Group, worker: str | None) -> Any:
        return self.client.submit(
            train_group,
            program,
            data,
            group,
            key=f"keras_physreg-group-{uuid.uuid4().hex}",  # Equal arguments would run once.
            pure=False,
            workers=None if worker is None else [worker],
            allow_other_workers=worker is not None,
        )

    def _idle(self, busy: list[str | None]) -> list[str]:
        """Returns the addresses of workers that train no group of ours."""
        return [address for address in self.client.nthreads() if address not in busy]


def _held(key: str, content: bytes) -> Shared:
    return Shared(key, content)


def _result(future: Any) -> GroupResult | BaseException:
    from distributed import KilledWorker

    try:
        result: GroupResult = future.result()
        return result
    except KilledWorker as error:
        return LostWorkersError(
            f"it killed {error.allowed_failures + 1} workers, one after the other (the last one: "
            f"{error.last_worker.address}), so that Dask gave it up. Often they ran out of memory: "
            "give fewer `replicas_per_program`, or workers with more memory. Dask's setting "
            "`distributed.scheduler.allowed-failures` is the number of tries"
        )
    except (CancelledError, futures.CancelledError) as error:
        return LostWorkersError(f"Dask cancelled it: {error}")
    except Exception as error:
        return error
