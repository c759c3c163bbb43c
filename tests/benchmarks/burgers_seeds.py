"""How near to the solution of Burgers' equation, and after how long: six seeds, and DeepXDE.

ours: examples/burgers.py, 2500 steps of Adam and 700 iterations of `refine`.

deepxde: the recipe of its documentation, 15000 steps of Adam and then L-BFGS, where DeepXDE is
installed; see deepxde_models.py. `--lbfgs 15000` is as many iterations as there, if it does not end
before.

Both have the same network of 3 layers of 20 tanh units. The error is the relative L2 error on the
grid of 256 x 100 points of the reference solution. CPU time counts the work of all cores. Building
and compiling are included.

Run: python tests/benchmarks/burgers_seeds.py ours --seeds 0 1 2 3 4 5
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import deepxde_models
import keras
import numpy as np

import keras_physreg as kp

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import burgers as example

# What was done, and the relative L2 error after it.
Course = Iterator[tuple[str, float]]
EPOCHS, ITERATIONS = 25, 700


def ours(seed: int, lbfgs: int) -> Course:
    """Trains the model of the example."""
    keras.utils.set_random_seed(seed)
    points, model = example.make_points(), example.build(EPOCHS)
    steps = example.STEPS_PER_EPOCH
    model.fit(points=points, epochs=EPOCHS, steps_per_epoch=steps, verbose=0)
    yield f"Adam, {EPOCHS * steps} steps", example.solution(model)[1]
    done = kp.refine(model, points=points, iterations=ITERATIONS, verbose=0)
    yield f"`refine`, {len(done.epoch) - 1} iterations", example.solution(model)[1]


def deepxde(seed: int, lbfgs: int) -> Course:
    """Trains by the recipe of DeepXDE's documentation, with at most so many iterations."""
    z, exact = example.reference()

    def error(predict: Callable) -> float:
        off = predict(z.reshape(-1, 2)).reshape(exact.shape) - exact
        return float(np.linalg.norm(off) / np.linalg.norm(exact))

    yield from deepxde_models.trained_burgers(seed, example.VISCOSITY, error, lbfgs)


WAYS: dict[str, Callable[[int, int], Course]] = {"ours": ours, "deepxde": deepxde}


def main() -> None:
    """Prints a Markdown table, and the median of the last errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="+", choices=WAYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(6)])
    parser.add_argument("--lbfgs", type=int, default=1000, help="most iterations in DeepXDE")
    options = parser.parse_args()
    print("| way | seed | after | L2 error | wall, s | CPU, s |\n" + "| --- " * 6 + "|")
    for way in options.ways:
        if way == "deepxde" and not deepxde_models.is_installed():
            print("| deepxde | | skipped: it is not installed | | | |")
            continue
        last = []
        for seed in options.seeds:
            wall, cpu = time.perf_counter(), time.process_time()
            for what, error in WAYS[way](seed, options.lbfgs):
                spent = time.perf_counter() - wall, time.process_time() - cpu
                print(
                    f"| {way} | {seed} | {what} | {error:.4f} | {spent[0]:.0f} | {spent[1]:.0f} |",
                    flush=True,
                )
            last.append(error)
        print(f"| {way} | median of {len(last)} | | {statistics.median(last):.4f} | | |")


if __name__ == "__main__":
    main()
