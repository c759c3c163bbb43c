"""Checks of the arguments `executor` and `workers`."""

from __future__ import annotations

import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.executors.dask_pool import DaskPool
from keras_physreg.executors.futures_pool import FuturesPool
from keras_physreg.executors.pickled import cloudpickle
from keras_physreg.executors.pool import Pool


def checked_pool(executor: Any, workers: Any) -> Pool | None:
    """Returns the workers of an executor, or `None` without one; raises if it cannot be used.

    Args:
        executor: A Dask `Client`, a `concurrent.futures.Executor`, or `None`.
        workers: The number of workers, or `None`.

    Raises:
        ImportError: If cloudpickle is not installed.
        TypeError: If an argument has a wrong type.
        ValueError: If the number of workers is missing or below 1, or the workers cannot train.
    """
    workers = whole_number("workers", workers, optional=True)
    if executor is None:
        if workers is not None:
            raise ValueError(
                "`workers` is the number of workers of `executor`: give `executor` as well, or "
                f"leave `workers` out. Received: executor=None, workers={workers}"
            )
        return None
    if _is_dask_client(executor):
        _check_client(executor, workers)
        return DaskPool(executor, workers)
    _check_executor(executor, workers)
    cloudpickle()
    return FuturesPool(executor, workers)


def _is_dask_client(executor: Any) -> bool:
    distributed = sys.modules.get("distributed")  # It is loaded if there is a client.
    return distributed is not None and isinstance(executor, distributed.Client)


def _check_client(client: Any, workers: int | None) -> None:
    if client.asynchronous:
        raise ValueError(
            "`executor` is an asynchronous Dask client: give one that waits, `distributed.Client("
            f"address)`. {received('executor', client)}"
        )
    threads = client.nthreads()
    if not threads and workers is None:
        raise ValueError(
            "The Dask cluster of `executor` has no workers yet: start some and wait for them by "
            "`client.wait_for_workers(n)`, or give their number as `workers`. "
            f"{received('executor', client)}"
        )
    several = {address: count for address, count in threads.items() if count > 1}
    if several:
        raise ValueError(
            "A worker trains one group of replicas at a time, on one core, but these have several "
            f"threads: {several}. Start one worker per core, with one thread each: "
            "`LocalCluster(n_workers=n, threads_per_worker=1)` or `dask worker --nthreads 1`. "
            f"{received('executor', client)}"
        )


def _check_executor(executor: Any, workers: int | None) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        raise ValueError(
            "Threads do not speed replicas up: without `executor` they use all cores of this "
            "process already. Leave `executor` out, or give a Dask `Client` or "
            "`ProcessPoolExecutor(n, mp_context=multiprocessing.get_context('spawn'))`. "
            f"{received('executor', executor)}"
        )
    if not isinstance(executor, Executor):
        raise TypeError(
            "`executor` must be a Dask `Client` or a `concurrent.futures.Executor`. "
            f"{received('executor', executor)}"
        )
    if workers is None:
        raise ValueError(
            "`workers` is missing: a `concurrent.futures.Executor` does not tell how many it has. "
            f"Give `workers=n`. Received: workers=None, executor of type {type(executor)}"
        )
