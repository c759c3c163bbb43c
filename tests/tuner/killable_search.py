"""Runs a search in a folder; says "ready" once it begins, as a process that can be killed.

python -m tests.tuner.killable_search FOLDER ORACLE
"""

import json
import pathlib
import sys
import warnings

import keras_tuner

from keras_physreg.tuner.search.group_trainer import GroupTrainer
from tests import problems
from tests.tuner.replica_searches import make_tuner, outcomes, search

TRIALS = 8
ORACLES = {
    "random": lambda: keras_tuner.oracles.RandomSearchOracle(max_trials=TRIALS, seed=1),
    "grid": lambda: keras_tuner.oracles.GridSearchOracle(max_trials=TRIALS),
    "bayesian": lambda: keras_tuner.oracles.BayesianOptimizationOracle(
        max_trials=TRIALS, num_initial_points=3, seed=1
    ),
}


def build(hp):
    """A model that trains eagerly: the search is killed in its own work, not in tracing."""
    model = problems.physics_model()
    model.compile("sgd", "mse", run_eagerly=True)
    return model


def log_training(folder):
    """Writes the ids of the trials that are trained to a file, when their training begins."""
    train = GroupTrainer.train

    def logged(self, structure, trials):
        with (folder / "trained.txt").open("a") as file:
            file.writelines(f"{trial.trial_id}\n" for trial in trials)
        return train(self, structure, trials)

    GroupTrainer.train = logged


def outcomes_of(folder, oracle):
    """Runs a search; returns what came of each trial."""
    settings = {"oracle": ORACLES[oracle](), "replicas": 2, "engine": "sequential"}
    return outcomes(search(make_tuner(folder, build, **settings)))


def main(folder, oracle):
    warnings.simplefilter("ignore")
    log_training(folder)
    print("ready", flush=True)
    (folder / "outcomes.json").write_text(json.dumps(outcomes_of(folder, oracle)))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
