"""Runs programs from threads, one a core, until every replica has had its epochs."""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from keras_physreg.replicas.job import Trained
from keras_physreg.replicas.program import Program


class Runner:
    """Hands groups of replicas to programs.

    Args:
        programs: Programs of one size; each gets a thread.
        epochs: Epochs to train.
        inputs: Function `(replicas, first epoch, epochs)` that returns the orders of labelled and
            unlabelled rows, and the weight table.
        progress: Called with the number of epochs times replicas done.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        epochs: int,
        inputs: Callable[[np.ndarray, int, int], tuple],
        progress: Callable[[int], None],
    ) -> None:
        self.programs, self.epochs, self.inputs, self.progress = programs, epochs, inputs, progress
        self.interrupted = False
        self._stop = threading.Event()
        self._events: queue.Queue[int] = queue.Queue()

    def compile(self, replicas: np.ndarray) -> None:
        """Traces the programs one after the other, and compiles them at once."""
        chunk = self.programs[0].settings.epochs
        arguments = (*self._chunk(replicas[: self.programs[0].size], 0, chunk), *_numbers(0, 0))
        for program in self.programs:  # A model is traced by one thread at a time.
            program.run.get_concrete_function(*arguments)
        with ThreadPoolExecutor(len(self.programs)) as pool:
            # To train no epochs compiles the program and changes nothing.
            list(pool.map(lambda program: program.run(*arguments), self.programs))

    def train(self, weights: list[np.ndarray], optimizer: Any) -> list[Trained]:
        """Trains all replicas; Ctrl-C ends the training after the epochs in progress."""
        size = self.programs[0].size
        groups: queue.Queue[Trained] = queue.Queue()
        results = [
            Trained(np.arange(len(weights[0]))[i : i + size]) for i in _starts(weights, size)
        ]
        for result in results:
            groups.put(result)
        with ThreadPoolExecutor(len(self.programs)) as pool:
            work = [
                pool.submit(self._work, program, groups, weights, optimizer)
                for program in self.programs
            ]
            try:
                self._watch(work)
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._stop.set()
        for future in work:
            future.result()
        return results

    def _watch(self, work: list[Any]) -> None:
        while not all(future.done() for future in work) or not self._events.empty():
            with contextlib.suppress(queue.Empty):
                self.progress(self._events.get(timeout=0.05))
            if any(future.done() and future.exception() for future in work):
                return

    def _work(self, program: Program, groups: Any, weights: Any, optimizer: Any) -> None:
        while not self._stop.is_set():
            try:
                self._train_group(program, groups.get_nowait(), weights, optimizer)
            except queue.Empty:
                return

    def _train_group(self, program: Program, group: Trained, weights: Any, optimizer: Any) -> None:
        # A last group that is smaller is filled up with copies of its last replica.
        filled = np.minimum(group.replicas[0] + np.arange(program.size), group.replicas[-1])
        program.load([value[filled] for value in weights], optimizer)
        chunk = program.settings.epochs
        for first in range(0, self.epochs, chunk):
            if self._stop.is_set():
                break
            count = min(chunk, self.epochs - first)
            inputs = self._chunk(filled, first, count)
            logs = program.run(*inputs, *_numbers(first, count))
            kept = (slice(count), slice(len(group.replicas)))
            group.append({key: value.numpy()[kept] for key, value in logs.items()})
            self._events.put(count * len(group.replicas))
        if group.epochs == self.epochs:
            program.finish()
        real = slice(0, len(group.replicas))
        group.last = [value[real] for value in program.weights()]
        group.best = [value[real] for value in program.best.weights()]
        group.best_epoch = program.best.epochs()[real]

    def _chunk(self, replicas: np.ndarray, first: int, count: int) -> list[Any]:
        """Returns the inputs of some epochs, filled up to what the program takes."""
        filled = np.resize(replicas, self.programs[0].size)
        missing = self.programs[0].settings.epochs - count

        def padded(array: np.ndarray) -> Any:
            return tf.constant(np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)))

        return [padded(array) for array in self.inputs(filled, first, count)]


def _starts(weights: list[np.ndarray], size: int) -> range:
    return range(0, len(weights[0]), size)


def _numbers(*numbers: int) -> list[Any]:
    return [tf.constant(number, tf.int32) for number in numbers]
