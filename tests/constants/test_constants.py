"""Constants: bounds, scale, recovery, logs and files."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from tests.layer_checks import check_config
from tests.problems import arrays_equal, trainable_values
from tests.quick_replicas import quick_replicas
from tests.variants import slow_but, slow_but_rows

REWRITTEN_GRAPHS = "slow"


@keras.saving.register_keras_serializable(package="test_constants")
class Line(keras.layers.Layer):
    """z = gain * x + offset, where x comes from the input itself."""

    def __init__(self, gain=None, offset=None, **kwargs):
        super().__init__(**kwargs)
        self.gain = kp.Constant(1.0, low=0.2, high=5.0, name="gain") if gain is None else gain
        self.offset = (
            kp.Constant(0.0, scale=0.5, unit="V", name="offset") if offset is None else offset
        )

    def call(self, z, x):
        return self.gain() * z[:, :1] + self.offset() - z[:, 1:]

    def get_config(self):
        parts = {"gain": self.gain, "offset": self.offset}
        parts = {name: keras.saving.serialize_keras_object(c) for name, c in parts.items()}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        parts = {
            n: keras.saving.deserialize_keras_object(config.pop(n)) for n in ("gain", "offset")
        }
        return cls(**parts, **config)


@keras.saving.register_keras_serializable(package="test_constants")
class Ratio(keras.layers.Layer):
    """Creates its constants itself, so that its config is empty."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.ratios = kp.Constant([0.5, 2.0], low=0.1, high=[1.0, 4.0], name="ratio")
        self.rate = kp.Constant(1e-9, log=True, unit="1/s", name="rate")

    def call(self, z, x):
        return {"r": x - self.ratios() * z, "s": x * self.rate() * 1e9 - z}


@keras.saving.register_keras_serializable(package="test_constants")
class LateRatio(keras.layers.Layer):
    """Makes its constant in `build`."""

    def build(self, *shapes):
        self.ratio = kp.Constant(0.5, name="late")

    def call(self, z, x):
        return {"r": x - self.ratio() * z, "s": x - z}


def model_of(physics, terms=None, cls=kp.PhysicsModel, optimizer="adam", loss="mse", **options):
    keras.utils.set_random_seed(0)
    z = keras.Input((2,))
    x = keras.layers.Dense(2)(z)
    layer = kp.PhysicsRegularization(physics, {"r": 1.0, "s": 0.5} if terms is None else terms)
    model = cls(z, layer(z, x))
    model.compile(optimizer, "mse", **options)
    return model


def rows(count=32, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(2, count, 2)).astype("float32"))


