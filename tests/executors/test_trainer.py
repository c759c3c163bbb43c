"""Replicas that are trained by workers equal those that are trained in this process."""

import concurrent.futures
import multiprocessing
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg.executors import worker
from keras_physreg.executors.checks import checked_pool
from keras_physreg.executors.futures_pool import FuturesPool
from keras_physreg.executors.group import groups_of
from keras_physreg.executors.trainer import LostReplicasError
from keras_physreg.executors.user_objects import UserObjects
from tests import problems
from tests.executors.setups import SEEDS, WEIGHTS, Doubled, Here, assert_same, fit, make, trained_by
from tests.replicas import trained
from tests.variants import slow_but

REWRITTEN_GRAPHS = True  # Else programs of 12 and of 6 replicas do not round in the same way.
AGAIN = {"weights": {"law": [0.5, 2.0]}, "seeds": [7, 8], "epochs": 2, "verbose": 0}


@pytest.fixture(scope="module")
def expected():
    """A model, and what a trainer without an executor makes of it."""
    keras.utils.set_random_seed(0)
    model = make(1.5)
    here = kp.ReplicaTrainer(model, WEIGHTS, SEEDS)
    history, outcome = fit(here), here._outcome
    return model, outcome, history, here.refit(**AGAIN)


# Programs of 12 and of 6, 4 or 2 replicas round in the same way.
@pytest.mark.parametrize("workers", slow_but([2], [2, 3, 5]))
def test_workers_train_as_this_process_does(expected, workers):
    model, outcome, history, again = expected
    kept = model.get_weights()
    trainer = trained_by(Here(), workers, model)
    assert_same(fit(trainer), history)
    for which in ("initial", "best", "last"):
        assert problems.arrays_equal(getattr(trainer._outcome, which), getattr(outcome, which))
    assert problems.arrays_equal(kept, model.get_weights())
    tasks = trainer.pool.executor.tasks
    assert_same(trainer.refit(**AGAIN), again)
    assert trainer.pool.executor.tasks == tasks + 1


@pytest.mark.slow
def test_a_function_that_builds_the_model_gets_its_weights(expected):
    model, _, history, _ = expected
    assert_same(fit(trained_by(Here(), 2, model, build=lambda: make(1.5))), history)


@pytest.mark.slow
def test_results_may_come_in_any_order(expected, monkeypatch):
    run = FuturesPool.run
    monkeypatch.setattr(FuturesPool, "run", lambda *given: reversed([*run(*given)]))
    assert_same(fit(trained_by(Here(), 3, expected[0])), expected[2])


@pytest.mark.slow
def test_without_seeds_replicas_continue_from_the_model_and_its_optimizer():
    keras.utils.set_random_seed(1)
    model = make()
    model.fit(np.ones((8, 6)), np.ones((8, 2)), verbose=0)
    weights = {"law": [0.0, 1.0, 2.0, 3.0]}
    settings = {"weights": weights, "seeds": None}
    here = fit(kp.ReplicaTrainer(model, **settings))
    assert_same(fit(trained_by(Here(), 2, model, **settings)), here)


@pytest.mark.slow
def test_a_row_is_left_out_as_in_one_process(expected):
    """A group whose splits all have 14 rows would else train on all of them."""
    model = expected[0]
    splits = np.array_split(np.random.default_rng(0).permutation(20), 3)
    held_out = [splits[k % 3] for k in range(12)]
    rows = [np.setdiff1d(np.arange(20), part) for part in held_out]
    given = {"validation_data": None, "rows": rows, "validation_rows": held_out}
    here = fit(kp.ReplicaTrainer(model, WEIGHTS, SEEDS), **given)
    far = fit(trained_by(Here(), 6, model), **given)
    assert (here.left_out >= 0).any()
    np.testing.assert_array_equal(far.left_out, here.left_out)
    # Groups differ in the numbers of held-out rows, which changes the rounding of a mean over them.
    assert_same(far, here, rtol=1e-6)


