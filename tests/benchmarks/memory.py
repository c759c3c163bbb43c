"""How much memory sweeps leave behind: many sweeps, one after the other, in one process.

python tests/benchmarks/memory.py [--sweeps 20] [--cases one alike cleared unlike tuner]

Each case runs in a process of its own. "one": all sweeps are of one model. "alike": each is of a
model that is built anew; the one before is gone. "cleared": the same, and
`keras.backend.clear_session` after each sweep. "unlike": each model has one more unit than the one
before, so that no program can be used again. "tuner": in place of each sweep, one trial of a model
unlike the others by KerasTuner's RandomSearch, compiled with `jit_compile=True`.

The memory is that of the process (resident set), after a garbage collection and after glibc's
`malloc_trim`, which gives back what is free: otherwise fragments hide what is kept.
"""

import argparse
import ctypes
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_physreg as kp

CASES = ("one", "alike", "cleared", "unlike", "tuner")
UNLIKE = ("unlike", "tuner")


def resident() -> float:
    """Returns the resident memory of this process in MiB, without what is free."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def build(units: int, **compile_arguments: Any) -> kp.PhysicsModel:
    """Returns a small model with two terms."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, "tanh"), keras.layers.Dense(2)]
    )
    model = kp.regularize(
        encoder, lambda z, x: {"slope": x - 2 * z[:, :2], "size": x}, {"slope": 0.0, "size": 0.0}
    )
    model.compile(keras.optimizers.Adam(1e-2), "mse", **compile_arguments)
    return model


def sweep(model: Any, data: Any) -> None:
    """Sweeps both terms."""
    weights = [1e-3, 1e-1, 1.0]
    kp.sanity_sweep(model, *data, cv=4, weights=weights, epochs=5, extend_to=0, verbose=0)


def search(units: int, data: Any) -> None:
    """Runs one trial of KerasTuner's RandomSearch."""
    import keras_tuner

    def trial(hp: Any) -> kp.PhysicsModel:
        model = build(units, jit_compile=True)
        kp.set_term_weights(model, {"slope": hp.Float("slope", 1e-3, 1.0, sampling="log")})
        return model

    train, held_out = [part[:48] for part in data], tuple(part[48:] for part in data)
    with tempfile.TemporaryDirectory() as folder:
        objective = keras_tuner.Objective("val_data_loss", "min")
        tuner = keras_tuner.RandomSearch(trial, objective, max_trials=1, directory=folder)
        tuner.search(*train, validation_data=held_out, epochs=5, verbose=0)


def measure(case: str, sweeps: int) -> list[tuple[float, float]]:
    """Returns the memory in MiB after each sweep, and the seconds that it took."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, 4)).astype("float32")
    data, found, model = (z, 2 * z[:, :2]), [], build(16)
    for number in range(sweeps):
        units = 16 + number * (case in UNLIKE)
        if case not in ("one", "tuner"):
            model = build(units)
        begin = time.perf_counter()
        if case == "tuner":
            search(units, data)
        else:
            sweep(model, data)
        seconds = time.perf_counter() - begin
        if case == "cleared":
            keras.backend.clear_session()
        found.append((resident(), seconds))
    return found


def main() -> None:
    """Prints the table, or in a process of its own the figures of one case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=20)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--alone", action="store_true", help="of one case, in this process")
    options = parser.parse_args()
    if options.alone:
        for memory, seconds in measure(options.cases[0], options.sweeps):
            print(memory, seconds, flush=True)
        return
    print("| models | MiB after sweep 1 | 2 | 5 | last | growth | seconds, 1 | last |")
    print("| --- " * 8 + "|")
    for case in options.cases:
        command = [sys.executable, __file__, "--alone", "--cases", case]
        command += ["--sweeps", str(options.sweeps)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows = [tuple(map(float, line.split())) for line in lines.splitlines()]
        memory, seconds = zip(*rows, strict=True)
        shown = [memory[min(n, len(memory)) - 1] for n in (1, 2, 5, len(memory))]
        cells = [f"{m:.0f}" for m in [*shown, memory[-1] - memory[0]]]
        cells += [f"{seconds[0]:.1f}", f"{seconds[-1]:.1f}"]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