KINDS = {
    "free": {"initial": 0.7},
    "zero": {"initial": 0.0},
    "tiny": {"initial": -3e-9},
    "positive": {"initial": 2e-3, "low": 0},
    "below a bound": {"initial": -4, "high": 1.5},
    "far bound": {"initial": 1.0, "low": -1e6},
    "between": {"initial": 1.9, "low": 0.5, "high": 2},
    "far bounds": {"initial": 1.1, "low": -1e6, "high": 1e6},
    "log": {"initial": 1e-9, "log": True},
    "log, low": {"initial": 3e5, "low": 1e4, "log": True},
    "log, high": {"initial": 3e5, "high": 1e6, "log": True},
    "log, both": {"initial": 1e-9, "low": 1e-12, "high": 1e-6, "log": True},
    "vector": {"initial": [1.0, 2.5, 0.3], "low": 0.1, "high": [2.0, 3.0, 1.0]},
    "scale": {"initial": 0.0, "low": -100.0, "high": 300.0, "scale": 0.1},
    "NumPy integers": {"initial": np.int64(3), "low": np.int32(1), "high": np.uint8(9)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_starts_at_the_initial_value_with_the_slope_scale(kind):
    constant = kp.Constant(**KINDS[kind], name="c")
    initial = np.asarray(KINDS[kind]["initial"], "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(constant()), initial)
    step = 1e-2
    moved = []
    for sign in (1, -1):
        constant.raw.assign(np.full(initial.shape, sign * step, "float32"))
        moved.append(np.asarray(constant.value, "float64"))
    slope = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(slope, constant.scale, rtol=2e-3)


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_at_the_initial_value_is_the_scale(kind):
    constant = kp.Constant(**KINDS[kind], name="c")
    with tf.GradientTape() as tape:
        value = ops.sum(constant())
    gradient = tape.gradient(value, constant.raw.value)
    np.testing.assert_allclose(gradient, constant.scale, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_rises_with_its_variable_and_keeps_its_bounds(kind):
    constant = kp.Constant(**KINDS[kind], name="c")
    initial = np.asarray(constant.initial)
    values = []
    # Without a bound the exponential of a logarithm leaves float32 at 88.
    ends = 1e9 if constant.low is not None else 30, 1e9 if constant.high is not None else 30
    for raw in (-ends[0], -8, -2, -0.5, -1e-3, 0, 1e-3, 0.5, 2, 8, ends[1]):
        constant.raw.assign(np.full(initial.shape, raw, "float32"))
        values.append(np.array(ops.convert_to_numpy(constant())))
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=0) >= 0).all()
    assert (np.diff(values[2:-2], axis=0) > 0).all()
    if constant.low is not None:
        assert (np.asarray(values) >= np.float32(constant.low)).all()
        np.testing.assert_allclose(values[0], constant.low, 1e-5, 1e-6 * np.max(np.abs(initial)))
    if constant.high is not None:
        assert (np.asarray(values) <= np.float32(constant.high)).all()
        np.testing.assert_allclose(values[-1], constant.high, 1e-5)


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"initial": -3.0}, 3.0),
        ({"initial": 0.0}, 1.0),
        ({"initial": 3.0, "low": 0.0}, 3.0),
        ({"initial": 3.0, "low": 2.0}, 1.0),
        ({"initial": 3.0, "high": 4.0}, 1.0),
        ({"initial": 0.0, "high": 4.0}, 4.0),
        ({"initial": 3.0, "low": 2.0, "high": 5.0}, 2 / 3),
        ({"initial": 3.0, "low": 0.0, "high": 1e9}, 3.0),
        ({"initial": 1e-9, "log": True}, 1e-9),
        ({"initial": 3.0, "scale": 0.1}, 0.1),
        ({"initial": [0.0, 5.0], "scale": 0.1}, [0.1, 0.1]),
        ({"initial": [0.0, 5.0]}, [1.0, 5.0]),
    ],
)
def test_natural_scale(options, scale):
    assert kp.Constant(**options).scale == pytest.approx(scale, rel=1e-6)


def course(options, target, size, steps=80, rate=0.05):
    """The values of a constant over its size, while Adam fits it to `target`."""
    constant = kp.Constant(**options, name="c")
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build([constant.raw])

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = ops.square((constant() - target) / size)
        optimizer.apply([tape.gradient(loss, constant.raw.value)], [constant.raw])

    values = []
    for _ in range(steps):
        values.append(constant.value / size)
        step()
    return values


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "options",
    slow_but(
        [{"low": 0.5, "high": 4.0}],
        [{}, {"low": 0.5, "high": 4.0}, {"log": True, "high": 9.0}],
    ),
)
def test_a_constant_of_1e_9_learns_as_one_of_1(options):
    paths = []
    for size in (1.0, 1e-9, 1e9):
        scaled = {k: v if k == "log" else v * size for k, v in {"initial": 1.0, **options}.items()}
        path = course(scaled, 1.6 * size, size)
        assert path[0] == pytest.approx(1.0, rel=1e-6)
        assert path[-1] == pytest.approx(1.6, abs=0.05)
        paths.append(path)
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-4)
    np.testing.assert_allclose(paths[2], paths[0], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "target"), [(keras.optimizers.Adam, 50.0), (keras.optimizers.SGD, -5.0)]
)
def test_bounds_hold_at_large_learning_rates(optimizer, target):
    constant = kp.Constant(1.0, low=0.2, high=5.0, name="gain")
    physics = Line(gain=constant)
    model = model_of(physics, {"line": 1.0}, optimizer=optimizer(100.0))
    z = rows()[0]
    z[:, 1] = target * z[:, 0]
    values = model.fit(z, rows()[1], epochs=5, verbose=0, batch_size=8).history["gain"]
    values.append(constant.value)
    assert all(0.2 <= value <= 5.0 for value in np.float64(np.float32(values)).round(7))
    assert constant.value != 1.0