def test_groups_follow_the_workers(monkeypatch):
    class Job:
        rows = seeds = None
        epochs = 1

    def sizes(replicas, workers, per_program=None):
        Job.table = type("Table", (), {"entries": {"law": [0.0] * sum(replicas)}})
        ends = np.cumsum(replicas)
        parts = [np.arange(end - n, end) for n, end in zip(replicas, ends, strict=True)]
        specs = [(part, None) for part in parts]
        monkeypatch.setattr("keras_physreg.executors.group.program_specs", lambda job: specs)
        groups = groups_of(Job, workers, per_program)
        assert np.concatenate([g.replicas for g in groups]).tolist() == [*range(sum(replicas))]
        assert all(len(g.filled().replicas) == g.size for g in groups)
        return [len(group.replicas) for group in groups]

    assert sizes([12], 2) == [6, 6]
    assert sizes([12], 5) == [3, 3, 2, 2, 2]
    assert sizes([100], 2) == [25] * 4  # At most 32 each, equally many groups for each worker.
    assert sizes([100], 2, per_program=64) == [50, 50]
    assert sizes([5], 8) == [3, 2]  # No program of one replica, which would round otherwise.
    assert sizes([1], 8) == [1]
    assert sizes([4, 7], 2) == [2, 2, 4, 3]  # A program has replicas of one number of rows.


# What goes wrong on the way.


@pytest.mark.slow
def test_what_is_finished_is_kept_when_the_pool_breaks(expected):
    def breaks():
        raise concurrent.futures.process.BrokenProcessPool("died")

    with pytest.raises(LostReplicasError, match="4 of 12 replicas") as caught:
        fit(trained_by(Here(3, breaks), 3, expected[0]))
    assert "a worker of the executor died, and this Here is of no use" in str(caught.value)
    assert "A Dask client in its place survives" in str(caught.value)
    history = caught.value.history
    assert history.epochs_done.tolist() == [3] * 8 + [0] * 4
    loss, of_all = history.history["loss"], expected[2].history["loss"]
    np.testing.assert_array_equal(loss[:, :8], of_all[:, :8])
    assert np.isnan(loss[:, 8:]).all()


@pytest.mark.slow
def test_ctrl_c_returns_what_is_finished(expected):
    def interrupts():
        raise KeyboardInterrupt

    executor = Here(2, interrupts)
    history = fit(trained_by(executor, 3, expected[0]))
    assert history.interrupted
    assert executor.tasks == 2
    assert history.epochs_done.tolist() == [3] * 4 + [0] * 8


@pytest.mark.slow
def test_errors_of_a_worker_are_raised(expected):
    def fails():
        raise OverflowError("too much")

    with pytest.raises(OverflowError, match="too much"):
        fit(trained_by(Here(2, fails), 3, expected[0]))


def test_errors_that_do_not_pickle_come_as_text():
    class LocalError(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    found = worker._portable(LocalError("this", "that"))
    assert type(found) is RuntimeError
    assert str(found) == "LocalError: this and that"
    assert worker._portable(found) is found


def test_forked_processes_are_refused(monkeypatch):
    forked = multiprocessing.get_context("fork").Process()
    monkeypatch.setattr(multiprocessing, "current_process", lambda: forked)
    with pytest.raises(RuntimeError, match=r"forked.*spawn"):
        worker.train_group(None, None, None)


# Models that cannot travel.


class Unsaved(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


class Cubed(keras.losses.Loss):
    """Its config forgets the power."""

    def __init__(self, power=1, **settings):
        super().__init__(**settings)
        self.power = power

    def call(self, y, y_pred):
        return ops.mean(ops.abs(y - y_pred) ** self.power, axis=-1)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: make(layer=lambda: Unsaved(ops.tanh)), "cannot be sent"),
        (lambda: make(loss=Cubed(3)), "another model: its `loss` on the same rows is"),
    ],
    ids=["layer without config", "loss of half a config"],
)
def test_a_model_that_would_come_out_wrong_is_refused_with_its_cure(model, reason):
    far = trained_by(Here(), 2, model())
    with pytest.raises(ValueError, match=rf"(?s){reason}.*function without arguments"):
        fit(far)
    assert far.pool.executor.tasks == 0


