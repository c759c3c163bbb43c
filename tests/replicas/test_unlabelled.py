"""Replicas with unlabelled rows are what `PhysicsModel.fit` gives with them."""

import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.unlabelled.row_order import RowStream, row_order, unlabelled_order
from tests.replicas.test_equality import assert_equal
from tests.sweep import models

MORE, SIZE, BATCH, EPOCHS = 13, 5, 8, 3
STEPS = 3  # in an epoch of 20 labelled rows
FIT = {"batch_size": BATCH, "verbose": 0, "unlabelled_batch_size": SIZE}
WEIGHTS = {"x": [0.0, 0.5], "z": [0.0, 2.0]}


def more_rows(data=models.mlp_data):
    return data(MORE, 1)[0]


def check(build, engine="auto", parts=models.mlp_data, share=None):
    model, data = build(), parts()
    z, x = data
    more = models.multi_input_data(MORE)[0] if isinstance(z, dict) else more_rows()
    given = {**FIT, "unlabelled": more, "epochs": EPOCHS, "shuffle": False}
    given |= {"validation_data": data, "unlabelled_share": share}
    trainer = kp.ReplicaTrainer(model, WEIGHTS, engine=engine)
    history = trainer.fit(z, x, **given)
    kp.set_term_weights(model, {term: values[1] for term, values in WEIGHTS.items()})
    assert_equal(history, 1, model.fit(z, x, **given).history)
    weights = model.get_weights()
    trainer.load_replica(1, "last")
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    return history


@pytest.mark.slow
def test_replicas_equal_fit(quick):
    assert check(models.norm).engine.startswith("stacked without XLA")


@pytest.mark.slow
def test_replicas_equal_fit_by_xla(one_program):
    assert check(models.mlp, share=0.9).engine.startswith("stacked: ")


@pytest.mark.slow
def test_share_where_fit_trains_the_replicas():
    check(models.mlp, "sequential", share=0.9)


@pytest.mark.slow
def test_engines_agree(quick):
    check(models.mlp, "in-turn", share=0.3)


@pytest.mark.slow
def test_several_inputs(one_program):
    check(models.multi_input, parts=models.multi_input_data)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "sequential"])
def test_each_seed_has_an_order_of_its_own(engine, quick):
    model, (z, x), more = models.mlp(), models.mlp_data(), more_rows()
    weights = {term: values[1:] * 2 for term, values in WEIGHTS.items()}
    trainer = kp.ReplicaTrainer(model, weights, seeds=[5, 6], engine=engine)
    history = trainer.fit(z, x, unlabelled=more, epochs=EPOCHS, **FIT)
    trainer.load_replica(1, "initial")
    start, alone = model.get_weights(), models.mlp()
    alone.set_weights(start)
    kp.set_term_weights(alone, {term: values[1] for term, values in WEIGHTS.items()})
    stream = RowStream(MORE, lambda number: unlabelled_order(6, number, MORE))
    rows = stream.take(0, EPOCHS * STEPS * SIZE)

    def sampler(step, batch):
        return more[rows[step * SIZE : (step + 1) * SIZE]]

    logs = []
    for epoch in range(EPOCHS):
        order = row_order(6, epoch, models.ROWS)
        logs.append(alone.fit(z[order], x[order], unlabelled=sampler, shuffle=False, **FIT).history)
    assert_equal(history, 1, {key: np.concatenate([log[key] for log in logs]) for key in logs[0]})


@pytest.mark.slow
def test_sanity_sweep_trains_on_unlabelled_rows(quick):
    """Many rows of the very physics teach what few labels do not."""
    z, x = models.mlp_data(4)
    held_out = models.mlp_data(200, 9)
    given = {"weights": [1.0], "terms": ["z"], "seeds": 6, "epochs": 30, "extend_to": 0}
    scores = []
    many = {"unlabelled": models.mlp_data(300, 2)[0], "unlabelled_batch_size": 100}
    for more in ({}, {**many, "unlabelled_share": 1.0}):
        result = kp.sanity_sweep(models.mlp(), z, x, held_out, verbose=0, **given, **more)
        scores.append(result.terms["z"].measured["score"].mean(axis=1))
    assert scores[0][0] == pytest.approx(scores[1][0], rel=1e-5)  # the baseline has no term
    assert scores[1][1] < 0.98 * scores[0][1]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"unlabelled": tf.data.Dataset.range(3)}, TypeError, "data in memory"),
        ({"unlabelled": kp.UniformSampler([0.0], [1.0])}, ValueError, r"\('rows', 3\)"),
        ({"unlabelled": np.ones((4, 2), "float32")}, ValueError, r"\('rows', 3\)"),
        ({"unlabelled": np.ones((0, 3))}, ValueError, "at least 1"),
        ({"unlabelled_batch_size": 3}, ValueError, "arguments need `unlabelled`"),
        ({"unlabelled_share": 0.5}, ValueError, "arguments need `unlabelled`"),
        (
            {"unlabelled": np.ones((4, 3)), "unlabelled_share": 0.0},
            ValueError,
            "unlabelled_share=0.0",
        ),
    ],
)
def test_refused(given, error, message):
    trainer = kp.ReplicaTrainer(models.mlp(), WEIGHTS)
    with pytest.raises(error, match=message):
        trainer.fit(*models.mlp_data(), verbose=0, **given)


def test_a_plain_model_is_refused():
    trainer = kp.ReplicaTrainer(models.plain(), {"x": [0.0]})
    with pytest.raises(TypeError, match="needs a `keras_physreg"):
        trainer.fit(*models.mlp_data(), unlabelled=more_rows(), verbose=0)
