"""Physics that mixes rows, that asks the network itself, or moves the network's state."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from tests.diagnosis.linear import data, linear_model
from tests.variants import slow_but

Z, X = data(20, outputs=1)
OTHERS = len(Z) - 1


def report_of(physics, terms=None, z=Z, x=X, **kwargs):
    model = linear_model(physics, terms or {"t": 1.0}, outputs=1)
    if kwargs.pop("run_eagerly", False):
        model.compile("sgd", "mse", run_eagerly=True)
    return kp.diagnose(model, z, x, **kwargs)


def found(report, code):
    return [(f.severity, f.term) for f in report.findings if f.code == code]


# Rows that meet other rows.

COLUMN_AGAINST_ROWS = {
    "a difference": lambda z, x: ops.mean(x - z[:, 0], -1),
    "the other way round": lambda z, x: ops.mean(z[:, 0] - x, -1),
    "a product": lambda z, x: ops.sum(x * z[:, 0], -1),
    "a maximum": lambda z, x: ops.mean(ops.maximum(x - 100, z[:, 0]), -1),
    "a choice": lambda z, x: ops.mean(ops.where(z[:, 0] > 0, x, 0.0), -1),
    "of every component": lambda z, x: ops.mean((x * z)[:, :, None] - z[:, 0], -1),
    "before other steps": lambda z, x: ops.exp(-ops.mean(ops.square(x - z[:, 0]), 1)) * z[:, 1],
}


@pytest.mark.parametrize("kind", slow_but({"a difference", "a product"}, COLUMN_AGAINST_ROWS))
def test_a_column_broadcast_against_rows_is_an_error(kind):
    report = report_of(COLUMN_AGAINST_ROWS[kind])
    assert found(report, "mixes-rows") == [("error", "t")]
    (finding,) = (f for f in report.findings if f.code == "mixes-rows")
    assert f"moves in {OTHERS} of the {OTHERS} other rows" in finding.message
    assert "`(rows,)` is broadcast against one of shape `(rows, 1)`" in finding.message
    assert "`keras.ops.squeeze(a, -1)`" in finding.cure


def test_the_term_that_mixes_rows_is_named():
    def two(z, x):
        return {"a": x[:, 0] - z[:, 0], "b": ops.mean(x - z[:, 0], -1)}

    report = report_of(two, {"a": 1.0, "b": 0.0})
    assert found(report, "mixes-rows") == [("error", "b")]


@keras.saving.register_keras_serializable(package="test_physics_probe")
class OverTheBatch(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization()

    def call(self, z, x):
        return self.norm(x - z[:, :1], training=True)


MEANT = {
    "a mean over the batch": lambda z, x: x - ops.mean(z[:, :1], axis=0),
    "batch normalisation": OverTheBatch(),
    "pairs of rows": lambda z, x: ops.mean(x - z[None, :, 0], -1),
    "a transpose": lambda z, x: ops.mean(ops.square(x - ops.transpose(x)), -1) - z[:, 0],
    "neighbours": lambda z, x: x - ops.roll(x, 1, axis=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", slow_but({"neighbours"}, MEANT))
def test_coupling_that_may_be_meant_is_for_information(kind):
    report = report_of(MEANT[kind])
    assert found(report, "mixes-rows") == [("info", "t")]
    (finding,) = (f for f in report.findings if f.code == "mixes-rows")
    moved = 1 if kind == "neighbours" else OTHERS
    assert f"moves in {moved} of the {OTHERS} other rows" in finding.message
    assert "the physics of one row alone must give what it gives in the batch" in finding.cure


@tf.function
def hidden(z, x):
    return tf.reduce_mean(x - z[:, 0], -1)


@pytest.mark.slow
def test_coupling_that_cannot_be_looked_into_is_a_warning():
    assert found(report_of(hidden), "mixes-rows") == [("warning", "t")]
    physics = COLUMN_AGAINST_ROWS["a difference"]
    assert found(report_of(physics, run_eagerly=True), "mixes-rows") == [("warning", "t")]


@pytest.mark.slow
def test_one_number_for_all_rows_of_a_column_broadcast_against_rows():
    report = report_of(lambda z, x: ops.mean(ops.square(x - z[:, 0])))
    assert found(report, "mixes-rows") == [("warning", "t")]
    near = report_of(lambda z, x: ops.mean(ops.square(x[:, 0] - z[:, 0])))
    assert found(near, "mixes-rows") == []


def slope(z, x):
    return tf.gradients(x, z)[0][:, :1] - 1.0


@keras.saving.register_keras_serializable(package="test_physics_probe")
class Noise(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, z, x):
        return x - z[:, :1] + keras.random.normal(ops.shape(x), seed=self.seeds)


ROW_BY_ROW = {
    "columns": lambda z, x: x - z[:, :1],
    "rows": lambda z, x: x[:, 0] - z[:, 0],
    "a column made of rows": lambda z, x: x - z[:, 0][:, None],
    "a product of matrices": lambda z, x: ops.matmul(z, ops.ones((3, 5))) - x,
    "sums over components": lambda z, x: x - ops.sum(z, -1, keepdims=True),
    "a derivative": slope,
    "noise of a seed": Noise(),
    "noise without one": lambda z, x: x + tf.random.normal(tf.shape(x)),
    "not finite": lambda z, x: ops.log(z[:, :1]) + x,
    "constant": lambda z, x: 0 * x + 1.0,
    "rows of its own": lambda z, x: ops.mean(x) - ops.ones((7, 1)),
    "one number": lambda z, x: ops.mean(x - z[:, :1]),
}


QUICK_ROWS = {"a column made of rows", "a derivative", "noise of a seed"}


@pytest.mark.parametrize("kind", slow_but(QUICK_ROWS, ROW_BY_ROW))
def test_no_false_alarm(kind):
    assert found(report_of(ROW_BY_ROW[kind]), "mixes-rows") == []


@pytest.mark.slow
def test_no_false_alarm_on_sequences_and_equal_rows():
    z = keras.Input((None, 3))
    x = keras.layers.GRU(2, return_sequences=True)(z)
    layer = kp.PhysicsRegularization(lambda z, x: x - z[..., :2], {"t": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    report = kp.diagnose(model, rng.normal(size=(9, 9, 3)), rng.normal(size=(9, 9, 2)))
    assert found(report, "mixes-rows") == []
    equal = report_of(COLUMN_AGAINST_ROWS["a difference"], z=Z[:1], x=X[:1])
    assert found(equal, "mixes-rows") == []


@pytest.mark.slow
def test_a_network_that_couples_rows_is_no_fault_of_the_physics():
    z = keras.Input((3,))
    x = keras.layers.Dense(1)(z - ops.mean(z, axis=0))
    layer = kp.PhysicsRegularization(lambda z, x: x - z[:, :1], {"t": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    assert found(kp.diagnose(model, Z, X), "mixes-rows") == []


# Floors of physics that asks the network.

POINTS = Z[:5]


def encoder(units=1, dropout=0.0, norm=False):
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    h = keras.layers.Dense(8, "tanh")(z)
    h = keras.layers.BatchNormalization(name="norm")(h) if norm else h
    h = keras.layers.Dropout(dropout, name="drop")(h) if dropout else h
    return keras.Model(z, keras.layers.Dense(units)(h))


def regularized(network, physics, cls=None, weight=1.0):
    model = kp.regularize(network, physics, {"t": weight})
    model.compile("sgd", "mse")
    return model


class HoldsTheNetwork(keras.layers.Layer):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def call(self, z, x):
        return self.network(ops.convert_to_tensor(POINTS)) - 2 * POINTS[:, :1]


ASKS = {
    "at points of its own": lambda e: lambda z, x: e(ops.convert_to_tensor(POINTS)) - 2.0,
    "beside the prediction": lambda e: lambda z, x: x - e(-z),
    "at random points": lambda e: lambda z, x: e(tf.random.normal((5, 3))) - 2.0,
    "cut off from its gradient": lambda e: lambda z, x: x - ops.stop_gradient(e(-z)),
    "as a layer": HoldsTheNetwork,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", slow_but({"beside the prediction", "as a layer"}, ASKS))
def test_no_floor_where_the_physics_asks_the_network(kind):
    network = encoder()
    model = regularized(network, ASKS[kind](network))
    report = kp.diagnose(model, Z, X, validation_data=(Z, X))
    row = report.to_dict()["terms"][0]
    assert (row["floor"], row["val_floor"], row["bias"]) == (None, None, None)
    assert "t: no floor: with the labels in place of the prediction its physics still" in str(
        report
    )
    assert row["loss"] > 0
    assert not {"at-floor", "below-floor", "memorised", "biased"} & {
        f.code for f in report.findings
    }


class GivesDerivatives(kp.PhysicsModel):
    """Hands the slope of its own prediction to the physics, as `inputs`."""

    def __init__(self, of_network=True):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.of_network = of_network
        self.physics = kp.PhysicsRegularization(lambda given, x: x - given, {"t": 1.0})

    def call(self, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            x = self.dense(z)
        given = tape.gradient(x, z)[:, :1] if self.of_network else z[:, :1]
        return self.physics(given, x)


@pytest.mark.slow
@pytest.mark.parametrize("of_network", [True, False])
def test_no_floor_where_a_subclass_hands_in_what_the_network_made(of_network):
    model = GivesDerivatives(of_network)
    model.compile("sgd", "mse")
    model(Z[:1])
    floor = kp.diagnose(model, Z, X)["t"].floor
    if of_network:
        assert floor is None
    else:
        np.testing.assert_allclose(floor, np.mean((X - Z[:, :1]) ** 2), rtol=1e-5)


class WithConstant(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.gain = kp.Constant(2.0, name="gain")
        self.offset = self.add_weight(shape=(), initializer="ones")

    def call(self, z, x):
        return self.gain() * x + self.offset - z[:, :1]


@pytest.mark.slow
def test_constants_and_other_networks_leave_the_floor():
    report = report_of(WithConstant())
    np.testing.assert_allclose(report["t"].floor, np.mean((2 * X + 1 - Z[:, :1]) ** 2), rtol=1e-5)
    emulator = encoder(units=3)
    report = report_of(lambda z, x: emulator(z)[:, :1] - x)
    floor = np.mean((emulator.predict(Z, verbose=0)[:, :1] - X) ** 2)
    np.testing.assert_allclose(report["t"].floor, floor, rtol=1e-4)


@pytest.mark.slow
def test_only_the_term_that_asks_the_network_has_no_floor():
    network = encoder()

    def two(z, x):
        return {"a": x - z[:, :1], "b": network(-z) - x}

    model = kp.regularize(network, two, {"a": 1.0, "b": 1.0})
    model.compile("sgd", "mse")
    report = kp.diagnose(model, Z, X)
    np.testing.assert_allclose(report["a"].floor, np.mean((X - Z[:, :1]) ** 2), rtol=1e-5)
    assert report["b"].floor is None


def test_a_reference_made_by_the_network_has_no_floor():
    z = keras.Input((3,))
    h = keras.layers.Dense(1)(z)
    terms = [kp.PhysicsTerm("t", reference="input")]
    layer = kp.PhysicsRegularization(lambda given, x: 2 * x, terms)
    model = kp.PhysicsModel(z, layer(h, keras.layers.Dense(1)(h)))
    model.compile("sgd", "mse")
    assert kp.diagnose(model, Z, X)["t"].floor is None


# The network's state.

MOVES = {
    "statistics": ({"norm": True}, {}, ["norm/moving_mean", "norm/moving_variance"]),
    "seeds": ({"dropout": 0.5}, {}, ["seed_generator_state"]),
    "nothing to move": ({}, {}, []),
    "as in serving": ({"norm": True, "dropout": 0.5}, {"training": False}, []),
}


@pytest.mark.parametrize("kind", slow_but({"statistics"}, MOVES))
def test_physics_that_moves_the_state_of_the_network(kind):
    parts, arguments, moved = MOVES[kind]
    network = encoder(**parts)
    model = regularized(network, lambda z, x: x - network(-z, **arguments), weight=0.0)
    before = model.get_weights()
    report = kp.diagnose(model, Z, X)
    assert found(report, "moves-network-state") == ([("warning", "t")] if moved else [])
    (finding,) = [f for f in report.findings if f.code == "moves-network-state"] or [None]
    assert all(name in finding.message for name in moved)
    assert finding is None or f"moves {len(moved)} of their variables" in finding.message
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.slow
def test_the_physics_may_move_what_is_its_own():
    assert found(report_of(OverTheBatch()), "moves-network-state") == []
    assert found(report_of(Noise()), "moves-network-state") == []


@pytest.mark.slow
@pytest.mark.parametrize("moves", [True, False])
def test_what_is_found_is_what_training_does(moves):
    """At next to no weight one step leaves the statistics as without physics, or not."""
    network = encoder(norm=True)
    physics = regularized(
        network, lambda z, x: x - network(-z, **({} if moves else {"training": False}))
    )
    kp.set_term_weights(physics, {"t": 1e-30})
    said = bool(found(kp.diagnose(physics, Z, X), "moves-network-state"))
    alone = encoder(norm=True)
    alone.compile("sgd", "mse")
    for model in (physics, alone):
        model.fit(Z, X, batch_size=20, verbose=0)
    means = [m.get_layer("norm").moving_mean.numpy() for m in (network, alone)]
    assert np.array_equal(*means) == (not moves)
    assert said == moves
