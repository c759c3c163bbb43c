"""Runs a search in a folder; says "ready" once it begins, as a process that can be killed.

python -m tests.tuner.killable_search FOLDER
"""

import json
import pathlib
import sys

from keras_physreg.tuner.search.group_trainer import GroupTrainer
from tests.tuner.replica_searches import make_tuner, outcomes, random_oracle, search

TRIALS = 8


def log_training(folder):
    """Writes the ids of the trials that are trained to a file, when their training begins."""
    train = GroupTrainer.train

    def logged(self, structure, trials):
        with (folder / "trained.txt").open("a") as file:
            file.writelines(f"{trial.trial_id}\n" for trial in trials)
        return train(self, structure, trials)

    GroupTrainer.train = logged


def main(folder):
    log_training(folder)
    print("ready", flush=True)
    settings = {"oracle": random_oracle(TRIALS), "replicas": 2, "engine": "sequential"}
    tuner = search(make_tuner(folder, **settings))
    (folder / "outcomes.json").write_text(json.dumps(outcomes(tuner)))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