BAD = {
    # arguments, error, parts of the message
    "low above high": ({"low": 2, "high": 0.5}, ValueError, ["`low`", "less than `high`", "2.0"]),
    "low equal to high": ({"low": 1, "high": 1}, ValueError, ["less than `high`"]),
    "one element out of order": (
        {"initial": [1.0, 1.0], "low": [0, 3], "high": 2},
        ValueError,
        ["less than `high`"],
    ),
    "initial below low": ({"low": 1.5}, ValueError, ["'c'", "between its bounds", "initial=1.0"]),
    "initial above high": ({"high": 0.5}, ValueError, ["between its bounds"]),
    "initial on a bound": ({"low": 1.0}, ValueError, ["differ from them"]),
    "initial on a bound in float32": ({"high": 1 + 1e-9}, ValueError, ["float32"]),
    "log of 0": ({"initial": 0.0, "log": True}, ValueError, ["log=True", "`initial`", "above 0"]),
    "log of negative": ({"initial": -1.0, "log": True}, ValueError, ["`initial`"]),
    "log with a low of 0": ({"low": 0.0, "log": True}, ValueError, ["`low`", "Leave out"]),
    "NaN": ({"initial": np.nan}, ValueError, ["finite", "nan"]),
    "infinite bound": ({"high": np.inf}, ValueError, ["`high`", "finite"]),
    "NaN scale": ({"scale": np.nan}, ValueError, ["`scale`", "finite"]),
    "scale of 0": ({"scale": 0.0}, ValueError, ["`scale`", "above 0"]),
    "scale too large": ({"scale": 1e39}, ValueError, ["`scale`", "float32", "1e+39"]),
    "scale too small": ({"scale": 1e-40}, ValueError, ["`scale`", "float32", "1e-40"]),
    "beyond float32": ({"initial": 1e-40}, ValueError, ["float32"]),
    "a string": ({"initial": "1"}, TypeError, ["a number or a vector", "str"]),
    "None": ({"initial": None}, TypeError, ["`initial`"]),
    "a bool": ({"initial": True}, TypeError, ["bool"]),
    "complex": ({"initial": 1j}, TypeError, ["complex"]),
    "a matrix": ({"initial": [[1.0, 2.0]]}, ValueError, ["a vector", "(1, 2)"]),
    "ragged": ({"initial": [1.0, [2.0]]}, TypeError, ["a vector"]),
    "empty": ({"initial": []}, ValueError, ["(0,)"]),
    "a bound of another shape": ({"low": [0.0, 0.1]}, ValueError, ["shape ()"]),
    "log no bool": ({"log": "yes"}, TypeError, ["`log`", "'yes'"]),
    "unit no string": ({"unit": 3}, TypeError, ["`unit`"]),
    "name with a space": ({"name": "a b"}, ValueError, ["a b"]),
    "name of the loss": ({"name": "loss"}, ValueError, ["'loss'"]),
    "name of the data loss": ({"name": "data_loss"}, ValueError, ["'data_loss'"]),
    "name of a counter": ({"name": "epoch"}, ValueError, ["'epoch'"]),
    "name like a validation log": ({"name": "val_gain"}, ValueError, ["val_gain"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(kind):
    options, error, parts = BAD[kind]
    with pytest.raises(error) as raised:
        kp.Constant(**{"initial": 1.0, "name": "c", **options})
    assert all(part in str(raised.value) for part in parts), raised.value


def test_calling_it_with_something_is_an_error():
    with pytest.raises(TypeError):
        kp.Constant(1.0)(3.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (kp.PhysicsModel, {}),
        (kp.PhysicsModel, {"jit_compile": True}),
        pytest.param(keras.Model, {}, marks=pytest.mark.tensorflow),
        pytest.param(keras.Model, {"run_eagerly": True}, marks=pytest.mark.tensorflow),
    ],
)
def test_logged_by_name_as_the_last_step_saw_it(cls, options):
    model = model_of(Ratio(), cls=cls, optimizer=keras.optimizers.Adam(0.05), **options)
    z, x = rows()
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(kp.get_constants(self.model))

    history = model.fit(
        z, x, batch_size=8, epochs=2, validation_data=(z, x), verbose=0, callbacks=[Look()]
    ).history
    at_last_steps = seen[3::4]
    for k in range(2):
        expected = [values["ratio"][k] for values in at_last_steps]
        np.testing.assert_allclose(history[f"ratio_{k}"], expected, rtol=1e-5)
    np.testing.assert_allclose(history["rate"], [v["rate"] for v in at_last_steps], rtol=1e-5)
    # Validation runs after the last step.
    assert history["val_rate"][-1] == pytest.approx(kp.get_constants(model)["rate"], rel=1e-5)
    assert len(set(history["rate"])) == 2


@pytest.mark.slow
def test_a_constant_made_in_build_is_logged_and_read():
    model = model_of(LateRatio())
    assert kp.get_constants(model) == {"late": 0.5}
    assert "late" in model.fit(*rows(), verbose=0).history


@pytest.mark.slow
def test_long_vectors_are_read_but_not_logged():
    class Many(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.factors = kp.Constant(np.ones(9), name="factors")

        def call(self, z, x):
            return {"r": x * ops.mean(self.factors()), "s": x}

    model = model_of(Many())
    history = model.fit(*rows(), verbose=0).history
    assert not [key for key in history if key.startswith("factors")]
    assert kp.get_constants(model)["factors"].shape == (9,)


@keras.saving.register_keras_serializable(package="test_constants")
class Named(keras.layers.Layer):
    """Physics with constants of these names and initial values."""

    def __init__(self, **initials):
        super().__init__()
        self.parts = [kp.Constant(value, name=name) for name, value in initials.items()]

    def call(self, z, x):
        return x * sum(ops.sum(part()) for part in self.parts)


NAMES = {
    "of a term's loss": {"t_loss": 1.0},
    "of a term's weight": {"t_weight": 1.0},
    "of a gradient norm": {"t_grad_norm": 1.0},
    "of an element": {"a_0": 1.0, "a": [1.0, 2.0]},
}


@pytest.mark.parametrize("kind", NAMES)
def test_colliding_names_in_one_physics_are_an_error(kind):
    name = next(iter(NAMES[kind]))
    with pytest.raises(ValueError, match=f"logged as '{name}'.*another"):
        kp.PhysicsRegularization(Named(**NAMES[kind]), {"t": 1.0})


def test_two_constants_of_one_name_in_one_physics_are_an_error():
    physics = Named(a=1.0)
    physics.more = kp.Constant(2.0, name="a")
    with pytest.raises(ValueError, match="logged as 'a', like another"):
        kp.PhysicsRegularization(physics, {"t": 1.0})


def test_colliding_names_of_two_physics_layers_are_an_error():
    z = keras.Input((2,))
    x = keras.layers.Dense(2)(z)
    x = kp.PhysicsRegularization(Named(a=1.0), {"t": 1.0})(z, x)
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(Named(a=1.0), {"u": 1.0})(z, x))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"two values under one name.*'a'"):
        model.fit(*rows(), verbose=0)
    with pytest.raises(ValueError, match=r"constants must be unique.*\['a'\]"):
        kp.get_constants(model)


@pytest.mark.tensorflow
def test_colliding_names_in_a_plain_model_are_found_by_functions_of_the_package():
    z = keras.Input((2,))
    x = keras.layers.Dense(2)(z)
    x = kp.PhysicsRegularization(Named(a=1.0), {"t": 1.0})(z, x)
    model = keras.Model(z, kp.PhysicsRegularization(Named(a=1.0), {"u": 1.0})(z, x))
    model.compile("sgd", "mse")
    for function in (
        kp.get_term_weights,
        kp.get_constants,
        lambda model: kp.diagnose(model, *rows()),
        lambda model: kp.ReplicaTrainer(model, {"t": [0.0, 1.0]}),
    ):
        with pytest.raises(ValueError, match=r"constants must be unique.*\['a'\]"):
            function(model)


GLOBAL = kp.Constant(1.0, name="global")


def test_a_physics_function_that_uses_a_constant_is_an_error():
    local, fixed = kp.Constant(1.0, name="local"), kp.Constant(1.0, trainable=False)
    for name, function in {
        "local": lambda z, x: local() * x - z,
        "global": lambda z, x: GLOBAL() * x - z,
    }.items():
        with pytest.raises(ValueError, match=f"uses the constant '{name}'.*keras.layers.Layer"):
            kp.PhysicsRegularization(function, {"t": 1.0})
    kp.PhysicsRegularization(lambda z, x: fixed() * x - z, {"t": 1.0})
    kp.PhysicsRegularization(ops.subtract, {"t": 1.0})


def test_the_name_of_a_compiled_metric_is_an_error():
    model = model_of(Named(mae=1.0), {"t": 1.0}, metrics=["mae"])
    with pytest.raises(ValueError, match="'mae'"):
        model.fit(*rows(), verbose=0)


@pytest.mark.slow
def test_two_physics_layers_may_share_a_constant():
    shared = kp.Constant(1.0, name="shared")

    class Part(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.shared = shared

        def call(self, z, x):
            return self.shared() * x - z

    z = keras.Input((2,))
    x = keras.layers.Dense(2)(z)
    x = kp.PhysicsRegularization(Part(), {"a": 1.0})(z, x)
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(Part(), {"b": 1.0})(z, x))
    model.compile("adam", "mse")
    assert "shared" in model.fit(*rows(), verbose=0).history
    assert list(kp.get_constants(model)) == ["shared"]
    assert len(model.trainable_variables) == 3


def test_get_constants():
    model = model_of(Line(), {"line": 1.0})
    assert kp.get_constants(model) == {"gain": 1.0, "offset": 0.0}
    assert kp.get_constants(model, units=True) == {"gain": (1.0, None), "offset": (0.0, "V")}
    outer = keras.Sequential([keras.Input((2,)), model])
    assert kp.get_constants(outer) == {"gain": 1.0, "offset": 0.0}
    assert kp.get_constants(kp.strip_physics(model)) == {}
    with pytest.raises(TypeError, match="`model` must be a Keras model"):
        kp.get_constants(Line)


def test_stripped_models_have_no_constants():
    model = model_of(Line(), {"line": 1.0})
    served = kp.strip_physics(model)
    assert len(served.trainable_variables) == len(model.trainable_variables) - 2
    z = rows()[0]
    np.testing.assert_array_equal(served.predict(z, verbose=0), model.predict(z, verbose=0))


@pytest.mark.parametrize(
    ("physics", "cls"),
    slow_but_rows(
        (0,),
        [
            (Line, kp.PhysicsModel),
            (Ratio, keras.Model),
            pytest.param(LateRatio, kp.PhysicsModel, marks=pytest.mark.slow),
        ],
    ),
)
def test_save_and_reload(physics, cls, tmp_path):
    terms = {"line": 1.0} if physics is Line else None
    model = model_of(physics(), terms, cls, optimizer=keras.optimizers.Adam(0.1))
    z, x = rows()
    model.fit(z, x, epochs=3, verbose=0)
    trained = kp.get_constants(model, units=True)
    assert all(np.any(c.raw.numpy() != 0) for c in model.layers[-1].constants)
    path = tmp_path / "model.keras"
    model.save(path)
    reloaded = keras.saving.load_model(path)
    assert str(kp.get_constants(reloaded, units=True)) == str(trained)
    model.fit(z, x, epochs=2, verbose=0, shuffle=False)
    reloaded.fit(z, x, epochs=2, verbose=0, shuffle=False)
    assert arrays_equal(trainable_values(model), trainable_values(reloaded))
    weights = tmp_path / "some.weights.h5"
    model.save_weights(weights)
    other = model_of(physics(), terms, cls)
    other.optimizer.build(other.trainable_variables)
    other.load_weights(weights)
    assert arrays_equal(trainable_values(model), trainable_values(other))


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ({"low": 0.2, "high": 5.0}, True),
        ({"low": 0.1, "high": 5.0}, False),
        ({"low": 0.2, "high": 5.0, "log": True}, False),
        ({"low": 0.2, "high": 5.0, "scale": 0.01}, False),
        ({}, False),
    ],
)
def test_weights_are_refused_where_they_would_mean_another_value(now, same, tmp_path):
    trained = model_of(Line(), {"line": 1.0})
    trained.layers[-1].physics.gain.raw.assign(0.7)
    path = tmp_path / "some.weights.h5"
    trained.save_weights(path)
    other = model_of(Line(gain=kp.Constant(1.0, **now, name="gain")), {"line": 1.0})
    if same:
        other.load_weights(path)
        assert kp.get_constants(other) == kp.get_constants(trained)
        return
    with pytest.raises(ValueError, match="constant 'gain' with another initial value"):
        other.load_weights(path)


