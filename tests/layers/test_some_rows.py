"""Terms on some of the rows, by `on_rows` and by `where`: the formula, and the NaN trap."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg.layers.selected_rows import select_rows
from tests.layers import some_rows
from tests.layers.some_rows import BATCH, HOLDS, MORE_BATCH, by_on_rows, by_where
from tests.problems import arrays_equal
from tests.variants import slow_but

REWRITTEN_GRAPHS = True

WAYS = {"on_rows": by_on_rows, "where": by_where}
EPOCHS = 3


def check(way, hold, share=None, unlabelled=False, **compile_args):
    model = some_rows.model(WAYS[way], HOLDS[hold], **compile_args)
    start = model.get_weights()[:2]
    more = {}
    if unlabelled:
        more = {
            "unlabelled": some_rows.more_inputs(),
            "unlabelled_batch_size": MORE_BATCH,
            "unlabelled_share": share,
        }
    fit = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0, **more}
    history = model.fit(*some_rows.data(), **fit).history
    weights, logs = some_rows.train(start, HOLDS[hold], EPOCHS, share, unlabelled)
    for ours, theirs in zip(model.trainable_variables, weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6)
    assert set(history) == set(logs)
    for key, values in logs.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("hold", slow_but({"weights"}, HOLDS))
@pytest.mark.parametrize("way", slow_but({"where"}, WAYS))
def test_mean_is_over_the_rows_that_count(way, hold):
    check(way, hold)


@pytest.mark.tensorflow
@pytest.mark.parametrize("share", slow_but({0.3}, [None, 0.3]), ids=["all rows alike", "share"])
@pytest.mark.parametrize("way", slow_but({"where"}, WAYS))
def test_unlabelled_rows(way, share):
    check(way, "weights", share, unlabelled=True)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "how", [{"jit_compile": True}, {"run_eagerly": True}], ids=["XLA", "eager"]
)
@pytest.mark.parametrize("way", slow_but({"on_rows"}, WAYS))
def test_compiled_and_eagerly(way, how):
    check(way, "boolean", **how)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("way", slow_but({"on_rows"}, WAYS))
def test_a_plain_model(way):
    plain = some_rows.model(WAYS[way], HOLDS["weights"], keras.Model)
    ours = some_rows.model(WAYS[way], HOLDS["weights"])
    fit = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    first, second = (m.fit(*some_rows.data(), **fit).history for m in (plain, ours))
    for key in ("loss", "z_loss"):
        np.testing.assert_allclose(first[key], second[key], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("way", slow_but({"where"}, WAYS))
def test_replicas_equal_fit(way, quick):
    model = some_rows.model(WAYS[way], HOLDS["weights"])
    trainer = kp.ReplicaTrainer(model, {"z": [0.0, some_rows.WEIGHT]})
    fit = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    history = trainer.fit(*some_rows.data(), **fit)
    assert history.engine.startswith("stacked")
    alone = model.fit(*some_rows.data(), **fit).history
    for key, values in alone.items():
        np.testing.assert_allclose(history.history[key][:, 1], values, rtol=1e-4, err_msg=key)


@pytest.mark.slow
def test_all_ones_are_the_mean_over_all_rows():
    everything = some_rows.model(by_on_rows, lambda z: ops.ones_like(z[:, 0]))
    plain = some_rows.model(lambda hold: (some_rows.off, {}), None)
    fit = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    first, second = (m.fit(*some_rows.data(), **fit).history for m in (everything, plain))
    np.testing.assert_allclose(first["z_loss"], second["z_loss"], rtol=1e-6)


# The pump that is off


PUMP_OFF = [1, 5, 6]


def head(z, x_pred):
    """Power over flow, which is 0 where the pump is off."""
    return {"head": x_pred[:, 0] * z[:, 1] / z[:, 0] - 1.0}


class Head(keras.layers.Layer):
    """The same with an unknown constant."""

    def __init__(self):
        super().__init__()
        self.factor = kp.Constant(1.0, name="factor")

    def call(self, z, x_pred):
        return {"head": self.factor() * head(z, x_pred)["head"]}


def pump_is_on(z):
    return z[:, 0] > 0


def pump_data():
    rng = np.random.default_rng(3)
    z = rng.uniform(0.5, 1.5, (12, 2)).astype("float32")
    z[PUMP_OFF, 0] = 0.0
    return z, rng.normal(size=(12, 1)).astype("float32")


def pump_model(physics, term, loss="mse", **compile_args):
    keras.utils.set_random_seed(1)
    z = keras.Input((2,))
    hidden = keras.layers.Dense(4, activation="tanh")(z)
    layer = kp.PhysicsRegularization(physics, [term])
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(1)(hidden)))
    model.compile(keras.optimizers.Adam(0.01), loss, **compile_args)
    return model


@pytest.mark.slow
def test_a_pump_that_is_off_trains_by_where():
    model = pump_model(Head(), kp.PhysicsTerm("head", where=pump_is_on))
    history = model.fit(*pump_data(), batch_size=4, epochs=40, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["head_loss"][-1] < 0.5 * history["head_loss"][0]
    assert all(np.isfinite(v.numpy()).all() for v in model.trainable_variables)


@pytest.mark.slow
def test_a_batch_in_which_every_pump_is_off_changes_nothing():
    z, x = pump_data()
    model = pump_model(Head(), kp.PhysicsTerm("head", where=pump_is_on))
    bare = pump_model(head, kp.PhysicsTerm("head", where=pump_is_on, weight=0.0))
    logs = model.train_on_batch(z[PUMP_OFF], x[PUMP_OFF], return_dict=True)
    bare.train_on_batch(z[PUMP_OFF], x[PUMP_OFF])
    assert logs["head_loss"] == 0.0
    weights = [v.numpy() for v in model.trainable_variables if "factor" not in v.path]
    assert arrays_equal(weights, [v.numpy() for v in bare.trainable_variables])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", slow_but([{}], [{}, {"where": pump_is_on}]), ids=["on_rows", "where"]
)
def test_weight_zero_shields_a_constant(options):
    class NotFinite(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.factor = kp.Constant(1.0, name="factor")

        def call(self, z, x_pred):
            output = self.factor() * x_pred[:, 0] / 0.0
            return {"head": output if options else kp.on_rows(output, pump_is_on(z))}

    model = pump_model(NotFinite(), kp.PhysicsTerm("head", weight=0.0, **options))
    model.train_on_batch(*pump_data())
    assert all(np.isfinite(v.numpy()).all() for v in model.trainable_variables)


@pytest.mark.slow
def test_where_equals_training_on_the_rows_that_count():
    z, x = pump_data()
    on = z[:, 0] > 0
    all_rows = pump_model(head, kp.PhysicsTerm("head", where=pump_is_on), None)
    some = pump_model(head, kp.PhysicsTerm("head"), None)
    for model, rows in ((all_rows, slice(None)), (some, on)):
        model.fit(z[rows], x[rows], batch_size=12, epochs=5, verbose=0)
    for ours, theirs in zip(all_rows.trainable_variables, some.trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-7)


def test_values_that_do_not_count_may_be_infinite():
    """The divisor is replaced, so that the derivative is finite; the logarithm is -inf."""

    def physics(z, x_pred):
        on = z[:, 0] > 0
        power = x_pred[:, 0] * z[:, 1] / ops.where(on, z[:, 0], 1.0)
        return {"head": kp.on_rows(power + ops.log(z[:, 0]), on)}

    model = pump_model(physics, kp.PhysicsTerm("head"))
    history = model.fit(*pump_data(), batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(history["head_loss"]).all()


def relative(y_true, y_pred):
    return ops.mean(ops.square((y_pred - y_true) / y_true), axis=-1)


@pytest.mark.slow
def test_a_loss_that_divides_by_the_reference():
    """What does not count has the value 0 as reference, by which the loss divides."""

    def physics(z, x_pred):
        return {"head": kp.on_rows(x_pred, z[:, 0] > 0)}

    term = kp.PhysicsTerm("head", "input", components=[0], loss=relative)
    model = pump_model(physics, term)
    history = model.fit(*pump_data(), batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(v.numpy()).all() for v in model.trainable_variables)


@pytest.mark.parametrize(
    "options",
    slow_but([{"where": pump_is_on}], [{}, {"where": pump_is_on}]),
    ids=["on_rows", "where"],
)
def test_references_that_do_not_count_may_be_nan(options):
    """A reference that does not count reaches neither the network nor a constant."""

    class Offset(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.offset = kp.Constant(0.0, name="offset")

        def call(self, z, x_pred):
            output = x_pred + self.offset()
            return {"head": output if options else kp.on_rows(output, pump_is_on(z))}

    (z, x), found = pump_data(), []
    for missing in (0.0, np.nan):
        y = np.where(z[:, :1] > 0, x, missing).astype("float32")
        term = kp.PhysicsTerm("head", "target", scale=2.0, **options)
        model = pump_model(Offset(), term, loss=None)
        history = model.fit(z, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        found.append([*model.get_weights(), history["head_loss"]])
    assert arrays_equal(*found)
    assert all(np.isfinite(array).all() for array in found[0])


def test_no_rows_to_replace():
    rows = select_rows(pump_is_on, ops.ones((0, 2)), "head")
    assert rows.replace(ops.ones((0, 2))).shape == (0, 2)


def test_copies_of_a_row_that_counts():
    z = ops.array([[0.0, 1.0], [2.0, 3.0], [0.0, 5.0], [4.0, 6.0]])
    rows = select_rows(pump_is_on, z, "head")
    given = {"z": z, "flags": z[:, 1] > 2, "numbers": ops.arange(4)}
    replaced = keras.tree.map_structure(ops.convert_to_numpy, rows.replace(given))
    assert replaced["z"].tolist() == [[2, 3], [2, 3], [2, 3], [4, 6]]
    assert replaced["flags"].all()
    assert replaced["numbers"].tolist() == [1, 1, 1, 3]
    nowhere = select_rows(lambda z: z[:, 0] > 9, z, "head").replace(given)
    assert not any(ops.any(tensor) for tensor in keras.tree.flatten(nowhere))


# Derivatives of rows that do not count


def trap(z, x_pred):
    return {"head": kp.on_rows(head(z, x_pred)["head"], pump_is_on(z))}


def trap_inside_where(z, x_pred):
    on = pump_is_on(z)
    return {"head": kp.on_rows(ops.where(on, head(z, x_pred)["head"], 0.0), on)}


class TrapOfAConstant(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.factor = kp.Constant(1.0, name="factor")

    def call(self, z, x_pred):
        return {"head": kp.on_rows(x_pred[:, 0] - self.factor() / z[:, 0], pump_is_on(z))}


def as_arrays(z, x):
    return {"x": z, "y": x}


def as_dataset(z, x):
    from keras_physreg._utils.backend import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((z, x)).batch(12)
    return {"x": dataset, "shuffle": False}


TRAPS = {
    "division": (trap, as_arrays, {}),
    "inside where": (trap_inside_where, as_arrays, {}),
    "a constant": (TrapOfAConstant, as_arrays, {}),
    "a dataset": (trap, as_dataset, {}),
    "eagerly": (trap, as_arrays, {"run_eagerly": True}),
}


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", TRAPS)
def test_a_derivative_that_is_not_finite_is_an_error(kind):
    physics, given, how = TRAPS[kind]
    physics = physics() if isinstance(physics, type) else physics
    model = pump_model(physics, kp.PhysicsTerm("head"), **how)
    before = model.get_weights()
    with pytest.raises(
        ValueError, match=r"Row\(s\) 1, 5, 6.*PhysicsTerm\('head', where="
    ) as caught:
        model.fit(**given(*pump_data()), verbose=0)
    assert "keras.ops.where(q > 0, q, 1.0)" in str(caught.value)
    assert arrays_equal(before, model.get_weights())


class BuiltLater(kp.PhysicsModel):
    """A model whose first call builds it."""

    def __init__(self, physics, term):
        super().__init__()
        self.network = keras.layers.Dense(1)
        self.physics = kp.PhysicsRegularization(physics, [term])
        self.compile(keras.optimizers.SGD(0.01), "mse")

    def call(self, z):
        return self.physics(z, self.network(z))


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "physics", slow_but({trap}, [trap, TrapOfAConstant]), ids=["function", "constant"]
)
def test_a_model_that_its_first_call_builds(physics):
    given = [physics() if isinstance(physics, type) else physics for _ in range(2)]
    with pytest.raises(ValueError, match=r"Row\(s\) 1, 5, 6"):
        BuiltLater(given[0], kp.PhysicsTerm("head")).fit(*pump_data(), verbose=0)
    keras.utils.set_random_seed(1)
    model = BuiltLater(given[1], kp.PhysicsTerm("head", where=pump_is_on))
    assert not model.built
    first, second = model.fit(*pump_data(), epochs=2, verbose=0).history["loss"]
    assert second < first


@pytest.mark.tensorflow
def test_replicas_look_for_it_too():
    model = pump_model(trap, kp.PhysicsTerm("head"))
    with pytest.raises(ValueError, match=r"Row\(s\) 1, 5, 6"):
        kp.ReplicaTrainer(model, {"head": [0.0, 1.0]}).fit(*pump_data(), verbose=0)


@pytest.mark.tensorflow
def test_unlabelled_rows_are_looked_at():
    z, x = pump_data()
    on = z[:, 0] > 0
    model = pump_model(trap, kp.PhysicsTerm("head"))
    with pytest.raises(ValueError, match="do not count, but the derivative"):
        model.fit(z[on], x[on], unlabelled=z[~on], verbose=0)


@pytest.mark.slow
def test_the_cures_pass():
    def replaced(z, x_pred):
        on = pump_is_on(z)
        return {"head": kp.on_rows(x_pred[:, 0] / ops.where(on, z[:, 0], 1.0), on)}

    pump_model(replaced, kp.PhysicsTerm("head")).fit(*pump_data(), verbose=0)
    pump_model(head, kp.PhysicsTerm("head", where=pump_is_on)).fit(*pump_data(), verbose=0)


@pytest.mark.tensorflow
@pytest.mark.parametrize("way", WAYS)
def test_weights_below_zero_are_named(way):
    model = some_rows.model(WAYS[way], lambda z: z[:, 2])
    z, x = some_rows.data()
    first = int(np.flatnonzero(z[:, 2] < 0)[0])
    with pytest.raises(ValueError, match=rf"'z' must be >= 0, .* row\(s\) {first},"):
        model.fit(z, x, verbose=0)


@pytest.mark.tensorflow
@pytest.mark.parametrize("way", WAYS)
def test_a_term_that_counts_nowhere_is_an_error(way):
    model = some_rows.model(WAYS[way], lambda z: z[:, 2] > 100)
    for _ in range(2):  # The second `fit` says so, too.
        with pytest.raises(ValueError, match="'z' counts in none of the 12 rows"):
            model.fit(*some_rows.data(), verbose=0)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_rows_that_count_may_be_unlabelled_ones_alone():
    z, x = some_rows.data()
    model = some_rows.model(by_where, lambda z: z[:, 2] > 1.5)
    walls = np.concatenate([z[:4, :2], np.full((4, 1), 2, "float32")], axis=1)
    history = model.fit(z, x, unlabelled=walls, verbose=0).history
    assert history["z_loss"][0] > 0


# Bad input


def wrong(where, values=lambda z, x: x):
    return lambda z, x_pred: {"z": kp.on_rows(values(z, x_pred), where(z))}


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("physics", "error", "parts"),
    [
        (wrong(lambda z: None), TypeError, ["`on_rows`", "'z'", "boolean", "None"]),
        (wrong(lambda z: ["day"]), TypeError, ["`on_rows`", "'z'", "'day'"]),
        (wrong(lambda z: z), ValueError, ["`on_rows`", "'z'", "(12, 3)", "(12, 2)"]),
        (wrong(lambda z: ops.ones((5,))), ValueError, ["'z'", "(5,)", "(4, 2)"]),
        (wrong(lambda z: 1.0), ValueError, ["'z'", "()", "one value per row"]),
        (wrong(lambda z: z[:, 0] > 0, lambda z, x: None), TypeError, ["tensor for term 'z'"]),
    ],
    ids=["None", "text", "another shape", "another length", "a number", "no values"],
)
def test_bad_on_rows(physics, error, parts):
    model = some_rows.model(lambda hold: (physics, {}), None)
    size = 4 if "(5,)" in parts else None
    rows = slice(None, size)
    z, x = some_rows.data()
    with pytest.raises(error) as caught:
        model.train_on_batch(z[rows], x[rows]) if size else model.fit(z, x, verbose=0)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("where", "error", "parts"),
    [
        (lambda z: None, TypeError, ["`where` of physics term 'z'", "None"]),
        (lambda z: True, ValueError, ["`where` of physics term 'z'", "one value per row", "()"]),
        (lambda z: z, ValueError, ["`where` of physics term 'z'", "(12, 3)", "(12, 2)"]),
        (lambda z: ops.any(z > 0, axis=0, keepdims=True)[:, 0], ValueError, ["(1,)", "per row"]),
        (lambda z: z["flow"], Exception, ["`where` of physics term 'z'", "test_some_rows.py"]),
    ],
    ids=["None", "a boolean", "another shape", "one for all", "an error inside"],
)
def test_bad_where(where, error, parts):
    model = some_rows.model(by_where, where)
    with pytest.raises(error) as caught:
        model.fit(*some_rows.data(), verbose=0)
    for part in parts:
        assert part in str(caught.value)


OF_FIXED_LENGTH = {
    "an array of all rows": (lambda z: np.ones(some_rows.ROWS, bool), "(12,"),
    "the batch on the second axis": (lambda z: ops.transpose(z)[:2] > 0, "(2, "),
}


@pytest.mark.tensorflow
@pytest.mark.parametrize("by", [by_where, by_on_rows], ids=["where", "on_rows"])
@pytest.mark.parametrize("kind", OF_FIXED_LENGTH)
def test_a_where_of_fixed_length_does_not_fit_batches_of_any_length(kind, by):
    where, shape = OF_FIXED_LENGTH[kind]
    z, x = some_rows.data()
    with pytest.raises(ValueError, match=r"where.*'z'.*one value per row") as caught:
        some_rows.model(by, where).fit(z, x, batch_size=5, verbose=0)
    assert f"shape {shape}" in str(caught.value)


@pytest.mark.tensorflow
def test_an_output_that_has_other_rows_than_the_batch():
    """Three values of a law on a grid of its own, of which the second one does not count."""

    def physics(z, x_pred):
        law = ops.array([[1.0], [5.0], [3.0]]) * ops.mean(x_pred)
        return {"z": kp.on_rows(law, np.array([True, False, True]))}

    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(1, kernel_initializer="ones")(inputs)
    model = kp.PhysicsModel(inputs, kp.PhysicsRegularization(physics, {"z": 1.0})(inputs, outputs))
    model.compile("sgd", "mse")
    logs = model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=8, verbose=0).history
    np.testing.assert_allclose(logs["z_loss"], [(2.0**2 + 6.0**2) / 2], rtol=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("by", [by_where, by_on_rows], ids=["where", "on_rows"])
def test_a_where_of_the_first_rows_alone_is_named(by):
    model = some_rows.model(by, lambda z: z[:5, 0] > 0)
    with pytest.raises(ValueError, match=r"`where` .*term 'z'.*per row.*all rows.*\(5,\)"):
        model.fit(*some_rows.data(), batch_size=7, verbose=0)


@pytest.mark.parametrize("where", [3.0, "day", keras.layers.Dense, keras.layers.ReLU()], ids=str)
def test_where_must_be_a_function(where):
    with pytest.raises(TypeError, match="`where` of physics term 'z' must be a function"):
        kp.PhysicsTerm("z", where=where)


def test_where_does_not_get_the_prediction():
    with pytest.raises(TypeError, match=r"is called with one argument, the inputs.*on_rows"):
        kp.PhysicsTerm("z", where=lambda z, x_pred: x_pred[:, 0] > 0)


def test_negative_weights_make_the_loss_nan():
    model = some_rows.model(by_on_rows, lambda z: z[:, 2])
    logs = model.train_on_batch(*some_rows.data(), return_dict=True)
    assert np.isnan(logs["z_loss"])


def test_single_values_need_a_loss_of_single_values():
    def physics(z, x_pred):
        return {"z": kp.on_rows(x_pred, x_pred > 0)}

    term = kp.PhysicsTerm("z", "input", components=[0, 1], loss="cosine_similarity")
    z = keras.Input((3,))
    model = kp.PhysicsModel(
        z, kp.PhysicsRegularization(physics, [term])(z, keras.layers.Dense(2)(z))
    )
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"single values.*cosine_similarity"):
        model.fit(*some_rows.data(), verbose=0)


def test_one_number_for_all_rows_has_no_rows_to_choose():
    model = some_rows.model(
        lambda hold: (wrong(lambda z: z[:, 0] > 0, lambda z, x: ops.mean(x)), {}), None
    )
    with pytest.raises(ValueError, match="must have the shape of the output"):
        model.fit(*some_rows.data(), verbose=0)


# Saving


@keras.saving.register_keras_serializable(package="tests")
def saved_where(z):
    return z[:, 2] > 0


@keras.saving.register_keras_serializable(package="tests")
def saved_physics(z, x_pred):
    return {"z": 2 * x_pred - z[:, :2]}


@pytest.mark.slow
def test_where_is_saved_with_the_model(tmp_path):
    model = some_rows.model(lambda hold: (saved_physics, {"where": hold}), saved_where)
    model.fit(*some_rows.data(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    (layer,) = kp.layers.physics_regularization.physics_layers(loaded)
    assert layer.terms[0].where is saved_where
    ours, theirs = (
        m.evaluate(*some_rows.data(), verbose=0, return_dict=True) for m in (model, loaded)
    )
    assert ours == theirs


@pytest.mark.slow
def test_a_where_that_is_not_registered_is_refused_at_saving(tmp_path):
    model = some_rows.model(lambda hold: (saved_physics, {"where": hold}), lambda z: z[:, 2] > 0)
    with pytest.raises(ValueError, match="the `where` of physics term 'z', cannot be saved"):
        model.save(tmp_path / "model.keras")
