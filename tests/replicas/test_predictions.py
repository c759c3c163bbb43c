"""The predictions of all replicas are those of `load_replica` and `model.predict`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from tests import problems
from tests.replicas import trained
from tests.sweep import models
from tests.variants import slow_but


def loaded(trainer, z, which="best", batch_size=8):
    """What the model predicts once a replica is loaded, replica by replica."""
    kept = trainer.model.get_weights()
    found = []
    for replica in range(trainer.replicas):
        trainer.load_replica(replica, which)
        found.append(trainer.model.predict(z, batch_size=batch_size, verbose=0))
    trainer.model.set_weights(kept)
    return keras.tree.map_structure(lambda *arrays: np.stack(arrays), *found)


def assert_close(ours, theirs):
    keras.tree.assert_same_structure(ours, theirs)
    for a, b in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", slow_but(trained.QUICK, trained.KINDS))
def test_each_replica_predicts_as_when_it_is_loaded(kind):
    trainer, z = trained.of_kind(kind)
    kept = [v.numpy() for v in trainer.model.variables]
    ours = trainer.predict(z, batch_size=8)
    assert problems.arrays_equal(kept, [v.numpy() for v in trainer.model.variables])
    assert_close(ours, loaded(trainer, z))
    first = keras.tree.flatten(ours)[0]
    assert first.shape[:2] == (3, models.ROWS)
    assert not np.allclose(first[0], first[1])


@pytest.mark.slow
def test_the_last_epoch_is_another_than_the_best():
    trainer, z = trained.trained(models.mlp, models.mlp_data, epochs=3, monitor="loss", mode="max")
    best, last = trainer.predict(z), trainer.predict(z, "last")
    assert not np.allclose(best, last)
    assert_close(best, loaded(trainer, z))
    assert_close(last, loaded(trainer, z, "last"))


def test_other_rows_and_other_batches_give_the_same():
    trainer, _ = trained.of_kind("mlp")
    more = models.mlp_data(37, seed=5)[0]
    whole = trainer.predict(more, batch_size=37)
    assert whole.shape == (3, 37, 2)
    np.testing.assert_allclose(trainer.predict(more, batch_size=5), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_physics_is_not_computed():
    def counted(z, x_pred):
        calls.append(z)
        return problems.doubling(z, x_pred)

    calls = []
    trainer, z = trained.trained(
        lambda: trained._compiled(problems.physics_model(counted)), models.mlp_data
    )
    calls.clear()
    trainer.predict(z)
    assert calls == []


class OwnStep(kp.PhysicsModel):
    def predict_step(self, data):
        return 10.0 * super().predict_step(data)


class OwnPredict(kp.PhysicsModel):
    def predict(self, *args, **kwargs):
        return 10.0 * super().predict(*args, **kwargs)


class Counter(keras.layers.Layer):
    """Adds up what it has seen, in a variable that Keras does not list."""

    def __init__(self):
        super().__init__()
        self.seen = tf.Variable(0.0)

    def call(self, z):
        self.seen.assign_add(1.0)
        return z * self.seen


@pytest.mark.slow
@pytest.mark.parametrize("model_class", slow_but({OwnStep}, [OwnStep, OwnPredict]))
def test_a_model_that_predicts_in_its_own_way(model_class):
    trainer, z = trained.trained(
        lambda: trained._compiled(problems.physics_model(model_class=model_class)), models.mlp_data
    )
    assert_close(trainer.predict(z, batch_size=8), loaded(trainer, z))


@pytest.mark.slow
def test_hidden_state_is_the_same_for_each_replica():
    z = keras.Input((3,))
    counter = Counter()
    model = keras.Model(z, keras.layers.Dense(2)(counter(z)))
    trainer, z = trained.trained(lambda: trained._compiled(model), models.mlp_data)
    counter.seen.assign(1.0)
    ours = trainer.predict(z, batch_size=8)
    assert float(counter.seen.numpy()) == 1.0
    for replica in range(3):
        trainer.load_replica(replica)
        counter.seen.assign(1.0)
        np.testing.assert_allclose(ours[replica], model.predict(z, batch_size=8, verbose=0))


def test_nan_for_a_replica_that_diverged():
    z, x = models.mlp_data()
    trainer = kp.ReplicaTrainer(models.mlp("sgd"), {"z": [0.0, 1e36]}, engine="sequential")
    trainer.fit(z, x, batch_size=4, epochs=2, verbose=0)
    for which in ("best", "last"):
        found = trainer.predict(z, which)
        assert np.isfinite(found[0]).all()
        assert np.isnan(found[1]).all()


def test_bad_input():
    trainer = kp.ReplicaTrainer(models.mlp(), {"x": [0.0]}, engine="sequential")
    with pytest.raises(RuntimeError, match=r"no trained replicas yet: call `fit` first"):
        trainer.predict(models.mlp_data()[0])
    trainer, z = trained.of_kind("mlp")
    with pytest.raises(ValueError, match=r"'best' or 'last'.*which='initial'"):
        trainer.predict(z, "initial")
    with pytest.raises(ValueError, match=r"`batch_size` must be an integer >= 1"):
        trainer.predict(z, batch_size=0)
    with pytest.raises(ValueError, match=r"`x` must be arrays in memory"):
        trainer.predict(3.0)
