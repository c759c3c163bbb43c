"""Training again with other weights, in the programs that are there."""

import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.replicas.program import Program
from tests import problems
from tests.sweep import models
from tests.variants import slow_but

DATA = models.mlp_data()


def fitted(weights, seeds=None, engine="auto"):
    trainer = kp.ReplicaTrainer(models.mlp(), {"x": weights}, seeds, engine=engine)
    return trainer, trainer.fit(*DATA, DATA, epochs=2, verbose=0)


@pytest.fixture
def programs(quick, monkeypatch):
    """The sizes of the programs that are compiled."""
    made = []
    build = Program.__init__

    def count(self, *arguments):
        build(self, *arguments)
        made.append(self.size)

    monkeypatch.setattr(Program, "__init__", count)
    return made


SEEDS = {"none": None, "own": [3, 4, 3, 4]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", slow_but({"own"}, SEEDS))
def test_equals_a_new_trainer(kind, programs):
    seeds = SEEDS[kind]
    trainer, _ = fitted([0.0, 0.1, 0.0, 0.1], seeds)
    again = trainer.refit({"x": [1.0, 2.0, 3.0]}, seeds and seeds[:3], verbose=0)
    assert programs == [4]
    _, fresh = fitted([1.0, 2.0, 3.0], seeds and seeds[:3])
    for key, values in fresh.history.items():
        np.testing.assert_allclose(again.history[key], values, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(again.weights["x"], [1.0, 2.0, 3.0])
    assert again.seeds == (seeds and seeds[:3])


@pytest.mark.slow
def test_compiles_anew_only_for_very_many_more_replicas(programs):
    trainer, first = fitted([0.0, 1.0])
    many = trainer.refit({"x": [0.0, 1.0] * 16}, verbose=0)
    assert programs == [2]
    for key, values in first.history.items():
        np.testing.assert_allclose(many.history[key][:, 30:], values, rtol=1e-4, atol=1e-6)
    trainer.refit({"x": [0.0] * 33}, verbose=0)
    assert programs == [2, 17]  # two groups, for 32 replicas are the most of a program
    assert trainer.compiles == 2


@pytest.mark.slow
def test_one_shape_of_orders_whatever_the_seeds_of_a_program(monkeypatch):
    monkeypatch.setattr("keras_physreg.replicas.compiled.cores", lambda: 2)
    _, history = fitted([0.1, 0.1, 1.0, 1.0], [5, 6, 5, 5])
    _, other = fitted([1.0, 0.1], [5, 5])
    for key in history.history:
        np.testing.assert_allclose(
            history.history[key][:, [3, 0]], other.history[key], rtol=1e-4, atol=1e-6
        )


@pytest.mark.slow
def test_sequential_trains_again():
    trainer, first = fitted([0.0, 1.0], engine="sequential")
    again = trainer.refit({"x": [1.0]}, verbose=0)
    np.testing.assert_allclose(again.history["loss"], first.history["loss"][:, 1:], rtol=1e-5)


@pytest.mark.slow
def test_bad_input():
    trainer = kp.ReplicaTrainer(models.mlp(), {"x": [0.0]})
    with pytest.raises(RuntimeError, match=r"call `fit` first"):
        trainer.refit({"x": [0.0]})
    trainer, _ = fitted([0.0], engine="sequential")
    with pytest.raises(ValueError, match=r"terms \['x'\].*weights of the terms \['z'\]"):
        trainer.refit({"z": [0.0]})
    with pytest.raises(ValueError, match=r"no seeds.*seeds=\[3\]"):
        trainer.refit({"x": [0.0]}, seeds=[3])
    assert problems.arrays_equal([trainer.table.constants()["x"]], [np.zeros(1)])
