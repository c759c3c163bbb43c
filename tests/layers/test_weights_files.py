"""Weights files that do not match raise an error before any layer is loaded."""

import io
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests import problems
from tests.problems import arrays_equal, bare_model, data, physics_model
from tests.variants import slow_but

# Keras warns of this if a layer that failed is also in a container.
pytestmark = pytest.mark.filterwarnings("ignore:Skipping nested container")
NO_WEIGHTS = {"NaN": np.nan, "negative": -0.5, "infinite": np.inf, "minus infinity": -np.inf}
FORMATS = ["some.weights.h5", "some.keras", "some.weights.json"]


def written(model, path):
    """Writes the weights of a model in the format given by the file name."""
    if path.suffix == ".keras":
        model.save(path)
    else:
        sharded = path.suffix == ".json"
        model.save_weights(path, **({"max_shard_size": 1e-7} if sharded else {}))
    return path


def with_weight(value, term="z", model_class=kp.PhysicsModel, **options):
    terms = {"term_list": {"r": 1.0}, "physics": problems.residual} if term == "r" else {}
    model = physics_model(model_class=model_class, **terms, **options)
    model.layers[-1].weight_variable(term).assign(value)
    return model


@pytest.mark.parametrize("kind", NO_WEIGHTS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("skip_mismatch", slow_but({False}, [False, True]))
def test_a_weight_that_is_none_is_refused_before_any_layer_is_loaded(
    kind, name, skip_mismatch, tmp_path
):
    value = NO_WEIGHTS[kind]
    path = written(with_weight(value), tmp_path / name)
    model = physics_model(seed=5)
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"weight of physics term 'z' must be finite .*{value!r}"):
        model.load_weights(path, skip_mismatch=skip_mismatch)
    assert arrays_equal(before, model.get_weights())


@pytest.mark.parametrize("name", FORMATS)
def test_the_formats_load_where_the_weights_are_good(name, tmp_path):
    saved = with_weight(1e-37, seed=3)
    path = written(saved, tmp_path / name)
    model = physics_model(seed=5)
    model.load_weights(path)
    assert arrays_equal(saved.get_weights(), model.get_weights())
    assert kp.get_term_weights(model) == {"x": 0.5, "z": 1e-37}


def test_a_model_with_such_a_weight_is_not_loaded(tmp_path):
    with_weight(np.nan).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"weight of physics term 'z' .*nan"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_a_plain_model_keeps_the_weights_of_its_terms(tmp_path):
    """Keras loads the layers one after another, and has no hook before the first one."""
    path = written(with_weight(-1.0, "r", keras.Model), tmp_path / "some.weights.h5")
    model = with_weight(1.0, "r", keras.Model)
    with pytest.raises(ValueError, match=r"weight of physics term 'r' .*-1\.0"):
        model.load_weights(path)
    with pytest.warns(UserWarning, match=r"weight of physics term 'r' .*-1\.0"):
        model.load_weights(path, skip_mismatch=True)
    assert kp.get_term_weights(model) == {"r": 1.0}


def test_the_weights_of_an_encoder_are_refused_with_two_ways_out(tmp_path):
    encoder = bare_model(seed=3)
    path = written(encoder, tmp_path / "encoder.weights.h5")
    model = physics_model(seed=5)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"no term weights.*encoder\.load_weights.*skip_mismatch"):
        model.load_weights(path)
    assert arrays_equal(before, model.get_weights())
    with pytest.warns(UserWarning, match="no term weights"):
        model.load_weights(path, skip_mismatch=True)
    assert arrays_equal(problems.trainable_values(model), encoder.get_weights())
    assert kp.get_term_weights(model) == {"x": 0.5, "z": 0.25}


def test_the_other_way_out_of_an_encoder_is_to_load_into_it(tmp_path):
    path = written(bare_model(seed=3), tmp_path / "encoder.weights.h5")
    encoder = bare_model(seed=5)
    model = kp.regularize(encoder, problems.doubling, problems.terms())
    encoder.load_weights(path)
    assert arrays_equal(problems.trainable_values(model), bare_model(seed=3).get_weights())


