"""Derivatives to order 4 against closed forms, in every way to run a program."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.derivatives import networks
from tests.derivatives.closed_forms import ACTIVATIONS, derivative
from tests.variants import slow_but

BACKEND = keras.backend.backend()


def eager(layer, z):
    return layer(z)


def graph(layer, z, jit=False):
    import tensorflow as tf

    signature = [tf.TensorSpec((None, 2), z.dtype)]  # The number of rows is unknown.
    return tf.function(layer, jit_compile=jit, input_signature=signature, autograph=False)(z)


def jit(layer, z):
    return graph(layer, z, jit=True)


def replicas(layer, z):
    """As `ReplicaTrainer` runs models: several sets of weights at once, compiled by XLA."""
    import tensorflow as tf

    def one(values):
        pairs = list(zip(layer.trainable_variables, values, strict=True))
        with keras.StatelessScope(pairs, initialize_variables=False):
            return layer(z)

    @tf.function(jit_compile=True, autograph=False)
    def run():
        stacked = [tf.stack([2 * v.value, v.value]) for v in layer.trainable_variables]
        return tf.vectorized_map(one, stacked)

    return {key: value[1] for key, value in run().items()}


MODES = [eager] if BACKEND != "tensorflow" else [eager, graph, jit, replicas]


OF_RULES = ["tanh", "silu", ops.sin, "softplus", "gelu"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", slow_but({"tanh"}, OF_RULES))
def test_derivatives_of_a_network_to_order_4(activation, mode):
    check(activation, mode, "rules")


# By tapes the backend differentiates the activation: each one once, and all ways to run with one.
BY_TAPES = [*(("tanh", mode) for mode in MODES), *((name, eager) for name in OF_RULES[1:])]
BY_TAPES += [("silu", mode) for mode in MODES[1:2]]  # Has a gradient of TensorFlow's own making.


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "mode"), BY_TAPES)
def test_derivatives_by_tapes_to_order_4(activation, mode):
    check(activation, mode, "tapes")


@pytest.mark.parametrize(
    "activation",
    slow_but({"sigmoid", "elu"}, ["sigmoid", "exponential", "elu", "relu", ops.cos, ops.square]),
)
@pytest.mark.parametrize("mode", MODES[:1])
@pytest.mark.filterwarnings("ignore:Derivatives layer .* are 0 for all weights")
def test_other_activations_with_rules(activation, mode):
    check(activation, mode, "rules")


def check(activation, mode, by):
    wide = BACKEND == "tensorflow"  # JAX computes in 32 bits.
    if wide:
        networks.use_float64()
    inside = networks.dense(activation)
    network = inside if by == "rules" else Wrapped(inside)
    layer = kp.Derivatives(network, networks.DERIVATIVES, inputs=["x", "t"])
    z = networks.points()
    layer.build((None, 2))
    found = mode(layer, ops.convert_to_tensor(z, keras.config.floatx()))
    assert list(found) == ["u", "u_x", "u_t", "u_xx", "u_tx", "u_xxt", "u_xxxx", "u_ttxx"]
    for key, values in found.items():
        exact = derivative(ACTIVATIONS[activation], inside.get_weights(), z, key[2:])
        values = ops.convert_to_numpy(values)
        assert values.dtype == keras.config.floatx()
        assert values.shape == (7, 2)
        rounding = {"rtol": 1e-8, "atol": 1e-10} if wide else {"rtol": 1e-3, "atol": 1e-4}
        if by == "tapes" and activation == "gelu":
            rounding = {"rtol": 1e-6, "atol": 1e-7}  # TensorFlow has its constant in float32.
        np.testing.assert_allclose(values, exact, **rounding, err_msg=key)


class Wrapped(keras.Model):
    """Has no rule, so that it is differentiated as a whole."""

    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def call(self, z):
        return self.inside(z)


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    def call(self, z):
        return 2 * z


def hard_constraint():
    """A solution that is 0 at the walls, of operations, a nested model and several layers."""
    z = keras.Input((2,))
    x, t = z[:, :1], z[..., 1:]
    inner = keras.Sequential([keras.layers.Dense(5, "tanh"), keras.layers.Activation("silu")])
    scaled = keras.layers.Rescaling(0.5, offset=0.1)(z)
    normal = keras.layers.Normalization(mean=[0.1, 0.2], variance=[2.0, 3.0])(z)
    both = keras.layers.Concatenate()([inner(scaled), normal, ops.cos(x)])
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(4, "gelu")(both))
    hidden = keras.layers.Add()(
        [hidden, keras.layers.Dense(4)(ops.concatenate([t, x * x], axis=-1))]
    )
    wall = keras.layers.Multiply()([1 - x**2, ops.tanh(t), 1 / (2 + x)])
    u = keras.layers.Dense(2, activation=ops.sin)(hidden) * wall
    u = keras.layers.Average()([u, keras.layers.Subtract()([u, -x / 3 + ops.exp(x) * np.ones(2)])])
    return keras.Model(z, keras.layers.ReLU()(u) + keras.layers.ELU()(u))


@pytest.mark.tensorflow
@pytest.mark.parametrize("training", slow_but({True}, [False, True]))
def test_rules_give_what_differentiation_of_the_whole_gives(training):
    networks.use_float64()
    inside = hard_constraint() if not training else networks.dense("tanh", hidden=3)
    z = ops.convert_to_tensor(networks.points())
    by_rules = kp.Derivatives(inside, networks.DERIVATIVES, ["x", "t"])
    whole = kp.Derivatives(Wrapped(inside), networks.DERIVATIVES, ["x", "t"])
    found, expected = by_rules(z, training=training), whole(z, training=training)
    assert by_rules.uses_rules
    assert not whole.uses_rules
    for key in expected:
        size = np.max(np.abs(ops.convert_to_numpy(expected[key])))
        assert size > 1e-3
        # Of gelu, TensorFlow has a constant in float32.
        limit = 1e-10 if training else 1e-6
        np.testing.assert_allclose(found[key], expected[key], atol=limit * size, err_msg=key)


@pytest.mark.tensorflow
def test_dropout_that_is_always_on_has_no_rule():
    z = keras.Input((2,))
    hidden = keras.layers.Dense(50, "tanh")(z)
    u = keras.layers.Dense(1)(keras.layers.Dropout(0.5)(hidden, training=True))
    layer = kp.Derivatives(keras.Model(z, u), ["x"], ["x", "t"])
    given = ops.convert_to_tensor(networks.points(dtype="float32"))
    first, second = (ops.convert_to_numpy(layer(given)["u_x"]) for _ in range(2))
    assert not layer.uses_rules
    assert np.max(np.abs(first - second)) > 0.01


def test_the_output_is_that_of_the_network():
    network = networks.dense(hidden=2)
    z = ops.convert_to_tensor(networks.points(dtype="float32"))
    found = kp.Derivatives(network, ["xx"], ["x", "t"])(z)
    np.testing.assert_allclose(found["u"], network(z), rtol=1e-6)


def test_derivatives_of_a_linear_network_have_the_shape_of_the_output():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    z = ops.convert_to_tensor(networks.points(dtype="float32"))
    layer = kp.Derivatives(network, ["x", "xx"], ["x", "t"], name="d")
    with pytest.warns(UserWarning, match=r"'d': the derivatives \['xx'\] are 0 for all weights"):
        found = layer(z)
    kernel, _ = network.get_weights()
    np.testing.assert_allclose(found["u_x"], np.tile(kernel[0], (7, 1)), rtol=1e-6)
    np.testing.assert_array_equal(found["u_xx"], np.zeros((7, 3)))


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["dict", "list"])
def test_a_dict_of_inputs(kind):
    """By rules and as a whole; an entry that is not named is no variable of differentiation."""
    networks.use_float64()
    inputs = {name: keras.Input((1,), name=name) for name in ("t", "x", "k")}
    joined = keras.layers.Concatenate()([inputs["x"], inputs["t"], inputs["k"]])
    u = keras.layers.Dense(1)(keras.layers.Dense(5, "tanh")(joined))
    network = keras.Model(inputs if kind == "dict" else [inputs[n] for n in "xkt"], u)
    z = networks.points()
    given = {"x": z[:, :1], "t": z[:, 1:], "k": 0 * z[:, :1] + 0.5}
    given = {name: ops.convert_to_tensor(value) for name, value in given.items()}
    given["k"] = ops.cast(given["k"], "float32")  # Of another dtype than the weights.
    layer = kp.Derivatives(network, ["x", "xxt"], inputs=["x", "t"])
    found = layer(given)
    assert layer.uses_rules
    kernel, bias, *last = network.get_weights()
    weights = [kernel[:2], bias + 0.5 * kernel[2], *last]
    for key, values in found.items():
        exact = derivative(ACTIVATIONS["tanh"], weights, z, key[2:])
        np.testing.assert_allclose(values, exact, rtol=1e-8, atol=1e-10)


@pytest.mark.tensorflow
def test_gradients_by_the_weights_are_those_of_the_whole():
    """Training differentiates once more, by the weights."""
    import tensorflow as tf

    networks.use_float64()
    inside = networks.dense(hidden=2)
    z = ops.convert_to_tensor(networks.points())
    gradients = []
    for network in (inside, Wrapped(inside)):
        layer = kp.Derivatives(network, ["x", "t", "xx", "tttt"], ["x", "t"])
        layer(z)
        with tf.GradientTape() as tape:
            found = layer(z)
            loss = sum(tf.reduce_mean(value**2) for value in found.values())
        gradients.append(tape.gradient(loss, inside.trainable_variables))
    for ours, whole in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("merge", [keras.layers.Multiply, keras.layers.Add, keras.layers.Subtract])
def test_a_constant_in_a_layer_counts(merge):
    inputs = keras.Input((2,))
    network = keras.Model(inputs, merge()([inputs, np.array([[2.0, 3.0]], "float32")]))
    z = np.ones((4, 2), "float32")
    found = kp.Derivatives(network, ["x"], inputs=["x", "t"], output="u")(z)
    np.testing.assert_allclose(found["u"], network(z))
    slope = 2.0 if merge is keras.layers.Multiply else 1.0
    np.testing.assert_allclose(found["u_x"], [[slope, 0.0]] * 4)


def test_sums_of_branches_of_other_widths():
    """A column is added to three; each branch knows one input only."""
    inputs = {name: keras.Input((1,), name=name) for name in "xt"}
    column = keras.layers.Dense(1, "tanh", kernel_initializer="ones")(inputs["x"])
    three = keras.layers.Dense(3, ops.sin, kernel_initializer="ones")(inputs["t"])
    both = keras.layers.Add()([column, three]) - np.array([0.0, 1.0, 2.0], "float32")
    joined = keras.layers.Dense(1, kernel_initializer="ones")(both + inputs["x"])
    network = keras.Model(inputs, keras.layers.Concatenate()([joined, both[:, 1:]]))
    layer = kp.Derivatives(network, ["x", "t", "xx"], inputs=["x", "t"], output="u")
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    found = layer({"x": z[:, :1], "t": z[:, 1:]})
    tanh = np.tanh(z[:, :1])
    slope, times, first = 1 - tanh**2, np.array([[3.0, 1.0, 1.0]]), np.array([[3.0, 0.0, 0.0]])
    expected = {
        "u": times * (tanh + np.sin(z[:, 1:])) + first * z[:, :1] - np.array([[3.0, 1.0, 2.0]]),
        "u_x": times * slope + first,
        "u_t": times * np.cos(z[:, 1:]),
        "u_xx": times * (-2 * tanh * slope),
    }
    assert layer.uses_rules
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.tensorflow
def test_an_exponent_per_column():
    z = keras.Input((2,))
    network = keras.Model(z, z ** np.array([2.0, 3.0], "float32"))
    found = kp.Derivatives(network, ["x", "t"], inputs=["x", "t"])(2 * np.ones((4, 2), "float32"))
    np.testing.assert_allclose(found["u_x"], [[4.0, 0.0]] * 4)
    np.testing.assert_allclose(found["u_t"], [[0.0, 12.0]] * 4)


def test_units_in_and_out():
    """Each column has its own scale, as in networks around which quantities keep their units."""
    network = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Normalization(mean=[0.1, 0.2], variance=[4.0, 9.0]),
            keras.layers.Rescaling([2.0, 3.0], offset=[0.3, 0.4]),
            keras.layers.Dense(1, activation="tanh", kernel_initializer="ones"),
            keras.layers.Normalization(mean=[5.0], variance=[4.0], invert=True),
        ]
    )
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    found = kp.Derivatives(network, ["x", "t", "xt"], inputs=["x", "t"], output="u")(z)
    tanh = np.tanh((z[:, :1] - 0.1) + (z[:, 1:] - 0.2) + 0.7)  # Slopes of 2 / 2 and 3 / 3.
    slope = 2 * (1 - tanh**2)
    expected = {"u": 5 + 2 * tanh, "u_x": slope, "u_t": slope, "u_xt": -2 * tanh * slope}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-5, atol=1e-6, err_msg=name)
