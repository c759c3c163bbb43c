"""Small searches that the tuner's tests share."""

import keras
import keras_tuner

import keras_physreg as kp
from tests import problems

RANGES = {"x": (1e-3, 1.0), "z": (1e-2, 10.0)}
DATA = problems.data(20)
HELD_OUT = problems.data(20, seed=1)


def build(hp):
    model = problems.physics_model()
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse", run_eagerly=True)
    return model


class Measured(keras_tuner.HyperModel):
    """A hypermodel whose training is a formula."""

    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, *args, **kwargs):
        weights = kp.get_term_weights(model)
        return {
            "val_data_loss": 1 + weights["z"] ** 2,
            "val_z_loss": 1 / (1 + weights["z"]),
            "val_x_loss": 1 / (1 + weights["x"]),
        }


def search(tuner_class, hypermodel, directory, **kwargs):
    """Searches for a few epochs; returns the tuner."""
    given = {"objective": hypermodel.objective, "seed": 1, "max_trials": 2}
    fit = {"validation_data": HELD_OUT, "epochs": 2, "verbose": 0, **kwargs.pop("fit", {})}
    tuner = tuner_class(hypermodel, directory=directory, **{**given, **kwargs})
    tuner.search(*DATA, **{name: value for name, value in fit.items() if value is not None})
    return tuner
