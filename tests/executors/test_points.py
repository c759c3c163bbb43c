"""Samplers and batches of points travel to workers."""

import pytest

import keras_physreg as kp
from tests.executors.setups import Here, assert_same, trained_by
from tests.points import linear
from tests.points.test_replicas import CHANGING, X, Y, alone

WEIGHTS, SEEDS = {"pde": [0.3, 0.3, 2.0, 1.0]}, [5, 6, 5, 7]
BESIDE = (linear.model, (X, Y), {"batch_size": 8})
ALONE = (alone, (), {"steps_per_epoch": 4})


@pytest.mark.slow
@pytest.mark.parametrize(("make", "rows", "more"), [BESIDE, ALONE], ids=["beside rows", "alone"])
def test_workers_train_on_the_points_of_this_process(make, rows, more):
    given, model = {**CHANGING, **more, "epochs": 2, "verbose": 0}, make()
    expected = kp.ReplicaTrainer(model, WEIGHTS, SEEDS).fit(*rows, **given)
    trainer = trained_by(Here(), 2, model, weights=WEIGHTS, seeds=SEEDS)
    assert_same(trainer.fit(*rows, **given), expected, rtol=1e-6)