@pytest.mark.parametrize("kind", KINDS)
def test_config_round_trip(kind):
    constant = kp.Constant(**KINDS[kind], unit="W/m2", name="c", trainable=False)
    again = check_config(constant)
    assert (again.unit, again.name, again.trainable) == ("W/m2", "c", False)
    np.testing.assert_array_equal(again.value, constant.value)
    assert again.scale == constant.scale


@pytest.mark.parametrize(
    "policy",
    [
        "mixed_float16",
        *(pytest.param(p, marks=pytest.mark.slow) for p in ("float16", "mixed_bfloat16")),
        pytest.param("float64", marks=pytest.mark.tensorflow),
    ],
)
def test_computes_in_float32_at_least(policy):
    keras.config.set_dtype_policy(policy)
    model = model_of(Ratio(), optimizer="sgd")
    (variable,) = (c.raw for c in [model.layers[-1].physics.rate])
    wanted = "float64" if policy == "float64" else "float32"
    assert variable.dtype == wanted
    assert keras.backend.standardize_dtype(model.layers[-1].physics.rate().dtype) == wanted
    assert model.layers[-1].physics.rate.value == pytest.approx(1e-9, rel=1e-6)
    history = model.fit(*rows(), verbose=0).history
    assert np.isfinite(history["rate"]).all()


