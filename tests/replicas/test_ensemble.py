"""An ensemble is one Keras model of the mean of the replicas' predictions."""

import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from tests import problems
from tests.replicas import trained
from tests.replicas.test_predictions import assert_close
from tests.sweep import models
from tests.variants import slow_but


def mean(predictions, replicas=slice(None)):
    return keras.tree.map_structure(lambda t: t[replicas].mean(axis=0), predictions)


@pytest.mark.parametrize("kind", slow_but(trained.QUICK, trained.KINDS))
def test_the_mean_of_the_predictions(kind):
    trainer, z = trained.of_kind(kind)
    kept = [v.numpy() for v in trainer.model.variables]
    joined = trainer.ensemble()
    assert problems.arrays_equal(kept, [v.numpy() for v in trainer.model.variables])
    expected = mean(trainer.predict(z))
    assert_close(joined.predict(z, verbose=0), expected)
    weights = trainer.model.get_weights()
    trainer.model.set_weights([np.zeros_like(w) for w in weights])
    assert_close(joined.predict(z, verbose=0), expected)
    trainer.model.set_weights(weights)


SAVED = ["norm", "nested", "several inputs", "several outputs", "listed outputs", "conv"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", slow_but({"several outputs"}, SAVED))
def test_saved_loaded_and_exported_it_predicts_the_same(kind, tmp_path):
    trainer, z = trained.of_kind(kind)
    joined = trainer.ensemble(spread=True)
    before = joined.predict(z, verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
        joined.save(tmp_path / "ensemble.keras")
    joined.export(str(tmp_path / "served"), verbose=False)
    # Of the lambda in one of them: Keras loads it only so.
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras", safe_mode=kind != "nested")
    assert_close(loaded.predict(z, verbose=0), before)
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.serve(keras.tree.map_structure(tf.constant, z))
    for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(before), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_process_without_this_package_loads_it(tmp_path):
    trainer, z = trained.of_kind("norm")
    joined = trainer.ensemble(spread=True)
    joined.save(tmp_path / "ensemble.keras")
    np.save(tmp_path / "z.npy", z)
    program = (
        "import sys, keras, numpy as np; folder = sys.argv[1];"
        "model = keras.saving.load_model(folder + '/ensemble.keras');"
        "mean, spread = model.predict(np.load(folder + '/z.npy'), verbose=0);"
        "np.savez(folder + '/found.npz', mean=mean, spread=spread);"
        "assert not any(name.startswith('keras_physreg') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True)
    with np.load(tmp_path / "found.npz") as found:
        expected = joined.predict(z, verbose=0)
        np.testing.assert_allclose(found["mean"], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["spread"], expected[1], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_spread_is_that_of_a_sample():
    trainer, z = trained.of_kind("mlp")
    center, spread = trainer.ensemble(spread=True).predict(z, verbose=0)
    predictions = trainer.predict(z)
    np.testing.assert_allclose(center, predictions.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(spread, predictions.std(axis=0, ddof=1), rtol=1e-4, atol=1e-6)


def test_the_spread_of_several_outputs_has_names():
    trainer, z = trained.of_kind("several outputs")
    found = trainer.ensemble(spread=True).predict(z, verbose=0)
    assert set(found) == {"x", "more", "x_spread", "more_spread"}
    deviation = trainer.predict(z)["more"].std(axis=0, ddof=1)
    np.testing.assert_allclose(found["more_spread"], deviation, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_some_replicas_at_their_last_epoch():
    trainer, z = trained.trained(models.mlp, models.mlp_data, epochs=3, monitor="loss", mode="max")
    joined = trainer.ensemble([2, 0], which="last")
    assert_close(joined.predict(z, verbose=0), mean(trainer.predict(z, "last"), [0, 2]))
    single = trainer.ensemble(np.array([1]))
    assert_close(single.predict(z, verbose=0), trainer.predict(z)[1])


def test_it_holds_no_physics_and_no_input_that_only_physics_needs():
    z, x = models.mlp_data()
    model = problems.endpoint_model()
    model.compile("sgd", "mse")
    trainer = kp.ReplicaTrainer(model, {}, [1, 2], engine="sequential")
    trainer.fit([z, x], x, verbose=0)
    joined = trainer.ensemble()
    assert len(joined.inputs) == 1
    assert_close(joined.predict(z, verbose=0), mean(trainer.predict([z, x])))
    assert type(joined).__module__.startswith("keras.")
    assert kp.strip_physics(joined).count_params() == joined.count_params()


@pytest.mark.slow
def test_it_can_be_compiled_by_the_names_of_the_outputs():
    trainer, z = trained.of_kind("several outputs")
    joined = trainer.ensemble()
    joined.compile(loss={"x": "mse", "more": "mae"})
    _, labels = trained.several_outputs_data()
    loss = joined.evaluate(z, labels, verbose=0, return_dict=True)["loss"]
    found = joined.predict(z, verbose=0)
    expected = np.mean((found["x"] - labels["x"]) ** 2)
    expected += np.mean(np.abs(found["more"] - labels["more"]))
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_means_of_half_precision_are_taken_in_full_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    trainer, z = trained.trained(
        lambda: trained._compiled(problems.physics_model()), models.mlp_data, epochs=1
    )
    found = trainer.ensemble().predict(z, verbose=0)
    assert found.dtype == np.float32
    expected = np.asarray(trainer.predict(z), "float32").mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def subclassed():
    model = problems.Subclassed(name="mine")
    model.compile("sgd", "mse")
    return model


def diverged():
    trainer = kp.ReplicaTrainer(models.mlp("sgd"), {"z": [0.0, 1e36, 1.0]}, engine="sequential")
    trainer.fit(*models.mlp_data(), batch_size=4, epochs=2, verbose=0)
    return trainer


@pytest.mark.slow
def test_refused():
    untrained = kp.ReplicaTrainer(models.mlp(), {"x": [0.0]}, engine="sequential")
    with pytest.raises(RuntimeError, match=r"no trained replicas yet: call `fit` first"):
        untrained.ensemble()
    own, _ = trained.trained(subclassed, models.mlp_data)
    with pytest.raises(ValueError, match=r"'mine' is subclassed.*average `predict\(x\)` over"):
        own.ensemble()
    trainer = diverged()
    for which in ("best", "last"):
        with pytest.raises(ValueError, match=rf"replicas \[1\].*{which} epoch.*replicas=\[0, 2\]"):
            trainer.ensemble(which=which)
    for replicas, words in (
        ([0, 3], r"different positions in 0\.\.2"),
        ([0, 0], "different positions"),
        ([], "must not be empty"),
    ):
        with pytest.raises(ValueError, match=words):
            trainer.ensemble(replicas)
    for replicas in ([0.5], [True], "01"):
        with pytest.raises(TypeError, match="`replicas` must be"):
            trainer.ensemble(replicas)
    with pytest.raises(ValueError, match=r"at least 2 replicas.*replicas=\[0\]"):
        trainer.ensemble([0], spread=True)
    with pytest.raises(TypeError, match=r"`spread` must be True or False"):
        trainer.ensemble(spread="yes")
    with pytest.raises(ValueError, match="which='first'"):
        trainer.ensemble(which="first")
