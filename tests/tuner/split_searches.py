"""Searches by cross-validation whose losses are made up, and what must come of them."""

import numpy as np

import keras_physreg as kp
from tests.tuner.replica_searches import DATA, make_tuner, random_oracle

SPLITS = {"cv": 3, "repeats": 2}
COUNT = 6  # splits
EPOCHS = 4


class SplitTrainer:
    """Makes up losses from weights, held-out rows, seeds and epochs: see `loss`."""

    plans = []  # noqa: RUF012 - of each training: weights, seeds, rows and held-out rows

    def __init__(self, model, weights, seeds, **settings):
        self.model, self.weights, self.seeds = model, weights, seeds

    def fit(self, epochs, monitor, mode, rows, validation_rows, **settings):
        self.epochs, self.monitor = epochs, monitor
        return self._trained(rows, validation_rows)

    def refit(self, weights, seeds, verbose, rows, validation_rows):
        self.weights, self.seeds = weights, seeds
        return self._trained(rows, validation_rows)

    def load_replica(self, replica):
        kp.set_term_weights(self.model, {name: w[replica] for name, w in self.weights.items()})

    def _trained(self, rows, held_out):
        self.plans.append((self.weights, self.seeds, rows, held_out))
        x, z = (np.asarray(self.weights[name]) for name in ("x", "z"))
        first = np.array([part.sum() for part in held_out])
        seeds = np.zeros(len(x)) if self.seeds is None else np.asarray(self.seeds)
        epochs = np.arange(self.epochs)[:, None]
        losses = self.loss(x, z, first, seeds, epochs)
        return kp.ReplicaHistory(
            history={
                "loss": np.ones_like(losses),
                "val_loss": np.ones_like(losses),
                "val_data_loss": losses,
                "val_x_loss": losses + 1,
            },
            weights={"x": x, "z": z},
            seeds=self.seeds,
            engine="invented",
            monitor=self.monitor,
            best_epoch=losses.argmin(axis=0),
            epochs_done=np.full(len(x), self.epochs),
        )

    @staticmethod
    def loss(x, z, rows, seeds, epochs):
        """Least at the second epoch; better with x, worse with z; the splits vary."""
        size = 1 + 0.1 * np.sin(rows + 3 * seeds) + 0.02 * np.sin(7 * rows * x)
        return size * np.exp(-0.05 * x + 0.05 * z) * (1 + 0.1 * (epochs - 1) ** 2)


def invent(monkeypatch, trainer=SplitTrainer):
    from keras_physreg.tuner.search import group_trainer

    monkeypatch.setattr(group_trainer, "ReplicaTrainer", trainer)
    monkeypatch.setattr(trainer, "plans", [])
    return trainer.plans


def split_tuner(folder, **settings):
    return make_tuner(folder, **{"oracle": random_oracle(6), **SPLITS, **settings})


def search(tuner, **settings):
    tuner.search(*DATA, **{"epochs": EPOCHS, "verbose": 0, **settings})
    return tuner


def losses_of(plan, replicas):
    """The losses that `SplitTrainer` makes up, of shape `(replicas, epochs)`."""
    weights, seeds, _, held_out = plan
    x, z = (np.asarray(weights[name])[replicas] for name in ("x", "z"))
    rows = np.array([held_out[replica].sum() for replica in replicas])
    of_seeds = np.asarray(seeds)[replicas]
    return SplitTrainer.loss(x, z, rows, of_seeds, np.arange(EPOCHS)[:, None]).T
