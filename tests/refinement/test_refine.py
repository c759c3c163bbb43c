"""`refine` on models whose minimum is known, and what it leaves as it is."""

import sys

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.refinement.course import Course
from tests import problems
from tests.variants import slow_but

REWRITTEN_GRAPHS = "slow"

pytestmark = pytest.mark.tensorflow


def least_squares(parts):
    """The weights of `Dense(1)` with the smallest sum of squares.

    `parts`: pairs `(inputs, labels, factor per row)`.
    """
    rows = [np.hstack([z, np.ones((len(z), 1))]) * np.sqrt(f)[:, None] for z, _, f in parts]
    labels = [y * np.sqrt(f)[:, None] for _, y, f in parts]
    return np.linalg.lstsq(np.vstack(rows), np.vstack(labels), rcond=None)[0]


def weights_of(model):
    kernel, bias = model.trainable_variables
    return np.vstack([kernel.numpy(), bias.numpy()])


def line(physics=lambda z, x: 2 * x - z[:, :1], term=None, **compile_args):
    """A linear model with a residual: the prediction is half of the first input."""
    z = keras.Input((3,))
    dense = keras.layers.Dense(1, kernel_regularizer=compile_args.pop("regularizer", None))
    term = term or kp.PhysicsTerm("half", weight=0.5)
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(physics, [term])(z, dense(z)))
    model.compile("adam", **{"loss": "mse"} | compile_args)
    return model


def data(rows=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 3)), rng.normal(size=(rows, 1))


def both_parts(z, y, trust=None, more=None):
    """The rows of data loss and term of `line`, and their factors."""
    rows = z if more is None else np.vstack([z, more])
    trust = np.ones(len(z)) if trust is None else trust
    # 0.5 * (2 x - z)^2 is 2 (x - z / 2)^2.
    return [(z, y, trust / len(z)), (rows, rows[:, :1] / 2, np.full(len(rows), 2 / len(rows)))]


# The minimum


@pytest.mark.parametrize("method", slow_but({"ssbfgs"}, ["ssbfgs", "lbfgs", None]))
@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_reaches_the_least_squares_of_a_float64_model(method, jit_compile):
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    model, (z, y) = line(jit_compile=jit_compile), data()
    done = kp.refine(model, z, y, iterations=50, method=method, verbose=0)
    np.testing.assert_allclose(weights_of(model), least_squares(both_parts(z, y)), atol=1e-10)
    assert done.precision == "float64"
    assert len(done.epoch) <= 25
    assert done.evaluations < 60


def test_a_float32_model_is_evaluated_in_float64():
    model, (z, y) = line(), data()
    start = weights_of(model).astype("float64")
    z, y = z.astype("float32").astype("float64"), y.astype("float32").astype("float64")
    x = z @ start[:3] + start[3]
    parts = {"data_loss": np.mean((x - y) ** 2), "half_loss": np.mean((2 * x - z[:, :1]) ** 2)}
    done = kp.refine(model, z, y, iterations=50, verbose=0)
    assert done.precision == "float64"
    for name, value in parts.items():
        assert done.history[name][0] == pytest.approx(value, rel=1e-12)
    expected = parts["data_loss"] + 0.5 * parts["half_loss"]
    assert done.history["loss"][0] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(weights_of(model), least_squares(both_parts(z, y)), atol=1e-6)


def test_the_losses_are_those_of_evaluate():
    model, (z, y) = problems.physics_model(), problems.data()
    model.compile("adam", "mse")
    trust = np.random.default_rng(1).uniform(0, 2, len(z))
    before = model.evaluate(z, y, sample_weight=trust, batch_size=20, return_dict=True, verbose=0)
    done = kp.refine(model, z, y, trust, iterations=20, verbose=0)
    after = model.evaluate(z, y, sample_weight=trust, batch_size=20, return_dict=True, verbose=0)
    assert set(done.history) == {"loss", "data_loss", "x_loss", "z_loss"}
    for name, losses in done.history.items():
        assert losses[0] == pytest.approx(before[name], rel=1e-5)
        assert losses[-1] == pytest.approx(after[name], rel=1e-4)
    assert done.loss == pytest.approx(after["loss"], rel=1e-5)
    assert done.loss < before["loss"]
    assert len(done.epoch) == len(done.history["loss"]) == 21