@pytest.mark.slow
@pytest.mark.parametrize("by_function", [False, True])
def test_dropout_masks_are_those_of_one_process(by_function):
    def build():
        return make(layer=lambda: keras.layers.Dropout(0.4))

    model = build()
    weights = {"law": [0.0, 1.0]}
    here = kp.ReplicaTrainer(model, weights, seeds=[1, 2])
    far = trained_by(Here(), 2, model, build if by_function else None, weights, [1, 2])
    assert_same(fit(far), fit(here))


def test_a_function_whose_dropout_differs_between_calls_is_refused():
    rates = iter([0.1, 0.2])

    def build():
        return make(layer=lambda: keras.layers.Dropout(next(rates)))

    far = trained_by(Here(), 2, build(), build=build)
    with pytest.raises(ValueError, match=r"Dropout.*rate=0\.2.*rate=0\.1.*same model"):
        fit(far)
    assert far.pool.executor.tasks == 0


@pytest.mark.slow
def test_settings_that_a_copy_cannot_tell_are_not_compared():
    counts = iter(range(9))

    class Tagged(keras.layers.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.number = next(counts)

        def call(self, inputs):
            return ops.tanh(inputs)

        def get_config(self):
            return {**super().get_config(), "number": self.number, "of": self.name}

    def build():
        return make(layer=Tagged)

    far = trained_by(Here(), 2, build(), build)
    assert fit(far).epochs_done.min() == 3


def test_outputs_without_a_name_are_refused_with_the_cure():
    far = trained_by(Here(), 2, trained.listed_outputs(), trained.listed_outputs, {"r": [0.1]}, [1])
    with pytest.raises(ValueError, match=r"it logs .*dense.*give the output layers a `name`"):
        far.fit(*trained.listed_outputs_data(), verbose=0)


def test_classes_of_one_name_are_refused():
    model, other = make(), type("Doubled", (Doubled,), {})
    model.note = other()
    own = UserObjects(model)
    assert {Doubled, other} <= {*own.classes}
    with (
        pytest.raises(ValueError, match="two different classes have the name Doubled"),
        own.named(),
    ):
        pass


def test_functions_keep_their_names():
    def law(z, x_pred):
        return x_pred - z[:, :2]

    model = make()
    model.note = law  # It is reached, though not saved.
    with pytest.raises(RuntimeError, match="no use"):
        fit(trained_by(Here(1, _breaks), 2, model))
    assert law.__name__ == "law"


def _breaks():
    raise concurrent.futures.BrokenExecutor("no use")


# The arguments.


def test_wrong_executors_are_refused(monkeypatch):
    threads = concurrent.futures.ThreadPoolExecutor(2)
    for executor, workers, error, message in [
        ("dask", None, TypeError, "must be a Dask `Client` or a `concurrent.futures.Executor`"),
        (threads, 2, ValueError, "Threads do not speed replicas up"),
        (Here(), None, ValueError, "`workers` is missing"),
        (Here(), 0, ValueError, "`workers` must be an integer >= 1"),
        (Here(), "2", TypeError, "`workers` must be an integer >= 1"),
        (None, 2, ValueError, "give `executor` as well"),
    ]:
        with pytest.raises(error, match=message):
            checked_pool(executor, workers)
        with pytest.raises(error, match=message):
            kp.sanity_sweep(make(), [1], executor=executor, workers=workers)
    assert checked_pool(None, None) is None
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ImportError, match=r"keras_physreg\[cluster\]"):
        checked_pool(Here(), 2)
