"""Terms share a call of the physics if it gets the same arguments for them."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.problems import data, doubling, physics_model
from tests.variants import slow_but


class Counted(keras.layers.Layer):
    """Counts how often its physics is called on tensors with values."""

    def __init__(self):
        super().__init__()
        self.gain = kp.Constant(1.0, name="gain")
        self.calls = 0

    def call(self, z, x_pred):
        self.calls += 1
        return {name: self.gain() * x_pred - z[:, :2] for name in "abc"}


def day(z):
    return z[:, 0] > 0


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ([{}, {}, {}], 1),
        ([{"loss": "mae"}, {"mask": False}, {"weight": 0.0}], 1),
        ([{"trains": "network"}, {"at": "labels"}, {"trains": "network"}], 2),
        ([{"at": "labels"}, {"at": "labels"}, {"at": "labels"}], 1),
        ([{"where": day}, {"where": day}, {}], 2),
        ([{"where": day}, {"trains": "constants"}, {}], 3),
    ],
    ids=["default", "other options", "labels", "labels only", "where", "three"],
)
def test_physics_is_called_once_per_group(options, calls):
    physics = Counted()
    term_list = [kp.PhysicsTerm(n, **o) for n, o in zip("abc", options, strict=True)]
    model = physics_model(physics, term_list)
    model.compile("sgd", "mse", run_eagerly=True)
    model.train_on_batch(*data())  # Later calls check nothing.
    before = physics.calls
    model.train_on_batch(*data())
    assert physics.calls - before == calls


@pytest.mark.parametrize(
    "options",
    slow_but([{"where": day}], [{"trains": "network"}, {"where": day}]),
    ids=["trains", "where"],
)
def test_every_term_has_the_loss_that_it_has_alone(options):
    z, x = data()
    alone = {}
    for name, more in (("x", options), ("z", {})):
        term = kp.PhysicsTerm(name, "prediction", **more)
        model = physics_model(lambda z, x, n=name: doubling(z, x)[n], [term])
        model.compile("sgd", "mse")
        alone[name] = model.evaluate(z, x, return_dict=True, verbose=0)[f"{name}_loss"]
    both = [kp.PhysicsTerm("x", "prediction", **options), kp.PhysicsTerm("z", "prediction")]
    model = physics_model(doubling, both)
    model.compile("sgd", "mse")
    logs = model.evaluate(z, x, return_dict=True, verbose=0)
    for name, loss in alone.items():
        assert logs[f"{name}_loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_options_that_have_nothing_to_do_add_no_operation():
    import tensorflow as tf

    def operations(**options):
        term = kp.PhysicsTerm("z", "input", components=[0, 1], **options)
        model = physics_model(lambda z, x: 2 * x, [term])
        model.compile("sgd", "mse")
        model.train_on_batch(*data())
        specs = [tf.TensorSpec((None, *array.shape[1:])) for array in data()]
        step = tf.function(model.train_step, autograph=False)
        return len(step.get_concrete_function(specs).graph.get_operations())

    count = operations()
    assert operations(mask=False) == count
    assert operations(trains="network") == count
    assert operations(where=day) > count


def test_order_of_the_logs_is_that_of_the_terms():
    term_list = [kp.PhysicsTerm("a", at="labels"), kp.PhysicsTerm("b"), kp.PhysicsTerm("c")]
    model = physics_model(Counted(), term_list)
    model.compile("sgd", "mse")
    history = model.fit(*data(), verbose=0).history
    assert [key for key in history if key[1:] == "_loss"] == ["a_loss", "b_loss", "c_loss"]
    assert history["physics_loss"][0] == pytest.approx(
        np.sum([history[f"{name}_loss"][0] for name in "abc"]), rel=1e-5
    )
