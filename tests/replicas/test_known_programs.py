"""Programs that trained a model before, used again by other trainers of it."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.replicas import engines, known_trainers
from keras_physreg.replicas.program import Program
from tests import kept_graphs
from tests.variants import slow_but

Z = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
X = Z[:, :2] * np.float32(0.5)
LAW = {"factor": 1.0}
TENSOR = {"offsets": keras.ops.zeros((200,))}  # Too large to be a constant of a graph.


def law(z, x):
    return LAW["factor"] * x - z[:, :2] + keras.ops.sum(TENSOR["offsets"])


def optimizers():
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)
    return {
        "mlp": keras.optimizers.SGD(0.1),
        "cells": keras.optimizers.Adam(decay),
        "constraint": keras.optimizers.AdamW(0.1),
    }


BUILT = {
    "mlp": lambda: [],
    "cells": lambda: [keras.layers.Reshape((3, 1)), keras.layers.GRU(2)],  # Has a loop.
    "constraint": lambda: [
        keras.layers.Dense(3, kernel_constraint=keras.constraints.MaxNorm(0.5)),
        keras.layers.BatchNormalization(),
    ],
}


def build(kind="mlp", seed=0):
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential([keras.Input((3,)), *BUILT[kind](), keras.layers.Dense(2)])
    model = kp.regularize(encoder, law, {"law": 0.0})
    model.compile(optimizers()[kind], "mse", metrics=["mae"])
    return model


def fitted(model, z=Z, seeds=(1, 2), **more):
    trainer = kp.ReplicaTrainer(model, {"law": [0.0, 0.5]}, seeds=seeds)
    x = z[:, :2] * np.float32(0.5)
    return trainer.fit(z, x, epochs=2, batch_size=8, verbose=0, **more).history


@pytest.fixture
def programs(quick, monkeypatch):
    """The programs that are made."""
    made = []
    build = Program.__init__

    def count(self, *arguments):
        build(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Program, "__init__", count)
    return made


def assert_same(logs, others):
    assert logs.keys() == others.keys()
    for key, values in logs.items():
        np.testing.assert_array_equal(values, others[key], err_msg=key)


@pytest.mark.slow
def test_another_trainer_of_the_model_compiles_nothing(programs):
    model = build()
    first, again = fitted(model), fitted(model)
    assert len(programs) == 1
    assert_same(first, again)
    other_rows = fitted(model, Z + 1)
    assert len(programs) == 1
    kept_graphs.forget_programs()
    assert_same(other_rows, fitted(build(), Z + 1))
    assert len(programs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", slow_but({"mlp"}, BUILT))
def test_a_model_that_is_built_alike_compiles_nothing(kind, programs):
    """Each keeps its own weights, and trains as with programs of its own."""
    alone = []
    for seed in (0, 1):
        kept_graphs.forget_programs()
        alone.append(fitted(build(kind, seed), seeds=None))
    assert not np.array_equal(alone[0]["loss"], alone[1]["loss"])
    del programs[1:]
    first, second = build(kind), build(kind, 1)
    kept_graphs.forget_programs()
    assert_same(fitted(first, seeds=None), alone[0])
    assert_same(fitted(second, seeds=None), alone[1])
    assert_same(fitted(first, seeds=None), alone[0])
    assert len(programs) == 2


@pytest.mark.slow
def test_programs_that_are_traced_again_run_the_step_of_the_model_in_training(programs):
    """A longer table is traced anew, and not by the model that came first and has changed."""
    rows, more = [np.arange(16)] * 2, np.concatenate([Z, Z])
    first, second = build(), build()
    fitted(first, rows=rows)
    first.compile("sgd", "mae")
    shared = fitted(second, more, rows=rows)
    assert len(programs) == 1
    assert programs[0].compiles == 2
    kept_graphs.forget_programs()
    assert_same(shared, fitted(build(), more, rows=rows))


@pytest.mark.slow
@pytest.mark.parametrize("way", slow_but({"more data"}, ["other rows", "more data", "refit"]))
def test_known_programs_that_fail_to_compile_again_give_way_to_another_engine(
    way, quick, monkeypatch
):
    """As new ones do: for other numbers of rows, or for a longer table of data."""
    stack = engines.stacked

    def stacked(function, values):
        if failing:
            raise tf.errors.UnimplementedError(None, None, "no more stacks")
        return stack(function, values)

    failing = False
    monkeypatch.setattr(engines, "stacked", stacked)
    fit = {"epochs": 2, "batch_size": 8, "verbose": 0}
    few, many = [np.arange(16)] * 2, [np.arange(20)] * 2
    weights, longer = {"law": [0.0, 0.5]}, (np.concatenate([Z, Z]), np.concatenate([X, X]))
    trainer = kp.ReplicaTrainer(build(), weights, seeds=(1, 2))
    assert trainer.fit(Z, X, rows=few, **fit).engine.startswith("stacked")
    failing = True
    if way == "refit":
        history = trainer.refit(weights, (1, 2), 0, many)
    else:
        data, rows = ((Z, X), many) if way == "other rows" else (longer, few)
        trainer = kp.ReplicaTrainer(build(), weights, seeds=(1, 2))
        history = trainer.fit(*data, rows=rows, **fit)
    assert history.engine.startswith("in-turn")
    assert "stacked: failed (no more stacks)" in history.engine
    expected = fitted(build(), rows=few if way == "more data" else many)
    for key, values in history.history.items():
        np.testing.assert_allclose(values, expected[key], rtol=1e-4, err_msg=key)


class HalfError(keras.metrics.MeanAbsoluteError):
    def result(self):
        return super().result() / 2


class HalfRate(keras.optimizers.SGD):
    rate = 0.5

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * self.rate, variable, learning_rate)


def another_loss(model):
    model.compile(model.optimizer, "mae")


def another_rate(model):
    model.optimizer.learning_rate = 0.01


def another_optimizer(model):
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")


def another_constant_in_the_physics(model):
    LAW["factor"] = 2.0


def another_tensor_in_the_physics(model):
    TENSOR["offsets"] = keras.ops.ones((200,)) / 100


def another_constraint(model):
    model.trainable_variables[0].constraint = keras.constraints.NonNeg()


def another_metric(model):
    model.compile(model.optimizer, "mse", metrics=[HalfError("mae")])


def another_optimizer_of_the_user(model):
    model.compile(HalfRate(0.1), "mse", metrics=["mae"])


CHANGES = [
    another_loss,
    another_constraint,
    another_metric,
    another_optimizer_of_the_user,
    another_rate,
    another_optimizer,
    another_constant_in_the_physics,
    another_tensor_in_the_physics,
]
QUICK = {another_constant_in_the_physics}


@pytest.mark.slow
@pytest.mark.parametrize("change", slow_but(QUICK, CHANGES))
def test_what_is_changed_counts(change, programs, monkeypatch):
    monkeypatch.setitem(LAW, "factor", 1.0)
    monkeypatch.setitem(TENSOR, "offsets", TENSOR["offsets"])
    model, other = build(), build()
    before = fitted(model)
    change(model)
    after = fitted(model)
    assert len(programs) == 2
    change(other)
    assert_same(after, fitted(other))
    assert any(not np.array_equal(values, after[key]) for key, values in before.items())


@pytest.mark.slow
def test_a_share_of_unlabelled_rows_is_part_of_the_programs(programs):
    model = build()
    shares = [fitted(model, unlabelled=Z + 1, unlabelled_share=s) for s in (0.1, 0.9, 0.9)]
    assert len(programs) == 2
    assert_same(*shares[1:])
    assert not np.array_equal(shares[0]["law_loss"], shares[1]["law_loss"])


@pytest.mark.slow
def test_a_train_step_of_its_own_is_never_left_out(programs):
    model = build()
    fitted(model)
    model.train_step = lambda data: kp.PhysicsModel.train_step(model, data)
    trainer = kp.ReplicaTrainer(model, {"law": [0.0]})
    assert "overrides `train_step`" in trainer.fit(Z, X, verbose=0).engine


def test_programs_let_go_of_their_model(programs):
    model = build()
    fitted(model)
    model, of_model = None, weakref.ref(model)
    gc.collect()
    assert of_model() is None
    fitted(build())
    assert len(programs) == 1


@pytest.mark.slow
def test_large_programs_go_with_their_model(programs, monkeypatch):
    model = build()
    fitted(model)
    monkeypatch.setattr(known_trainers, "MAX_SHARED_BYTES", programs[0].bytes - 1)
    of_program = weakref.ref(programs.pop())
    del model
    gc.collect()
    gc.collect()  # The programs, which are dropped where the model goes.
    assert of_program() is None


def test_programs_count_their_bytes(programs):
    fitted(build())
    # Of 4 bytes each, per replica: 8 weights of the layer and that of the term, as they are and at
    # the best epoch, with its score and that epoch (8 bytes); totals and counts of 2 metrics, and
    # of 3 losses and 1 loss of a term.
    each = 4 * (2 * (8 + 1) + 1 + 2 + 2 * (2 + 3 + 1))
    (program,) = programs
    assert program.bytes == 2 * each + 4 + 8  # The rate of SGD, and its count of steps.


@pytest.mark.slow
def test_few_trainers_are_kept(programs):
    sizes = [3, 4, 5, 6, 8]
    assert len(sizes) == known_trainers.MAX_TRAINERS + 1
    model = build()
    for size in [*sizes, sizes[-1], sizes[0]]:
        kp.ReplicaTrainer(model, {"law": [0.0]}).fit(Z, X, batch_size=size, verbose=0)
    assert len(programs) == len(sizes) + 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cells", "constraint"])
def test_no_graph_is_kept_for_ever(kind, programs):
    """Not even where TensorFlow keeps custom gradients: in programs, probes and shields."""
    kept = kept_graphs.registered()
    fitted(build(kind))
    of_program = weakref.ref(programs.pop())
    kept_graphs.forget_programs()
    gc.collect()
    assert of_program() is None
    assert kept_graphs.registered() == kept


@pytest.mark.slow
def test_a_sweep_keeps_no_graph():
    kept = kept_graphs.registered()
    kp.sanity_sweep(build(), Z, X, cv=2, weights=[0.1, 1.0], seeds=1, epochs=1, verbose=0)
    assert kept_graphs.registered() == kept


@pytest.mark.slow
def test_what_shows_on_held_out_rows_alone_counts(programs):
    """Weights of held-out rows count in `weighted_metrics` only."""
    weights = np.linspace(0.1, 3.0, 24)
    held_out = (Z, X, weights)
    plain, weighted = build(), build()
    weighted.compile(weighted.optimizer, "mse", weighted_metrics=["mae"])
    fitted(plain, validation_data=held_out)
    logs = fitted(weighted, validation_data=held_out)
    assert len(programs) == 2
    kept_graphs.forget_programs()
    assert_same(fitted(weighted, validation_data=held_out), logs)