@pytest.mark.slow
def test_weight_decay_pulls_to_the_initial_value():
    physics = Line(
        gain=kp.Constant(2.0, low=0.2, high=5.0, name="gain"),
        offset=kp.Constant(3.0, name="offset"),
    )
    model = model_of(physics, {"line": 0.0}, optimizer=keras.optimizers.AdamW(1e-3, 100.0))
    physics.gain.raw.assign(1.0)
    physics.offset.raw.assign(-1.0)
    before = kp.get_constants(model)
    model.fit(*rows(), epochs=5, verbose=0)
    after = kp.get_constants(model)
    assert 2.0 < after["gain"] < before["gain"]
    assert before["offset"] < after["offset"] < 3.0


def test_a_frozen_constant_stays():
    physics = Line(gain=kp.Constant(2.0, name="gain", trainable=False))
    model = model_of(physics, {"line": 1.0}, optimizer=keras.optimizers.Adam(0.1))
    history = model.fit(*rows(), epochs=3, verbose=0).history
    assert history["gain"] == [2.0] * 3
    assert kp.get_constants(model)["offset"] != 0.0


@pytest.mark.slow
def test_at_weight_0_a_constant_stays_and_the_model_trains_as_without():
    model = model_of(Line(), {"line": 0.0})
    bare = model_of(lambda z, x: x, {"line": 0.0})
    for each in (model, bare):
        keras.utils.set_random_seed(1)
        each.fit(*rows(), epochs=3, verbose=0)
    assert kp.get_constants(model) == {"gain": 1.0, "offset": 0.0}
    network = trainable_values(model)[:2]
    assert arrays_equal(network, trainable_values(bare))


