"""One process of a distributed search: a chief or a worker, by KerasTuner's environment variables.

Each worker notes the trials that it begins and ends. One that is told to pause does so in its
second trial, where the test kills it; the others wait until then, so that there is a second one.
The chief ends when its input is closed.
"""

import os
import sys
import time
from pathlib import Path

import grpc
import keras_tuner

import keras_physreg as kp
from tests.tuner.searches import DATA, HELD_OUT, RANGES, build

MAX_TRIALS = 5


class Noting(kp.PhysicsHyperModel):
    def __init__(self, folder, pauses):
        super().__init__(build, RANGES, ramps={"x": (0, 2)})
        self.folder, self.pauses = folder, pauses
        self.begun = 0

    def fit(self, hp, model, *args, callbacks=None, **kwargs):
        trial = next(callback.trial for callback in callbacks if hasattr(callback, "trial"))
        self.note("begin", trial)
        self.begun += 1
        while self.pauses and self.begun == 2:
            (self.folder / "paused").touch()
            time.sleep(0.1)
        while not (self.folder / "paused").exists() and not self.pauses:
            time.sleep(0.1)
        history = super().fit(hp, model, *args, callbacks=callbacks, **kwargs)
        self.note("end", trial)
        return history

    def note(self, event, trial):
        with (self.folder / f"{os.environ['KERASTUNER_TUNER_ID']}.txt").open("a") as file:
            file.write(f"{event} {trial.trial_id}\n")


def make_tuner(folder, pauses=False):
    hypermodel = Noting(folder, pauses)
    return keras_tuner.RandomSearch(
        hypermodel,
        objective=hypermodel.objective,
        max_trials=MAX_TRIALS,
        seed=1,
        directory=folder,
        project_name="search",
    )


def answer_to_the_end(servers):
    """Keeps the servers of gRPC that KerasTuner lets go of, be the last worker answered or not.

    It looks whether there is one left every 20 seconds: here, more often.
    """
    make, sleep = grpc.server, time.sleep
    grpc.server = lambda *arguments: servers.append(make(*arguments)) or servers[-1]
    time.sleep = lambda seconds: sleep(min(seconds, 0.5))


if __name__ == "__main__":
    is_chief = os.environ["KERASTUNER_TUNER_ID"] == "chief"
    servers = []
    if is_chief:
        answer_to_the_end(servers)
    tuner = make_tuner(Path(sys.argv[1]), pauses="--pause" in sys.argv)
    tuner.search(*DATA, validation_data=HELD_OUT, epochs=2, verbose=0)
    if is_chief:
        print(kp.pareto_front(tuner, "z").summary(), flush=True)
        sys.stdin.read()
