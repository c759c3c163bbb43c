"""Kills a training with BackupAndRestore(double_checkpoint=True) many times, and resumes it.

Run from the project's root: python -m tests.callbacks.sigkills [--kills N] [--seed N]
Prints how each resumed training ended, beside one that was left alone.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import h5py

SCRIPT = pathlib.Path(__file__).with_name("resumable_training.py")


def start(folder, *arguments):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )


def files_left(backup):
    """Returns whether Keras can read the files that a kill has left."""
    try:
        h5py.File(backup / "latest.weights.h5", "r").close()
    except OSError:
        return "weights cut off"
    metadata = backup / "training_metadata.json"
    return "files whole" if metadata.exists() and metadata.read_text() else "metadata cut off"


def outcome(folder, whole, epochs):
    """Resumes a killed training to its end, and compares it with one that was not killed."""
    _, said = start(folder, "--epochs", str(epochs)).communicate()
    if not (folder / "result.json").exists():
        return f"error: {said.strip().splitlines()[-1]}"
    result = json.loads((folder / "result.json").read_text())
    same = [result[key] == whole[key] for key in ("weights", "term_weights", "iterations")]
    rest = {
        name: values[epochs - len(result["epochs"]) :] for name, values in whole["history"].items()
    }
    if all(same) and result["history"] == rest:
        return "as if it had never stopped"
    steps = whole["iterations"] // epochs
    repeated = (result["iterations"] - whole["iterations"]) / steps
    return f"{repeated:g} epoch(s) repeated" if repeated else "other numbers"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count, epochs = options.kills, options.epochs
    work, rng = pathlib.Path(tempfile.mkdtemp()), random.Random(options.seed)
    with start(work / "whole", "--epochs", str(epochs), "--say-epochs") as process:
        process.stdout.readline()
        begun = time.perf_counter()
        process.stdout.read()
        seconds = time.perf_counter() - begun
    whole = json.loads((work / "whole" / "result.json").read_text())
    outcomes = collections.Counter()
    for kill in range(count):
        folder = work / str(kill)
        with start(folder, "--epochs", str(epochs), "--say-epochs") as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.8 * seconds))
            process.send_signal(signal.SIGKILL)
        if (folder / "result.json").exists():
            outcomes["ended before the kill"] += 1
            continue
        left = files_left(folder / "backup")
        found = f"{left}: {outcome(folder, whole, epochs)}"
        print(f"kill {kill + 1}: {found}", flush=True)
        outcomes[found] += 1
    print(f"{count} kills:", dict(outcomes))


if __name__ == "__main__":
    main()