def test_layers_that_are_skipped_are_not_checked(tmp_path):
    path = written(bare_model(seed=3), tmp_path / "encoder.weights.h5")
    model = physics_model(seed=5)
    model.load_weights(path, objects_to_skip=[model.layers[-1]])
    assert arrays_equal(problems.trainable_values(model), bare_model(seed=3).get_weights())


def test_other_terms_are_refused_before_any_layer_is_loaded(tmp_path):
    path = written(physics_model(), tmp_path / "some.weights.h5")
    model = with_weight(1.0, "r", seed=5)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"other terms.*\['r_weight'\].*\['x_weight', 'z_weight"):
        model.load_weights(path)
    assert arrays_equal(before, model.get_weights())


@pytest.mark.parametrize("name", ["cut.weights.h5", "missing.weights.h5", "cut.keras"])
def test_what_cannot_be_read_is_left_to_keras(name, tmp_path):
    if name.startswith("cut"):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n cut")
    with pytest.raises((OSError, zipfile.BadZipFile)):
        physics_model().load_weights(tmp_path / name)


def test_a_file_of_keras_2_with_such_a_weight_is_refused(tmp_path):
    model = with_weight(np.nan)
    path = tmp_path / "old.h5"
    # With Keras itself: `PhysicsModel.save` raises for this format.
    keras.Model.save(model, path)
    with pytest.raises(ValueError, match=r"weight of physics term 'z' .*nan"):
        physics_model().load_weights(path)
    kp.set_term_weights(model, {"z": 3.0})
    keras.Model.save(model, path)
    other = physics_model()
    other.load_weights(path)
    assert kp.get_term_weights(other)["z"] == 3.0


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5"])
def test_a_format_that_keras_could_not_load_again_is_refused(name, tmp_path):
    path = tmp_path / name
    path.write_text("what was there before")
    with pytest.raises(ValueError, match=rf"`\.keras`.*filepath=.*{name}'"):
        physics_model().save(path)
    assert path.read_text() == "what was there before"


def test_a_folder_loads_again_whatever_its_name(tmp_path):
    model = physics_model()
    model.save(tmp_path / "model.h5", zipped=False)
    loaded = keras.saving.load_model(tmp_path / "model.h5")
    assert arrays_equal(model.get_weights(), loaded.get_weights())


def test_a_best_model_that_cannot_be_loaded_again_is_not_written(tmp_path):
    """`ModelCheckpoint` saves by `save`."""
    model = physics_model()
    model.compile("sgd", "mse")
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.h5")
    with pytest.raises(ValueError, match=r"`\.keras`"):
        model.fit(*data(), callbacks=[checkpoint], verbose=0)
    assert not (tmp_path / "best.h5").exists()


def test_an_own_layer_with_a_key_like_that_of_a_weight_is_not_taken_for_one(tmp_path):
    @keras.saving.register_keras_serializable(package="test_weights_files")
    class Offset(keras.layers.Layer):
        def build(self, shape):
            self.offset = self.add_weight(shape=(), initializer="zeros")

        def call(self, x):
            return x + self.offset

        def save_own_variables(self, store):
            store["x_weight"] = keras.ops.convert_to_numpy(self.offset)

        def load_own_variables(self, store):
            self.offset.assign(store["x_weight"])

    def model():
        z = keras.Input((3,))
        x = Offset()(keras.layers.Dense(2)(z))
        return kp.PhysicsModel(
            z, kp.PhysicsRegularization(problems.doubling, problems.terms())(z, x)
        )

    saved, other = model(), model()
    saved.layers[2].offset.assign(-7.0)
    other.load_weights(written(saved, tmp_path / "some.weights.h5"))
    assert float(other.layers[2].offset.numpy()) == -7.0


def test_the_layout_of_a_file_is_that_of_the_first_release(tmp_path):
    """Files written earlier load: the keys are `<term>_weight`."""
    path = written(physics_model(problems.BoundedGain()), tmp_path / "some.keras")
    with (
        zipfile.ZipFile(path) as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
    ):
        layer = file["layers/physics_regularization"]
        assert set(layer["vars"]) == {"x_weight", "z_weight"}
        assert set(layer["constants/constant/vars"]) == {"raw", "value"}