@pytest.mark.slow
def test_a_nan_in_the_physics_shows_in_the_constant_and_passes_not_at_weight_0():
    class Broken(Line):
        def call(self, z, x):
            return super().call(z, x) * ops.log(-self.gain())

    for weight in (0.0, 1.0):
        model = model_of(Broken(), {"line": weight})
        model.fit(*rows(), verbose=0)
        assert np.isnan(kp.get_constants(model)["gain"]) == bool(weight)


@pytest.mark.slow
def test_weight_schedulers_are_unaffected_and_a_csv_file_has_both(tmp_path):
    model = model_of(Line(), {"line": 1.0})
    ramp = kp.WeightScheduler({"line": kp.GeometricRamp(1e-3, 1.0, 3)})
    path = tmp_path / "log.csv"
    callbacks = [keras.callbacks.CSVLogger(path), ramp]
    history = model.fit(*rows(), epochs=3, verbose=0, callbacks=callbacks).history
    assert {"gain", "offset", "line_weight"} <= set(path.read_text().splitlines()[0].split(","))
    assert history["line_weight"] == pytest.approx([1e-3, 1e-2, 1e-1])
    assert kp.get_term_weights(model) == {"line": pytest.approx(0.1)}
    assert len(history["gain"]) == 3


# Recovery


