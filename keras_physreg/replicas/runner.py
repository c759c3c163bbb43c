"""Runner: runs programs, each in a thread, until all replicas are trained."""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas.devices import OnDevice
from keras_physreg.replicas.feed import Feed
from keras_physreg.replicas.outcome import Trained
from keras_physreg.replicas.program import Program


class Runner:
    """Trains groups of replicas by several programs at once.

    Args:
        programs: Programs of one specification and size; each runs in its own thread.
        feed: Makes the inputs of the programs.
        epochs: Number of epochs.
    """

    def __init__(self, programs: Sequence[Program], feed: Feed, epochs: int) -> None:
        self.programs, self.feed, self.epochs = programs, feed, epochs
        self.size = programs[0].size
        self.results: list[Trained] = []
        self.interrupted = False
        self._stop = threading.Event()
        self._events: queue.Queue[int] = queue.Queue()

    def compile(self, replicas: np.ndarray) -> None:
        """Traces the programs one after the other, and compiles them at the same time.

        Programs that share what one of them compiles wait for it.
        """
        some = np.resize(replicas, self.size)
        *arguments, count = self.feed.data(some), *self.feed.epochs(some, 0, 1)
        arguments.append(tf.zeros_like(count))  # A call with 0 epochs only compiles.
        for program in self.programs:  # A model is traced by one thread at a time.
            with program.on_device():
                program.trace(*arguments)

        def compile(program: Program) -> None:
            with program.on_device():
                program.run(*arguments)

        with ThreadPoolExecutor(len(self.programs)) as pool:
            list(pool.map(compile, self.programs))

    def train(
        self,
        replicas: np.ndarray,
        weights: list[np.ndarray],
        optimizer: list[np.ndarray],
        progress: Callable[[int], None],
    ) -> None:
        """Trains replicas into `results`; Ctrl-C ends the training after the epochs in progress.

        Args:
            replicas: Positions of the replicas.
            weights: The initial weights and state of all replicas of the job, replicas first.
            optimizer: The initial state of the optimizer.
            progress: Called with the number of epochs times replicas done.
        """
        starts = range(0, len(replicas), self.size)
        self.results = [Trained(replicas[i : i + self.size]) for i in starts]
        groups: queue.Queue[Trained] = queue.Queue()
        for result in self.results:
            groups.put(result)
        with ThreadPoolExecutor(len(self.programs)) as pool:
            work = [
                pool.submit(self._work, program, groups, weights, optimizer)
                for program in self.programs
            ]
            try:
                self._watch(work, progress)
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._stop.set()
        for future in work:
            future.result()

    def _watch(self, work: list[Any], progress: Callable[[int], None]) -> None:
        while not all(future.done() for future in work) or not self._events.empty():
            with contextlib.suppress(queue.Empty):
                progress(self._events.get(timeout=0.05))
            if any(future.done() and future.exception() for future in work):
                return

    def _work(self, program: Program, groups: Any, weights: Any, optimizer: Any) -> None:
        placed = OnDevice(program.device)
        with program.on_device():
            while not self._stop.is_set():
                try:
                    group = groups.get_nowait()
                except queue.Empty:
                    return
                self._train_group(program, group, weights, optimizer, placed)

    def _train_group(
        self, program: Program, group: Trained, weights: Any, optimizer: Any, placed: OnDevice
    ) -> None:
        # A smaller last group is padded with copies of its last replica.
        count = len(group.replicas)
        filled = group.replicas[np.minimum(np.arange(self.size), count - 1)]
        program.load([value[filled] for value in weights], optimizer)
        data, chunk = placed(self.feed.data(filled)), self.feed.spec.epochs
        for first in range(0, self.epochs, chunk):
            if self._stop.is_set():
                break
            epochs = min(chunk, self.epochs - first)
            logs = program.run(data, *self.feed.epochs(filled, first, epochs))
            group.append({key: value.numpy()[:epochs, :count] for key, value in logs.items()})
            self._events.put(epochs * count)
        if group.epochs == self.epochs:
            program.finish()
        group.last = [value[:count] for value in program.weights()]
        group.best = [value[:count] for value in program.best.weights()]
        group.best_epoch = program.best.epochs()[:count]
