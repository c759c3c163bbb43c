"""Ctrl-C after an epoch, however late the thread runs that is told of it.

Programs train in threads of their own, and another thread is told of each epoch. Where that one
runs late, as on a busy machine, everything may be trained before a test presses Ctrl-C.
"""

import threading

from keras_physreg.replicas import program_spec
from keras_physreg.replicas.runner import Runner


def told_of_every_epoch(monkeypatch):
    """No program begins an epoch before what is made of the last one has returned or raised."""
    monkeypatch.setattr(program_spec, "STEPS_PER_CALL", 1)
    train = Runner.train

    def train_in_step(self, replicas, weights, optimizer, progress):
        put, told = self._events.put, threading.Semaphore(0)

        def put_and_wait(epochs):
            put(epochs)
            while not self._stop.is_set() and not told.acquire(timeout=0.05):
                pass

        def tell(epochs):
            progress(epochs)
            told.release()

        self._events.put = put_and_wait
        train(self, replicas, weights, optimizer, tell)

    monkeypatch.setattr(Runner, "train", train_in_step)
