"""Times a ReplicaTuner against keras_tuner.RandomSearch on the two term weights of the PV modules.

Both run the same trials (the oracles have one seed), from the same initial weights, with the same
batches in the same order, for the same epochs: what differs is how. Time is the wall time of
`search`, with building, compiling, checkpoints and reports; the processor's time, of all threads,
stands beside it, as other work on the machine disturbs it less. After its first round of trials a
ReplicaTuner has its program; the steady time is the wall time of a trial in later rounds.

Run: python tests/benchmarks/tuner.py [--trials 64] [--epochs 100] [--replicas 16 64]
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

import keras_physreg as kp

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import pv_modules as pv

WEIGHTS = {"x": (1e-3, 1e3), "z": (1e-3, 1e3)}


def build(hp):
    keras.utils.set_random_seed(0)  # Every trial starts from the same weights.
    Z = keras.Input((8,))
    hidden = keras.layers.Dense(64, activation="tanh")(Z)
    hidden = keras.layers.Dense(64, activation="tanh")(hidden)
    terms = [
        kp.PhysicsTerm("x", reference="target", components=[0, 1]),
        kp.PhysicsTerm("z", reference="input", components=[0, 1, 2, 3]),
    ]
    layer = kp.PhysicsRegularization(pv.calc_reg_terms, terms)
    model = kp.PhysicsModel(Z, layer(Z, keras.layers.Dense(5)(hidden)))
    model.compile(keras.optimizers.Adam(2e-3), "mse")
    return model


class TimedReplicaTuner(kp.ReplicaTuner):
    """Notes when each trial ended."""

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        self.ended = [*getattr(self, "ended", []), time.perf_counter()]


def timed_search(tuner, data, epochs):
    """Returns the seconds of the search, those of the processor, and the trials by id."""
    begin, processor = time.perf_counter(), time.process_time()
    tuner.search(
        *data.labelled,
        validation_data=data.validation,
        epochs=epochs,
        batch_size=25,
        validation_batch_size=1000,
        shuffle=False,
        verbose=0,
    )
    return time.perf_counter() - begin, time.process_time() - processor, tuner.oracle.trials


def plain(hypermodel, trials, folder):
    return keras_tuner.RandomSearch(
        hypermodel, hypermodel.objective, trials, seed=1, directory=folder, project_name="plain"
    )


def replicas(hypermodel, trials, folder, count):
    oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=trials, seed=1)
    return TimedReplicaTuner(
        hypermodel, oracle, count, seed=None, directory=folder, project_name=f"replicas{count}"
    )


def disagreement(trials, reference):
    """Returns the relative differences of the objectives, trial by trial."""
    for trial_id, trial in trials.items():
        assert trial.hyperparameters.values == reference[trial_id].hyperparameters.values
        assert trial.status == reference[trial_id].status == "COMPLETED"
    pairs = [(trial.score, reference[trial_id].score) for trial_id, trial in trials.items()]
    return np.array([abs(ours / theirs - 1) for ours, theirs in pairs])


def best(trials):
    return min(trial.score for trial in trials.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=100, help="of four steps each")
    parser.add_argument("--replicas", nargs="+", type=int, default=[16, 64])
    arguments = parser.parse_args()
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {os.cpu_count()} cores")
    print(f"Load of the machine in the last minute: {os.getloadavg()[0]:.1f}")
    print(f"{arguments.trials} trials of {arguments.epochs} epochs, 4 steps each")
    data = pv.split(*pv.load_modules(), labelled=100, seed=0)
    hypermodel = kp.PhysicsHyperModel(build, WEIGHTS)
    print(f"{'tuner':<26}{'seconds':>9}{'times':>7}{'CPU s':>8}{'times':>7}", end="")
    print(f"{'s/trial steady':>16}{'times':>7}", end="")
    print(f"{'best objective':>16}{'disagreement: median':>22}{'largest':>10}")
    with tempfile.TemporaryDirectory() as folder:
        seconds, processor, reference = timed_search(
            plain(hypermodel, arguments.trials, folder), data, arguments.epochs
        )
        each = seconds / arguments.trials
        print(
            f"{'RandomSearch':<26}{seconds:9.1f}{1:7.1f}{processor:8.1f}{1:7.1f}{each:16.3f}{1:7.1f}",
            end="",
        )
        print(f"{best(reference):16.6f}", flush=True)
        for count in arguments.replicas:
            tuner = replicas(hypermodel, arguments.trials, folder, count)
            spent, ours, trials = timed_search(tuner, data, arguments.epochs)
            print(f"{f'ReplicaTuner, {count} replicas':<26}{spent:9.1f}", end="")
            print(f"{seconds / spent:7.1f}{ours:8.1f}{processor / ours:7.1f}", end="")
            if count < arguments.trials:
                later = tuner.ended[count:]
                steady = (later[-1] - tuner.ended[count - 1]) / len(later)
                print(f"{steady:16.3f}{each / steady:7.1f}", end="")
            else:
                print(f"{'':23}", end="")
            off = disagreement(trials, reference)
            print(f"{best(trials):16.6f}{np.median(off):22.1e}{off.max():10.1e}", flush=True)
    print(f"Load of the machine in the last minute: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