def test_sample_weights():
    model, (z, y) = line(), data()
    trust = np.random.default_rng(2).uniform(0, 3, len(z))
    kp.refine(model, z, y, trust, iterations=50, verbose=0)
    expected = least_squares(both_parts(z, y, trust))
    np.testing.assert_allclose(weights_of(model), expected, atol=1e-6)


@pytest.mark.slow
def test_losses_of_regularizers():
    model, (z, y) = line(regularizer=keras.regularizers.L2(0.3)), data()
    kp.refine(model, z, y, iterations=50, verbose=0)
    ridge = (np.eye(4)[:3], np.zeros((3, 1)), np.full(3, 0.3))
    rows = [np.hstack([p[0], np.ones((len(p[0]), 1))]) for p in both_parts(z, y)] + [ridge[0]]
    parts = [*both_parts(z, y), ridge]
    wide = np.vstack([r * np.sqrt(p[2])[:, None] for r, p in zip(rows, parts, strict=True)])
    labels = np.vstack([p[1] * np.sqrt(p[2])[:, None] for p in parts])
    expected = np.linalg.lstsq(wide, labels, rcond=None)[0]
    np.testing.assert_allclose(weights_of(model), expected, atol=1e-6)


def test_unlabelled_rows():
    model, (z, y), more = line(), data(), data(11, seed=1)[0]
    kp.refine(model, z, y, unlabelled=more, iterations=50, verbose=0)
    expected = least_squares(both_parts(z, y, more=more))
    np.testing.assert_allclose(weights_of(model), expected, atol=1e-6)


@pytest.mark.slow
def test_the_share_of_unlabelled_rows():
    model, (z, y), more = line(), data(), data(11, seed=1)[0]
    kp.refine(model, z, y, unlabelled=more, unlabelled_share=0.25, iterations=50, verbose=0)
    parts = [*both_parts(z, y), (more, more[:, :1] / 2, np.full(11, 2 * 0.25 / 11))]
    parts[1] = (z, z[:, :1] / 2, np.full(len(z), 2 * 0.75 / len(z)))
    np.testing.assert_allclose(weights_of(model), least_squares(parts), atol=1e-6)


def test_point_sets_with_labelled_rows():
    """The term is the mean over its points alone."""
    model, (z, y), more = line(), data(), data(11, seed=1)[0]
    done = kp.refine(model, z, y, points={"half": more}, iterations=50, verbose=0)
    parts = [(z, y, np.full(len(z), 1 / len(z))), (more, more[:, :1] / 2, np.full(11, 2 / 11))]
    np.testing.assert_allclose(weights_of(model), least_squares(parts), atol=1e-6)
    assert done.precision == "float64"


@pytest.mark.parametrize("loss", slow_but({"mse"}, ["mse", None]))
def test_point_sets_alone(loss):
    z, other = data()[0], data(7, seed=2)[0]
    inputs = keras.Input((3,))
    layer = kp.PhysicsRegularization(
        {"half": lambda z, x: 2 * x - z[:, :1], "wall": lambda z, x: x - z[:, 1:2]},
        {"half": 0.5, "wall": 3.0},
    )
    model = kp.PhysicsModel(inputs, layer(inputs, keras.layers.Dense(1)(inputs)))
    model.compile("adam", loss)
    done = kp.refine(model, points={"wall": other, "half": z}, iterations=50, verbose=0)
    walls = (other, other[:, 1:2], np.full(7, 3 / 7))
    parts = [(z, z[:, :1] / 2, np.full(20, 2 / 20)), walls]
    np.testing.assert_allclose(weights_of(model), least_squares(parts), atol=1e-6)
    assert set(done.history) == {"loss", "half_loss", "wall_loss"}
    with pytest.raises(ValueError, match="every term needs points"):
        kp.refine(model, points={"wall": other}, verbose=0)
    with pytest.raises(ValueError, match="`y` is for labelled rows"):
        kp.refine(model, y=z, points={"wall": other, "half": z}, verbose=0)


