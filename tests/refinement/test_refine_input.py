"""What `refine` refuses, and what it says."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests import problems

pytestmark = pytest.mark.tensorflow


def network(*layers):
    z = keras.Input((3,))
    x = z
    for layer in layers:
        x = layer(x)
    x = keras.layers.Dense(2)(x)
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("adam", "mse")
    return model


def compiled(physics=problems.doubling, terms=None):
    model = problems.physics_model(physics, terms)
    model.compile("adam", "mse")
    return model


def test_a_model_that_is_no_physics_model():
    model = problems.endpoint_model()
    model.compile("adam", "mse")
    with pytest.raises(TypeError, match="PhysicsModel"):
        kp.refine(model, *problems.data())


def test_a_model_that_is_not_compiled():
    with pytest.raises(ValueError, match="not compiled"):
        kp.refine(problems.physics_model(), *problems.data())


def test_a_train_step_of_its_own():
    class Own(problems.Subclassed):
        def train_step(self, data):
            return super().train_step(data)

    model = Own()
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="`train_step` of its own"):
        kp.refine(model, *problems.data())


def recurrent(stateful):
    z = keras.Input(batch_shape=(8, 3, 2))
    x = keras.layers.GRU(2, stateful=stateful, name="memory")(z)
    layer = kp.PhysicsRegularization(lambda z, x: x - z[:, 0], {"law": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("adam", "mse")
    return model


def test_a_layer_that_carries_its_state():
    z = np.random.default_rng(0).normal(size=(8, 3, 2)).astype("float32")
    model, cure = recurrent(True), recurrent(False)
    with pytest.raises(ValueError, match=r"Layer 'memory' .* is stateful.*`stateful=False`"):
        kp.refine(model, z, z[:, 1], verbose=0)
    cure.set_weights(model.get_weights())
    done = kp.refine(cure, z, z[:, 1], iterations=2, verbose=0)
    assert done.loss < done.history["loss"][0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"iterations": 0}, ValueError, "`iterations` must be an integer >= 1"),
        ({"iterations": 10.0}, TypeError, "`iterations` must be an integer >= 1"),
        ({"method": "bfgs"}, ValueError, "Did you mean 'lbfgs'"),
        ({"verbose": 3}, ValueError, "`verbose` must be"),
        ({"unlabelled_share": 0.5}, ValueError, "need `unlabelled`"),
        ({"unlabelled": np.ones((4, 2), "float32")}, ValueError, "row shape of `x`"),
        ({"unlabelled": lambda step, batch: 0}, TypeError, "`unlabelled` must be arrays"),
        ({"x": None}, ValueError, "needs the inputs `x`"),
        ({"points": {"x": np.ones((2, 3))}}, ValueError, "'x' needs the label"),
        ({"points": {"w": np.ones((2, 3))}}, ValueError, "unknown term"),
        ({"points": {"z": np.ones((2, 3))}}, ValueError, "computes the terms"),
        ({"y": None}, ValueError, "needs the labels `y`"),
        ({"y": np.ones((7, 2))}, ValueError, "same number of rows"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
def test_bad_arguments(arguments, error, message):
    z, y = problems.data()
    with pytest.raises(error, match=message):
        kp.refine(compiled(), **{"x": z, "y": y, "verbose": 0} | arguments)


def test_a_dataset():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(problems.data()).batch(5)
    with pytest.raises(TypeError, match="`x` must be arrays"):
        kp.refine(compiled(), dataset)


def test_points_of_a_sampler():
    model = problems.physics_model(problems.residual, {"residual": 1.0})
    model.compile("adam", "mse")
    with pytest.raises(TypeError, match="Draw points from a sampler once"):
        kp.refine(model, points={"residual": kp.UniformSampler([0.0] * 3, [1.0] * 3)}, verbose=0)


def test_nothing_trainable():
    model = compiled()
    model.trainable = False
    with pytest.raises(ValueError, match="no trainable weights"):
        kp.refine(model, *problems.data())


def test_weights_with_constraints():
    """A quasi-Newton step knows no constraint: it would leave the weights that `fit` allows."""
    model = network(keras.layers.Dense(4, kernel_constraint="non_neg", name="gains"))
    with pytest.raises(ValueError, match=r"cannot keep.*'gains/kernel': NonNeg"):
        kp.refine(model, *problems.data(), verbose=0)
    model.get_layer("gains").trainable = False
    kp.refine(model, *problems.data(), iterations=1, verbose=0)


@pytest.mark.slow
def test_dropout_and_batch_normalisation_that_are_active():
    dropout = network(keras.layers.Dropout(0.5, name="drop"))
    with pytest.raises(ValueError, match=r"layers \['drop'\].*must be off \(rate 0\)"):
        kp.refine(dropout, *problems.data(), verbose=0)
    dropout.layers[1].rate = 0.0
    kp.refine(dropout, *problems.data(), iterations=2, verbose=0)

    normalised = network(keras.layers.BatchNormalization(name="norm"))
    normalised.fit(*problems.data(), verbose=0)
    with pytest.raises(ValueError, match=r"layers \['norm'\].*Freeze batch normalisation"):
        kp.refine(normalised, *problems.data(), verbose=0)
    normalised.layers[1].trainable = False
    state = [v.numpy() for v in normalised.layers[1].variables]
    done = kp.refine(normalised, *problems.data(), iterations=5, verbose=0)
    assert problems.arrays_equal(state, [v.numpy() for v in normalised.layers[1].variables])
    logs = normalised.evaluate(*problems.data(), batch_size=20, return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(done.loss, rel=1e-5)


def _tensorflow_noise():
    import tensorflow as tf

    return tf.random.normal((20, 2))


@pytest.mark.parametrize(
    ("noise", "run_eagerly"),
    [
        (lambda: keras.random.normal((20, 2)), False),
        (_tensorflow_noise, False),
        (_tensorflow_noise, True),
    ],
    ids=["Keras", "TensorFlow", "eager"],
)
def test_random_physics(noise, run_eagerly):
    model = problems.physics_model(lambda z, x: {"x": noise() * x, "z": 2 * x})
    model.compile("adam", "mse", run_eagerly=run_eagerly)
    with pytest.raises(ValueError, match="draws random numbers"):
        kp.refine(model, *problems.data(), verbose=0)


def test_a_loss_that_is_not_finite_at_the_start_names_the_term():
    model = compiled(lambda z, x: {"x": keras.ops.log(-1 - x * x), "z": 2 * x})
    before = problems.trainable_values(model)
    with pytest.raises(ValueError, match=r"'x_loss' is nan.*diagnose") as error:
        kp.refine(model, *problems.data(), verbose=0)
    assert "z_loss" not in str(error.value)
    assert problems.arrays_equal(before, problems.trainable_values(model))
    kp.set_term_weights(model, {"x": 0.0})
    kp.refine(model, *problems.data(), iterations=2, verbose=0)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_labels_that_are_not_finite(run_eagerly):
    model, (z, y) = compiled(), problems.data()
    model.run_eagerly = run_eagerly
    y[3, 0] = np.nan
    with pytest.raises(ValueError, match="'data_loss' is nan"):
        kp.refine(model, z, y, verbose=0)


def test_a_gradient_that_is_not_finite():
    model = compiled(lambda z, x: {"x": keras.ops.sqrt(x - x), "z": 2 * x})
    with pytest.raises(ValueError, match="its gradient is not"):
        kp.refine(model, *problems.data(), verbose=0)


def test_a_loss_that_no_weight_reaches():
    model = problems.physics_model(lambda z, x: z[:, :1], {"z": 1.0})
    model.compile("adam", None)
    with pytest.raises(ValueError, match="depends on none of its trainable weights"):
        kp.refine(model, problems.data()[0], verbose=0)


@pytest.mark.parametrize("trains", ["network", "constants"])
def test_a_gradient_that_is_split(trains):
    terms = [
        kp.PhysicsTerm("x", "target", weight=0.5),
        kp.PhysicsTerm("z", "input", components=[0, 1], weight=0.5, trains=trains),
    ]
    model = compiled(problems.BoundedGain(), terms)
    with pytest.raises(ValueError, match=f"term 'z' has `trains='{trains}'`"):
        kp.refine(model, *problems.data(), verbose=0)
    if trains == "network":
        model.layers[-1].constants[0].trainable = False
        kp.refine(model, *problems.data(), iterations=2, verbose=0)


@pytest.mark.parametrize("trains", ["network", "constants"])
def test_a_gradient_that_is_split_in_one_of_several_functions(trains):
    class Gain(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.gain = kp.Constant(1.0, name="gain")

        def call(self, z, x):
            return self.gain() * x - z[:, :2]

    terms = [kp.PhysicsTerm("plain", trains="network"), kp.PhysicsTerm("gained", trains=trains)]
    model = compiled({"plain": lambda z, x: x, "gained": Gain()}, terms)
    with pytest.raises(ValueError, match=f"term 'gained' has `trains='{trains}'`"):
        kp.refine(model, *problems.data(), verbose=0)
