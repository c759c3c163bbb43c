"""Small searches of the ReplicaTuner, and what the tests ask of them."""

import keras_tuner
import numpy as np

import keras_physreg as kp
from keras_physreg.tuner.search import group_trainer
from tests import problems

DATA = problems.data(12)
VALIDATION = problems.data(12, seed=1)
WEIGHTS = {"x": (1e-2, 10.0), "z": (1e-2, 10.0)}


def build(hp, physics=problems.doubling):
    model = problems.physics_model(physics)
    model.compile("sgd", "mse")
    return model


def random_oracle(max_trials=6, **settings):
    return keras_tuner.oracles.RandomSearchOracle(max_trials=max_trials, seed=1, **settings)


def make_tuner(folder, build=build, oracle=None, replicas=3, weights=WEIGHTS, **settings):
    hypermodel = kp.PhysicsHyperModel(build, weights, include_zero=False)
    settings = {"directory": folder, "project_name": "search", **settings}
    return kp.ReplicaTuner(hypermodel, oracle or random_oracle(), replicas, **settings)


def search(tuner, **settings):
    settings = {"validation_data": VALIDATION, "epochs": 2, "verbose": 0, **settings}
    tuner.search(*DATA, **settings)
    return tuner


def outcomes(tuner):
    """Values, status and score of each trial."""
    return {
        trial_id: (trial.hyperparameters.values, trial.status, trial.score)
        for trial_id, trial in tuner.oracle.trials.items()
    }


def record_training(monkeypatch):
    """Returns the list to which the ids of trials are added that are trained."""
    trained = []
    train = group_trainer.GroupTrainer.train

    def recorded(self, structure, trials):
        trained.extend(trial.trial_id for trial in trials)
        return train(self, structure, trials)

    monkeypatch.setattr(group_trainer.GroupTrainer, "train", recorded)
    return trained


class InventingTrainer:
    """Makes histories up from the weights; for tests of all but the training.

    The best epoch is the first one, with a `val_data_loss` of (x - 1)^2 + z.
    """

    def __init__(self, model, weights, seeds, **settings):
        self.model, self.weights, self.seeds = model, weights, seeds

    def fit(self, epochs, monitor, mode, **settings):
        self.epochs, self.monitor = epochs, monitor
        return self._history()

    def refit(self, weights, seeds, verbose):
        self.weights, self.seeds = weights, seeds
        return self._history()

    def load_replica(self, replica):
        kp.set_term_weights(self.model, {name: w[replica] for name, w in self.weights.items()})

    def _history(self):
        x, z = (np.asarray(self.weights[name]) for name in ("x", "z"))
        loss = (x - 1) ** 2 + z + np.arange(self.epochs)[:, None]
        return kp.ReplicaHistory(
            history=dict.fromkeys(("loss", "val_loss", "val_data_loss"), loss),
            weights={"x": x, "z": z},
            seeds=self.seeds,
            engine="invented",
            monitor=self.monitor,
            best_epoch=np.zeros(len(x), int),
            epochs_done=np.full(len(x), self.epochs),
        )


def invent(monkeypatch):
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", InventingTrainer)