@keras.saving.register_keras_serializable(package="refine")
class Slope(keras.layers.Layer):
    def __init__(self, rate=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = kp.Constant(1.0, low=0.1, high=10.0, rate=rate, name="factor")

    def call(self, z, x):
        return self.factor() * x - z[:, :1]


def test_constants_train():
    model, (z, _) = line(Slope()), data()
    y = z[:, :1] / 4
    done = kp.refine(model, z, y, iterations=100, verbose=0)
    assert float(kp.get_constants(model)["factor"]) == pytest.approx(4.0, rel=1e-5)
    assert done.loss < 1e-11


@pytest.mark.parametrize("method", slow_but({"ssbfgs"}, ["ssbfgs", "lbfgs"]))
def test_the_rate_of_a_constant_has_no_effect(method):
    """The gradient of training is `rate` times too small for it: no line search may use that."""
    z, found = data()[0], {}
    for rate in (1.0, 50.0):
        keras.utils.set_random_seed(0)
        model = line(Slope(rate))
        done = kp.refine(model, z, z[:, :1] / 4, iterations=6, method=method, verbose=0)
        found[rate] = [*done.history["loss"], done.evaluations, kp.get_constants(model)["factor"]]
    assert found[1.0][0] > 10 * found[1.0][6]
    np.testing.assert_allclose(found[50.0], found[1.0], rtol=1e-4)


def test_physics_alone():
    z, model = data()[0], line(loss=None)
    done = kp.refine(model, z, iterations=50, verbose=0)
    assert set(done.history) == {"loss", "half_loss"}
    np.testing.assert_allclose(weights_of(model), [[0.5], [0], [0], [0]], atol=1e-6)


class Own(kp.PhysicsModel):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1)
        self.physics = kp.PhysicsRegularization(lambda z, x: 2 * x - z[:, :1], {"half": 0.5})

    def call(self, z):
        return self.physics(z, self.dense(z))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 3 * super().compute_loss(x, y, y_pred, sample_weight, training)