def sensor(noise, rows_count=400, seed=0):
    """Data of a line whose gain and offset are known, and their least-squares estimate."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 3, size=rows_count)
    y = 1.7 * x - 0.4 + noise * rng.normal(size=rows_count)
    design = np.stack([x, np.ones_like(x)], axis=1)
    estimate = np.linalg.lstsq(design, y, rcond=None)[0]
    variance = np.sum((y - design @ estimate) ** 2) / (rows_count - 2)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return np.stack([x, y], axis=1).astype("float32"), estimate, errors


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_constants_of_inputs_alone_are_recovered(noise):
    """Within 4 standard errors of least squares of the truth: a chance of 1e-4 to fail by noise.

    The physics does not take the prediction here; beside a network: see test_calibration.py.
    """
    z, estimate, errors = sensor(noise)
    model = model_of(Line(), {"line": 1.0}, optimizer=keras.optimizers.Adam(0.05))
    for rate, steps in ((0.05, 200), (0.005, 50)):
        model.optimizer.learning_rate = rate
        repeated = np.tile(z, (steps, 1))
        labels = np.zeros_like(repeated)
        model.fit(repeated, labels, batch_size=len(z), shuffle=False, verbose=0)
    found = kp.get_constants(model)
    # The training must have converged to far less than the noise.
    assert abs(found["gain"] - estimate[0]) < 0.1 * errors[0] + 1e-4
    assert abs(found["offset"] - estimate[1]) < 0.1 * errors[1] + 1e-4
    assert abs(found["gain"] - 1.7) < 4 * errors[0] + 1e-4
    assert abs(found["offset"] + 0.4) < 4 * errors[1] + 1e-4


# Replicas and devices


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("engine", ["stacked", "sequential"])
def test_each_replica_learns_its_own_constants(engine):
    """That programs with constants train as `fit` does: see tests/replicas/test_equality.py."""
    model = model_of(Line(), {"line": 1.0}, optimizer=keras.optimizers.Adam(0.05))
    z, x = rows()
    model.layers[-1].physics.gain.raw.assign(0.3)
    before = kp.get_constants(model)
    weights = [0.0, 1e-2, 1.0]
    trainer = kp.ReplicaTrainer(model, {"line": weights}, seeds=[3, 3, 4], engine=engine)
    with quick_replicas():
        history = trainer.fit(z, x, epochs=3, batch_size=8, shuffle=False, verbose=0)
    found = history.history["gain"]
    assert found.shape == (3, 3)
    # A constant keeps its value under new seeds, and does not train at weight 0.
    np.testing.assert_allclose(found[:, 0], before["gain"], rtol=1e-6)
    assert len(set(found[-1])) == 3
    assert kp.get_constants(model) == before
    trainer.load_replica(2)
    values = kp.get_constants(model)
    assert values["gain"] != pytest.approx(before["gain"], rel=1e-3)


def test_clones_draw_nothing_and_keep_their_configuration():
    model = model_of(Line(), {"line": 1.0})
    clone = keras.models.clone_model(model)
    assert kp.get_constants(clone, units=True) == kp.get_constants(model, units=True)
    assert clone.layers[-1].physics.gain is not model.layers[-1].physics.gain
