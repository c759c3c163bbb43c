"""A compiled function that several programs run on their own variables."""

import contextlib
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_physreg.replicas.shared_run import SharedRun


class Counter:
    """Adds numbers times an outside factor to its total."""

    def __init__(self, factor):
        self.factor = factor
        self.variables = [keras.Variable(np.zeros(2), dtype="float32") for _ in range(2)]

    def add(self, numbers, more):
        total, steps = self.variables
        total.assign_add(self.factor * (numbers["one"] + (0.0 if more is None else more)))
        steps.assign_add(tf.ones(2))
        return {"total": total.value + 0.0, "steps": steps.value + 0.0}


@pytest.mark.parametrize("jit", [True, False], ids=["XLA", "no XLA"])
def test_each_call_changes_its_own_variables(jit):
    factor = tf.Variable(2.0)
    first, second = Counter(factor), Counter(factor)
    run = SharedRun(first.add, first.variables, jit, contextlib.nullcontext)
    one = {"one": tf.constant([1.0, 3.0])}
    run.trace(first.variables, one, None)
    assert run.compiles == 1
    np.testing.assert_array_equal(first.variables[1], [0.0, 0.0])
    assert set(run(second.variables, one, None)) == {"steps", "total"}
    factor.assign(10.0)
    found = run(second.variables, one, None)
    np.testing.assert_array_equal(found["total"], [12.0, 36.0])
    np.testing.assert_array_equal(second.variables[0], [12.0, 36.0])
    np.testing.assert_array_equal(second.variables[1], [2.0, 2.0])
    np.testing.assert_array_equal(first.variables[0], [0.0, 0.0])
    assert run.compiles == 1
    np.testing.assert_array_equal(run(first.variables, one, tf.ones(2))["total"], [20.0, 40.0])
    assert run.compiles == 2  # Its inputs have another structure.


def test_threads_run_it_at_the_same_time():
    counters = [Counter(tf.constant(1.0)) for _ in range(4)]
    run = SharedRun(counters[0].add, counters[0].variables, True, contextlib.nullcontext)

    def work(position):
        for _ in range(50):
            run(counters[position].variables, {"one": tf.fill([2], float(position))}, None)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.compiles == 1
    for position, counter in enumerate(counters):
        np.testing.assert_array_equal(counter.variables[0], [50.0 * position] * 2)
        np.testing.assert_array_equal(counter.variables[1], [50.0] * 2)
