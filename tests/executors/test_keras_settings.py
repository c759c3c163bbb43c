"""Settings of Keras travel to workers."""

import keras
import pytest

import keras_physreg as kp
from keras_physreg.executors.keras_settings import KerasSettings
from tests.executors.setups import Here, assert_same, fit, make, trained_by


def test_settings_hold_in_a_block():
    own = KerasSettings.of_process()
    other = KerasSettings("float64", "mixed_float16", "channels_first")
    with other.in_use():
        assert KerasSettings.of_process() == other
        assert keras.layers.Dense(1).compute_dtype == "float16"
    assert KerasSettings.of_process() == own


@pytest.mark.slow
def test_a_worker_trains_under_the_settings_of_the_sender():
    class Elsewhere(Here):
        def submit(self, function, /, *arguments, **settings):
            with KerasSettings("float32", "float32", "channels_last").in_use():
                return super().submit(function, *arguments, **settings)

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    model = make()
    history = fit(kp.ReplicaTrainer(model, {"law": [0.0, 1.0]}, [1, 2]))
    executor = Elsewhere()
    trainer = trained_by(executor, 1, model, build=make, weights={"law": [0.0, 1.0]}, seeds=[1, 2])
    assert_same(fit(trainer), history)
    assert executor.tasks == 1