@pytest.mark.slow
def test_a_subclassed_model_that_is_not_built_with_its_own_compute_loss():
    model, (z, y) = Own(), data()
    model.compile("adam", "mse")
    done = kp.refine(model, z, y, iterations=50, verbose=0)
    np.testing.assert_allclose(weights_of(model), least_squares(both_parts(z, y)), atol=1e-6)
    parts = {name: values[-1] for name, values in done.history.items()}
    expected = 3 * (parts["data_loss"] + 0.5 * parts["half_loss"])
    assert parts["loss"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_outputs_in_a_dict():
    z = keras.Input((3,))
    outputs = {name: keras.layers.Dense(1, name=name)(z) for name in ("a", "b")}
    layer = kp.PhysicsRegularization(lambda z, x: x["a"] + x["b"], {"sum": 0.5})
    model = kp.PhysicsModel(z, layer(z, outputs))
    model.compile("adam", {"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.0})
    (z, y), zero = data(), np.zeros((20, 1))
    done = kp.refine(model, z, {"a": y, "b": zero}, np.ones(20), iterations=50, verbose=0)
    kernel, bias = (v.numpy() for v in model.layers[1].trainable_variables)
    ones = np.ones(len(z))
    expected = least_squares([(z, y, ones)])  # b = -a costs nothing.
    np.testing.assert_allclose(np.vstack([kernel, bias]), expected, atol=1e-5)
    assert done.history["sum_loss"][-1] < 1e-9


# Types


def test_a_float32_constant_in_the_physics_is_no_obstacle():
    import tensorflow as tf

    third = tf.constant(1 / 3, "float32")
    model, (z, y) = line(lambda z, x: third * x - z[:, :1]), data()
    start = weights_of(model).astype("float64")
    done = kp.refine(model, z, y, iterations=1, verbose=0)
    assert done.precision == "float64"
    z = z.astype("float32").astype("float64")
    x = z @ start[:3] + start[3]
    expected = np.mean((float(np.float32(1 / 3)) * x - z[:, :1]) ** 2)
    assert done.history["half_loss"][0] == pytest.approx(expected, rel=1e-12)


def test_a_loss_that_is_rounding_alone_is_evaluated_in_float64():
    """At the exact solution, the loss is 1e-15 in float32, and another one in float64."""
    model, z = line(), data()[0]
    kp.refine(model, z, z[:, :1] / 2, iterations=50, verbose=0)
    again = kp.refine(model, z, z[:, :1] / 2, iterations=50, verbose=0)
    assert again.precision == "float64"
    assert again.loss < 1e-12


def test_a_program_that_cannot_run_in_float64_runs_in_float32():
    import tensorflow as tf

    outside = tf.Variable(2.0)  # The program reads a variable of float32.
    model, (z, y) = line(lambda z, x: outside * x - z[:, :1]), data()
    done = kp.refine(model, z, y, iterations=50, verbose=0)
    assert done.precision.startswith("float32 (")
    np.testing.assert_allclose(weights_of(model), least_squares(both_parts(z, y)), atol=1e-4)


@pytest.mark.slow
def test_a_model_that_runs_eagerly():
    def physics(z, x):
        x.numpy()  # An error in a traced program.
        return 2 * x - z[:, :1]

    model, (z, y) = line(physics, run_eagerly=True), data()
    done = kp.refine(model, z, y, iterations=50, verbose=0)
    assert done.precision == "float32 (the model was compiled with `run_eagerly=True`)"
    np.testing.assert_allclose(weights_of(model), least_squares(both_parts(z, y)), atol=1e-4)


@pytest.mark.slow
def test_sixteen_bits_are_widened_too():
    keras.config.set_dtype_policy("mixed_float16")
    model, (z, y) = line(), data()
    done = kp.refine(model, z, y, iterations=50, verbose=0)
    assert done.precision == "float64"
    np.testing.assert_allclose(weights_of(model), least_squares(both_parts(z, y)), atol=1e-5)


@pytest.mark.slow
def test_loops_and_branches_in_the_program():
    keras.utils.set_random_seed(0)
    z = keras.Input((6, 1))
    x = keras.layers.Dense(1)(keras.layers.GRU(4)(z))

    def physics(z, x):
        branch = keras.ops.cond(keras.ops.sum(z) > 1e9, lambda: x * 0.0, lambda: x)
        return branch - keras.ops.mean(z, axis=1)

    model = kp.PhysicsModel(z, kp.PhysicsRegularization(physics, {"mean": 1.0})(z, x))
    model.compile("adam", "mse")
    z = np.random.default_rng(0).normal(size=(20, 6, 1))
    before = model.evaluate(z, z.mean(axis=1), batch_size=20, return_dict=True, verbose=0)
    done = kp.refine(model, z, z.mean(axis=1), iterations=20, verbose=0)
    assert done.precision == "float64"
    assert done.history["loss"][0] == pytest.approx(before["loss"], rel=1e-5)
    assert done.loss < 0.1 * before["loss"]


@pytest.mark.slow
def test_derivatives_by_the_input():
    import tensorflow as tf

    def physics(z, x):  # x' = x; in float32 it holds to 1e-7, in float64 far better.
        return {"ode": tf.gradients(x, z)[0] - x, "start": (x - 1.0)[:1]}

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    z = keras.Input((1,))
    x = keras.layers.Dense(1)(keras.layers.Dense(8, activation="tanh")(z))
    layer = kp.PhysicsRegularization(physics, {"ode": 1.0, "start": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("adam", None)
    time = np.linspace(0, 1, 32)[:, None]
    done = kp.refine(model, time, iterations=1000, verbose=0)
    np.testing.assert_allclose(model.predict(time, verbose=0), np.exp(time), atol=1e-4)
    assert done.loss < 1e-8


@pytest.mark.parametrize("jit_compile", slow_but({False}, [False, True]))
def test_a_layer_of_derivatives_with_points(jit_compile):
    """u'' = -u with u(0) = 0 and u'(0) = 1, from points alone, in a float32 model."""
    physics = {"law": lambda t, u: u["u_tt"] + u["u"], "start": lambda t, u: u["u"]}
    physics |= {"slope": lambda t, u: u["u_t"] - 1.0}
    network = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(12, "tanh"), keras.layers.Dense(1)]
    )
    t = keras.Input((1,))
    u = kp.Derivatives(network, ["t", "tt"], inputs=["t"], output="u")(t)
    u = kp.PhysicsRegularization(physics, dict.fromkeys(physics, 1.0))(t, u)
    model = kp.PhysicsModel(t, u["u"])
    model.compile("adam", None, jit_compile=jit_compile)
    time, zero = np.linspace(0, 3, 40)[:, None], np.zeros((1, 1))
    points = {"law": time, "start": zero, "slope": zero}
    done = kp.refine(model, points=points, iterations=300, verbose=0)
    assert done.precision == "float64"
    np.testing.assert_allclose(model.predict(time, verbose=0), np.sin(time), atol=1e-3)


# What it leaves as it is


def test_the_model_never_ends_worse_than_it_began():
    """At the minimum of the float32 model, rounding would undo what float64 wins."""
    model, (z, y) = line(), data()
    for _ in range(3):
        before = kp.refine(model, z, y, iterations=50, verbose=0).loss
    weights = weights_of(model)
    again = kp.refine(model, z, y, iterations=50, verbose=0)
    assert again.loss <= again.history["loss"][0] == before
    assert min(again.history["loss"]) <= again.loss
    if again.loss == before:
        np.testing.assert_array_equal(weights_of(model), weights)


@pytest.mark.slow
def test_only_weights_change():
    model, (z, y) = problems.physics_model(), problems.data()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(z, y, epochs=2, verbose=0)
    logs = model.get_metrics_result()
    kept = [*model.optimizer.variables, *model.non_trainable_variables, *model.metrics_variables]
    before = [v.numpy() for v in kept]
    weights = problems.trainable_values(model)
    kp.refine(model, z, y, iterations=5, verbose=0)
    assert problems.arrays_equal(before, [v.numpy() for v in kept])
    assert model.get_metrics_result() == logs
    assert not problems.arrays_equal(weights, problems.trainable_values(model))
    model.fit(z, y, verbose=0)


@pytest.mark.slow
def test_a_refined_model_can_be_saved(tmp_path):
    model, (z, y) = problems.physics_model(), problems.data()
    model.compile("adam", "mse")
    model.fit(z, y, verbose=0)
    done = kp.refine(model, z, y, iterations=20, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    logs = loaded.evaluate(z, y, batch_size=20, return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(done.loss, rel=1e-5)
    again = kp.refine(loaded, z, y, iterations=20, verbose=0)
    assert again.history["loss"][0] == pytest.approx(done.loss, rel=1e-9)


@pytest.mark.parametrize("method", slow_but({"ssbfgs"}, ["ssbfgs", "lbfgs"]))
def test_ctrl_c_keeps_the_best(monkeypatch, method):
    model, (z, y) = problems.physics_model(), problems.data()
    model.compile("adam", "mse")
    accept = Course.accept

    def interrupted(self, weights):
        accept(self, weights)
        if len(self.history["loss"]) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Course, "accept", interrupted)
    done = kp.refine(model, z, y, method=method, verbose=0)
    assert done.stopped == "interrupted by Ctrl-C"
    assert len(done.history["loss"]) == 6
    assert done.loss == pytest.approx(done.history["loss"][-1], rel=1e-5)
    logs = model.evaluate(z, y, batch_size=20, return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(done.loss, rel=1e-5)


def test_a_physics_that_is_not_finite_everywhere():
    """The logarithm keeps the prediction positive; steps that leave its domain are shortened."""

    def physics(z, x):
        return keras.ops.log(x) - z[:, :1]

    model, z = line(physics), data()[0] * 0.1
    model.trainable_variables[1].assign([3.0])
    done = kp.refine(model, z, np.exp(z[:, :1]), iterations=100, verbose=0)
    assert done.loss < 1e-4 < done.history["loss"][0]


def test_the_progress_bar_shows_the_losses(capsys):
    model, (z, y) = problems.physics_model(), problems.data()
    model.compile("adam", "mse")
    done = kp.refine(model, z, y, iterations=5)
    out = capsys.readouterr().out
    assert "5/5" in out
    assert f"{done.history['loss'][-1]:.4f}"[:6] in out
    assert "x_loss" in out
    assert str(done).startswith("loss ")
    kp.refine(model, z, y, iterations=5, verbose=0)
    assert capsys.readouterr().out == ""


def test_scipy_is_asked_for_on_use(monkeypatch):
    model, (z, y) = line(), data()
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"keras_physreg\[refine\]"):
        kp.refine(model, z, y, verbose=0)
