import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests import problems
from tests.problems import arrays_equal, data, physics_model, terms
from tests.variants import slow_but, slow_but_rows


def trained(model):
    z, x = data()
    model.compile("adam", "mse", run_eagerly=True)
    model.fit(z, x, epochs=2, verbose=0)
    return model


@pytest.mark.parametrize(
    "physics",
    slow_but({problems.Gain}, [problems.doubling, problems.Gain]),
    ids=["function", "layer"],
)
def test_keras_file_round_trip(tmp_path, physics):
    z, x = data()
    model = trained(physics_model(physics() if isinstance(physics, type) else physics))
    kp.set_term_weights(model, {"x": 1e-10})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, kp.PhysicsModel)
    assert kp.get_term_weights(loaded) == {"x": 1e-10, "z": 0.25}
    assert arrays_equal(model.get_weights(), loaded.get_weights())
    assert model.evaluate(z, x, verbose=0) == loaded.evaluate(z, x, verbose=0)
    for candidate in (model, loaded):
        keras.utils.set_random_seed(3)
        candidate.fit(z, x, verbose=0)
    assert arrays_equal(model.get_weights(), loaded.get_weights())


@pytest.mark.slow
def test_a_plain_model_round_trips(tmp_path):
    model = physics_model(problems.residual, {"r": 0.1}, model_class=keras.Model)
    trained(model).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert kp.get_term_weights(loaded) == {"r": 0.1}


@pytest.mark.slow
def test_weights_file_loads_into_another_order_of_terms(tmp_path):
    model = trained(physics_model())
    model.save_weights(tmp_path / "model.weights.h5")
    other = physics_model(term_list=terms(x=3, z=4)[::-1], seed=5)
    other.load_weights(tmp_path / "model.weights.h5")
    assert kp.get_term_weights(other) == {"z": 0.25, "x": 0.5}
    assert arrays_equal(problems.trainable_values(model), problems.trainable_values(other))


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_file_with_other_terms_is_refused(tmp_path):
    physics_model().save_weights(tmp_path / "model.weights.h5")
    other = physics_model(problems.residual, {"r": 0.1})
    with pytest.raises(ValueError, match="other terms than those of physics layer"):
        other.load_weights(tmp_path / "model.weights.h5")


def test_every_kind_of_loss_round_trips():
    term_list = [
        kp.PhysicsTerm("a", "target", loss="mean_absolute_error"),
        kp.PhysicsTerm(
            "b",
            "target.x",
            components=[1],
            loss=keras.losses.BinaryCrossentropy(label_smoothing=0.3),
            weight=2,
        ),
        kp.PhysicsTerm("c", loss=keras.losses.mean_squared_error),
        kp.PhysicsTerm("d", loss=own_loss),
    ]
    layer = kp.PhysicsRegularization(problems.doubling, term_list, name="known")
    copy = kp.PhysicsRegularization.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert [t.get_config() for t in copy.terms] == [t.get_config() for t in term_list]
    assert copy.name == "known"
    assert copy.terms[1].loss.get_config()["label_smoothing"] == 0.3
    assert copy.terms[3].loss is own_loss


@keras.saving.register_keras_serializable(package="tests")
def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 1.5, axis=-1)


def unregistered(z, x_pred):
    return {"x": z[:, :2] / 2, "z": 2 * x_pred}


class Unregistered(keras.layers.Layer):
    def call(self, z, x_pred):
        return unregistered(z, x_pred)


@pytest.mark.parametrize(
    ("physics", "definition"),
    slow_but_rows(
        {0, 2},
        [
            (unregistered, "def unregistered(...):"),
            (lambda z, x: unregistered(z, x), "def my_physics(...):"),
            (Unregistered(name="named"), "class Unregistered(keras.layers.Layer):"),
        ],
    ),
    ids=["function", "lambda", "layer"],
)
def test_saving_unregistered_physics_says_how_to_register_it(tmp_path, physics, definition):
    model = trained(physics_model(physics))
    with pytest.raises(ValueError, match="register_keras_serializable") as caught:
        model.save(tmp_path / "model.keras")
    assert definition in str(caught.value)
    assert not (tmp_path / "model.keras").exists()
    model.save_weights(tmp_path / "model.weights.h5")


def test_saving_an_unregistered_loss_says_which_term(tmp_path):
    term = kp.PhysicsTerm("r", loss=lambda y_true, y_pred: keras.ops.abs(y_pred[:, 0]))
    model = physics_model(problems.residual, [term])
    with pytest.raises(ValueError, match="the loss of physics term 'r'"):
        model.save(tmp_path / "model.keras")


def test_a_loss_whose_arguments_keras_would_lose_is_refused(tmp_path):
    """A Keras that saves `delta` (pull request 23286) loads it; no Keras may change it silently."""
    term = kp.PhysicsTerm("r", loss=keras.losses.Huber(delta=0.3))
    layer = kp.PhysicsRegularization(problems.residual, [term])
    if "delta" in keras.losses.Huber(delta=0.3).get_config():
        copy = kp.PhysicsRegularization.from_config(layer.get_config())
        assert copy.terms[0].loss.get_config()["delta"] == 0.3
    else:
        with pytest.raises(ValueError, match="would give other values"):
            layer.get_config()
    plain = kp.PhysicsTerm("r", loss=keras.losses.Huber())
    kp.PhysicsRegularization(problems.residual, [plain]).get_config()


@pytest.mark.slow
def test_checkpoint_and_early_stopping_restore_term_weights(tmp_path):
    z, x = data()
    model = physics_model()
    model.compile("adam", "mse")
    path = str(tmp_path / "best.keras")
    raise_x = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: kp.set_term_weights(model, {"x": 0.5 + 10 * epoch})
    )
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor="val_data_loss", mode="min", save_best_only=True
    )
    stop = keras.callbacks.EarlyStopping("val_x_loss", mode="min", restore_best_weights=True)
    # The label term is the same in every epoch, so the first epoch is the best.
    callbacks = [raise_x, checkpoint, stop]
    model.fit(z, x, validation_data=(z, x), epochs=3, verbose=0, callbacks=callbacks)
    assert kp.get_term_weights(model) == {"x": 0.5, "z": 0.25}
    saved = kp.get_term_weights(keras.saving.load_model(path))["x"]
    best = int(np.argmin(model.history.history["val_data_loss"]))
    assert saved == 0.5 + 10 * best


def test_a_clone_starts_from_the_initial_weights():
    model = physics_model()
    kp.set_term_weights(model, {"x": 7.0})
    clone = keras.models.clone_model(model)
    assert isinstance(clone, kp.PhysicsModel)
    assert kp.get_term_weights(clone) == {"x": 0.5, "z": 0.25}


@pytest.mark.tensorflow
def test_exported_model_predicts_the_same(tmp_path):
    import tensorflow as tf

    model = trained(physics_model(problems.Gain()))
    z, _ = data()
    model.export(tmp_path / "served", verbose=0)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(z), model.predict(z, verbose=0), rtol=1e-6)
