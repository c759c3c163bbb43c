"""Terms at the labels, and what a term trains."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.problems import arrays_equal, data
from tests.variants import slow_but, slow_but_rows

RATE = 0.1


@keras.saving.register_keras_serializable(package="tests")
class Sensor(keras.layers.Layer):
    """The first two columns of z are gain x + offset."""

    def __init__(self, rate=1.0, **kwargs):
        super().__init__(**kwargs)
        self.gain = kp.Constant(1.0, rate=rate, name="gain")
        self.offset = kp.Constant(0.0, scale=0.5, rate=rate, name="offset")

    def call(self, z, x_pred):
        residual = self.gain() * x_pred + self.offset() - z[:, :2]
        return {"sensor": residual, "calibration": residual}


def sensor_terms(sensor=0.5, calibration=2.0):
    return [
        kp.PhysicsTerm("sensor", weight=sensor, trains="network"),
        kp.PhysicsTerm("calibration", weight=calibration, at="labels"),
    ]


def sensor_model(terms=None, physics=None, model_class=kp.PhysicsModel, **compile_args):
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(physics or Sensor(), terms or sensor_terms())
    model = model_class(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile(keras.optimizers.SGD(RATE), **{"loss": "mse", **compile_args})
    return model


def by_hand(start, epochs, batch, trust=None, more=None, share=None):
    """SGD by hand, both constants in units of their scale; the logs of each epoch."""
    kernel, bias, gain, offset = (np.asarray(w, "float64") for w in start)
    z_all, y_all = (a.astype("float64") for a in data())
    trust = np.ones(len(z_all)) if trust is None else trust
    steps, logs = len(z_all) // batch, []
    for step in range(epochs * steps):
        rows = np.arange(batch) + step % steps * batch
        z, y, w = z_all[rows], y_all[rows], trust[rows, None]
        inputs = z
        if more is not None:
            others = (np.arange(3) + step * 3) % len(more)
            inputs = np.concatenate([z, more[others].astype("float64")])
        x, n = inputs @ kernel + bias, len(z)
        g, o = 1 + gain, 0.5 * offset
        error = x[:n] - y
        at_prediction = g * x + o - inputs[:, :2]
        at_labels = g * y + o - z[:, :2]
        counts = np.full((len(inputs), 1), 0.5 / len(inputs))
        if share is not None:
            counts[:n], counts[n:] = (1 - share) * 0.5 / n, share * 0.5 / (len(inputs) - n)
        losses = {
            "data_loss": np.mean(w * error**2),
            "sensor_loss": np.sum(counts * at_prediction**2),
            "calibration_loss": np.mean(w * at_labels**2),
            "gain": g,
            "offset": o,
        }
        losses["physics_loss"] = 0.5 * losses["sensor_loss"] + 2 * losses["calibration_loss"]
        losses["loss"] = losses["data_loss"] + losses["physics_loss"]
        slope = 0.5 * counts * 2 * at_prediction * g
        slope[:n] += w * 2 * error / error.size
        kernel = kernel - RATE * inputs.T @ slope
        bias = bias - RATE * slope.sum(axis=0)
        gain = gain - RATE * 2 * np.mean(w * 2 * at_labels * y)
        offset = offset - RATE * 2 * np.mean(w * 2 * at_labels) * 0.5
        logs.append(losses)
    last = {"gain", "offset"}  # Logged as they were at the start of the epoch's last step.
    return {
        key: [
            logs[(e + 1) * steps - 1][key]
            if key in last
            else np.mean([log[key] for log in logs[e * steps : (e + 1) * steps]])
            for e in range(epochs)
        ]
        for key in logs[0]
    }


def start_of(model):
    return [np.array(v.numpy()) for v in model.trainable_variables]


def check(trust=None, more=None, share=None, **compile_args):
    model = sensor_model(**compile_args)
    fit = {"batch_size": 5, "epochs": 3, "shuffle": False, "verbose": 0}
    if trust is not None:
        fit["sample_weight"] = trust
    if more is not None:
        fit |= {"unlabelled": more, "unlabelled_batch_size": 3, "unlabelled_share": share}
    start = start_of(model)
    history = model.fit(*data(), **fit).history
    logs = by_hand(start, 3, 5, trust, more, share)
    assert set(history) == set(logs)
    for key, values in logs.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.slow
def test_the_formula():
    check()


def test_sample_weight_counts():
    check(trust=np.random.default_rng(2).uniform(0, 2, 20).astype("float32"))


@pytest.mark.tensorflow
@pytest.mark.parametrize("share", slow_but({0.4}, [None, 0.4]), ids=["all rows alike", "share"])
def test_unlabelled_rows(share):
    check(more=data(6, seed=4)[0], share=share)


@pytest.mark.tensorflow
@pytest.mark.parametrize("how", slow_but({"jit_compile"}, ["jit_compile", "run_eagerly"]))
def test_compiled_and_eagerly(how):
    check(**{how: True})


@pytest.mark.slow
@pytest.mark.tensorflow
def test_replicas_equal_fit(quick):
    model = sensor_model()
    weights = {"sensor": [0.5, 0.0], "calibration": [2.0, 1.0]}
    fit = {"batch_size": 5, "epochs": 3, "shuffle": False, "verbose": 0}
    history = kp.ReplicaTrainer(model, weights).fit(*data(), **fit)
    assert history.engine.startswith("stacked")
    for key, values in model.fit(*data(), **fit).history.items():
        np.testing.assert_allclose(history.history[key][:, 0], values, rtol=1e-4, err_msg=key)


def moved_by(model):
    """Which trainable variables the terms move in one step of SGD."""
    before = start_of(model)
    model.fit(*data(), verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(before, start_of(model), strict=True)]
    return {v.path.split("/")[-2]: m for v, m in zip(model.trainable_variables, moved, strict=True)}


NO_GRADIENT = "ignore:Gradients do not exist for variables:UserWarning"


@pytest.mark.filterwarnings(NO_GRADIENT)
@pytest.mark.parametrize(
    ("term", "moves_network", "moves_constants"),
    slow_but_rows(
        (1, 2, 3),
        [
            (kp.PhysicsTerm("a"), True, True),
            (kp.PhysicsTerm("a", trains="network"), True, False),
            (kp.PhysicsTerm("a", trains="constants"), False, True),
            (kp.PhysicsTerm("a", at="labels"), False, True),
            (kp.PhysicsTerm("a", at="labels", trains="constants"), False, True),
            (kp.PhysicsTerm("a", "prediction", trains="constants"), False, True),
            (kp.PhysicsTerm("a", "target", trains="network"), True, False),
        ],
    ),
    ids=["both", "network", "constants", "labels", "labels, constants", "prediction", "target"],
)
def test_what_a_term_trains(term, moves_network, moves_constants):
    class One(Sensor):
        def call(self, z, x_pred):
            return {"a": super().call(z, x_pred)["sensor"]}

    moved = moved_by(sensor_model([term], One(), loss=None))
    assert moved.pop("gain") == moved.pop("offset") == moves_constants
    assert set(moved.values()) == {moves_network}


class Holder(kp.PhysicsModel):
    """A subclassed model that holds its physics in an attribute, too."""

    def __init__(self, physics, terms):
        super().__init__()
        self.network, self.sensor = keras.layers.Dense(2), physics
        self.law = kp.PhysicsRegularization(physics, terms)

    def call(self, z):
        return self.law(z, self.network(z))


@pytest.mark.slow
@pytest.mark.filterwarnings(NO_GRADIENT)
@pytest.mark.parametrize(
    ("weights", "moves_network"),
    slow_but_rows((1,), [({"sensor": 0.0}, False), ({"calibration": 0.0}, True)]),
    ids=["labels", "network"],
)
def test_physics_in_an_attribute_of_the_model_is_no_network(weights, moves_network):
    model = Holder(Sensor(), sensor_terms(**weights))
    model.compile(keras.optimizers.SGD(RATE), None)
    model(data()[0])  # Builds it.
    moved = moved_by(model)
    assert moved.pop("gain") == moved.pop("offset") == (not moves_network)
    assert set(moved.values()) == {moves_network}


@pytest.mark.slow
def test_a_constant_that_only_the_labels_tell_is_least_squares():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(256, 2)).astype("float32")
    z = np.concatenate([1.3 * y + 0.2 + 0.5 * rng.normal(size=y.shape), y[:, :1]], axis=1)
    z = z.astype("float32")
    model = sensor_model()
    model.compile(keras.optimizers.Adam(0.05), "mse", steps_per_execution=300)
    many = np.tile(z, (300, 1)), np.tile(y, (300, 1))
    model.fit(*many, batch_size=256, shuffle=False, verbose=0)
    design = np.stack([y.ravel(), np.ones(y.size)], axis=1)
    wanted = np.linalg.lstsq(design.astype("float64"), z[:, :2].ravel(), rcond=None)[0]
    found = kp.get_constants(model)
    np.testing.assert_allclose([found["gain"], found["offset"]], wanted, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_all_terms_at_the_labels_leave_the_network_alone():
    term = kp.PhysicsTerm("calibration", at="labels")

    class One(Sensor):
        def call(self, z, x_pred):
            return {"calibration": super().call(z, x_pred)["sensor"]}

    model, bare = sensor_model([term], One()), sensor_model()
    kp.set_term_weights(bare, {"sensor": 0.0, "calibration": 0.0})
    history = model.fit(*data(), shuffle=False, verbose=0).history
    bare.fit(*data(), shuffle=False, verbose=0)
    assert history["calibration_loss"][0] > 0
    assert arrays_equal(start_of(model)[:2], start_of(bare)[:2])


def test_weight_zero_shields_the_constants():
    class NotFinite(Sensor):
        def call(self, z, x_pred):
            residual = self.gain() * x_pred / 0.0 + self.offset()
            return {"sensor": residual, "calibration": residual}

    model = sensor_model(sensor_terms(0.0, 0.0), NotFinite())
    model.fit(*data(), verbose=0)
    assert all(np.isfinite(v).all() for v in start_of(model))


@pytest.mark.slow
def test_a_plain_model_takes_the_targets():
    keras.utils.set_random_seed(1)
    z, label = keras.Input((3,)), keras.Input((2,))
    layer = kp.PhysicsRegularization(Sensor(), sensor_terms())
    plain = keras.Model([z, label], layer(z, keras.layers.Dense(2)(z), targets=label))
    plain.compile(keras.optimizers.SGD(RATE), "mse")
    (z, y), fit = data(), {"batch_size": 5, "epochs": 2, "shuffle": False, "verbose": 0}
    first = plain.fit([z, y], y, **fit).history
    second = sensor_model().fit(z, y, **fit).history
    for key in first:
        np.testing.assert_allclose(first[key], second[key], rtol=1e-5, err_msg=key)


def test_without_a_label_the_term_needs_one():
    layer = kp.PhysicsRegularization(Sensor(), sensor_terms())
    z, y = data()
    with pytest.raises(ValueError, match=r"'calibration'.*at the labels \(at='labels'\)"):
        layer(z, y)
    model = sensor_model()
    assert set(model.evaluate(z, y, return_dict=True, verbose=0)) >= {"calibration_loss"}
    model(z)  # Outside of a step terms that need the label are left out.


# Several outputs


class TwoQuantities(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.gain = kp.Constant(1.0, name="gain")

    def call(self, z, prediction):
        product = prediction["a"] * prediction["b"]
        return {"calibration": self.gain() * product - z[:, :1], "free": product}


def several_outputs():
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    made = {name: keras.layers.Dense(1, name=name)(z) for name in "abc"}
    some = {name: made[name] for name in "ab"}
    terms = [kp.PhysicsTerm("calibration", at="labels"), kp.PhysicsTerm("free")]
    layer = kp.PhysicsRegularization(TwoQuantities(), terms)
    model = kp.PhysicsModel(z, {**layer(z, some), "c": made["c"]})
    model.compile(keras.optimizers.SGD(RATE), dict.fromkeys("abc", "mse"))
    return model


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "unlabelled", slow_but({True}, [False, True]), ids=["labelled", "with unlabelled"]
)
def test_labels_of_some_of_several_outputs(unlabelled):
    z = data()[0]
    rng = np.random.default_rng(5)
    y = {name: rng.normal(size=(20, 1)).astype("float32") for name in "abc"}
    trust = {name: rng.uniform(0, 2, 20).astype("float32") for name in "abc"}
    more = {"unlabelled": data(6, seed=4)[0]} if unlabelled else {}
    history = (
        several_outputs()
        .fit(z, y, sample_weight=trust, batch_size=20, shuffle=False, verbose=0, **more)
        .history
    )
    squares = (y["a"] * y["b"] - z[:, :1]) ** 2
    expected = np.mean(np.minimum(trust["a"], trust["b"])[:, None] * squares)
    np.testing.assert_allclose(history["calibration_loss"], [expected], rtol=1e-5)


# Bad input


@pytest.mark.tensorflow
def test_labels_of_another_shape_name_both():
    z = keras.Input((3,))
    x = keras.layers.Dense(2)(z)
    layer = kp.PhysicsRegularization(Sensor(), sensor_terms())
    model = kp.PhysicsModel(z, keras.layers.Dense(4)(layer(z, x)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"calibration.*shape \(None, 2\), the label"):
        model.fit(data()[0], np.zeros((20, 4)), verbose=0)


@pytest.mark.tensorflow
def test_one_label_for_several_outputs_names_both():
    model = several_outputs()
    model.compile("sgd", None)
    with pytest.raises(ValueError, match=r"calibration.*the structure .*the label shape"):
        model.fit(data()[0], np.zeros((20, 1), "float32"), verbose=0)


@pytest.mark.tensorflow
def test_physics_that_does_not_use_the_prediction():
    class Unused(Sensor):
        def call(self, z, x_pred):
            first = super().call(z, x_pred)["sensor"]
            return {"sensor": first, "calibration": self.gain() * z[:, :2]}

    model = sensor_model(physics=Unused())
    with pytest.raises(ValueError, match="'calibration' has `at='labels'`, but its physics does"):
        model.fit(*data(), verbose=0)


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"at": "label"}, ValueError, ["`at` of physics term 't'", "'labels'", "'label'"]),
        ({"trains": "all"}, ValueError, ["`trains` of physics term 't'", "'network'", "'all'"]),
        ({"at": "labels", "trains": "network"}, ValueError, ["'t'", "at='labels'", "trains="]),
        ({"mask": 1}, TypeError, ["`mask` of physics term 't'", "True or False", "1"]),
    ],
    ids=["at", "trains", "both", "mask"],
)
def test_bad_options(options, error, parts):
    with pytest.raises(error) as caught:
        kp.PhysicsTerm("t", **options)
    for part in parts:
        assert part in str(caught.value)


def test_a_function_has_no_constants_to_train():
    with pytest.raises(ValueError, match="'t' has `trains='constants'`, but the physics"):
        kp.PhysicsRegularization(lambda z, x: x, [kp.PhysicsTerm("t", trains="constants")])


@pytest.mark.tensorflow
def test_unlabelled_rows_need_a_term_without_labels():
    term = kp.PhysicsTerm("calibration", at="labels")

    class One(Sensor):
        def call(self, z, x_pred):
            return {"calibration": super().call(z, x_pred)["sensor"]}

    model = sensor_model([term], One())
    with pytest.raises(ValueError, match="need the label"):
        model.fit(*data(), unlabelled=data()[0], verbose=0)


@pytest.mark.slow
def test_options_are_saved(tmp_path):
    model = sensor_model()
    model.fit(*data(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    (layer,) = kp.layers.physics_regularization.physics_layers(loaded)
    assert [(term.at, term.trains, term.mask) for term in layer.terms] == [
        ("prediction", "network", True),
        ("labels", None, True),
    ]
    ours, theirs = (m.evaluate(*data(), verbose=0, return_dict=True) for m in (model, loaded))
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.filterwarnings(NO_GRADIENT)
def test_the_network_inside_the_physics_is_no_constant():
    """Physics that calls the network: its variables train by `network`, and only by it."""
    keras.utils.set_random_seed(1)
    dense = keras.layers.Dense(2)

    class Again(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = dense
            self.gain = kp.Constant(1.0, name="gain")

        def call(self, z, x_pred):
            mirrored = self.dense(ops.flip(z, axis=-1))
            return {"a": self.gain() * mirrored - x_pred}

    def moved(**options):
        z = keras.Input((3,))
        layer = kp.PhysicsRegularization(Again(), [kp.PhysicsTerm("a", **options)])
        model = kp.PhysicsModel(z, layer(z, dense(z)))
        model.compile(keras.optimizers.SGD(RATE), None)
        before = [np.array(v.numpy()) for v in (*dense.trainable_variables, layer.constants[0].raw)]
        model.fit(*data(), verbose=0)
        after = [v.numpy() for v in (*dense.trainable_variables, layer.constants[0].raw)]
        return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]

    assert moved(trains="network")[::2] == [True, False]
    assert moved(trains="constants") == [False, False, True]
    assert moved(at="labels") == [False, False, True]


@pytest.mark.tensorflow
def test_all_groups_share_one_read_of_the_constants_and_weights():
    """TensorFlow lets a second read of a variable follow its update, now and then."""
    import tensorflow as tf

    model = sensor_model()
    batch = tuple(tf.constant(array[:5]) for array in data())
    graph = tf.function(model.train_step, autograph=False).get_concrete_function(batch).graph
    for name in ("gain", "offset"):
        raw = next(v for v in model.trainable_variables if v.path == f"{name}/raw")
        assert len(reads_of(raw, graph)) == 2  # The physics, and the log of the constant.
    weight = model.layers[-1].weight_variable("sensor")
    assert len(reads_of(weight, graph)) == 2  # Whether the physics is active, and the loss.


def reads_of(variable, graph):
    """The operations of a graph that read a variable."""
    handle = next(inner for outer, inner in graph.captures if outer is variable.value.handle)
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    return [op for op in reads if op.inputs[0] is handle]
