"""What a WeightScheduler costs: `fit` with it against without, in turn, median of the ratios.

python tests/benchmarks/overhead_scheduler.py [--repeats 15]
"""

import argparse
import statistics
import time

import keras
import numpy as np

import keras_physreg as kp

STEPS, EPOCHS = 50, 10


def physics(z, x_pred):
    """Two cheap terms: nothing that could hide the cost of the callback."""
    return {"x": z[:, :5] * 0.5, "z": x_pred[:, :4] * 2.0}


def build(steps_per_execution: int) -> keras.Model:
    """The encoder of the examples, with a target term and a label-free one."""
    z = keras.Input((8,))
    hidden = keras.layers.Dense(64, "tanh")(keras.layers.Dense(64, "tanh")(z))
    x_pred = keras.layers.Dense(5)(hidden)
    terms = [
        kp.PhysicsTerm("x", "target", weight=1e-3),
        kp.PhysicsTerm("z", "input", components=range(4), weight=1e-3),
    ]
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(physics, terms)(z, x_pred))
    model.compile("adam", "mse", steps_per_execution=steps_per_execution)
    return model


def scheduler(unit: str) -> kp.WeightScheduler:
    """Two ramps that move at every epoch, or at every step."""
    ramp = kp.GeometricRamp(1e-10, 1.0, duration=10**6)
    return kp.WeightScheduler({"x": ramp, "z": ramp}, unit=unit)


def seconds(model: keras.Model, data: tuple, batch_size: int, callbacks: list) -> float:
    """Wall time of one fit."""
    start = time.perf_counter()
    settings = {"batch_size": batch_size, "epochs": EPOCHS, "verbose": 0, "shuffle": False}
    model.fit(*data, callbacks=callbacks, **settings)
    return time.perf_counter() - start


def measure(batch_size: int, unit: str, steps_per_execution: int, repeats: int) -> tuple:
    """Milliseconds a step without the callback, and the ratios of each pair of fits."""
    rng = np.random.default_rng(0)
    rows = batch_size * STEPS
    data = (
        rng.normal(size=(rows, 8)).astype("float32"),
        rng.normal(size=(rows, 5)).astype("float32"),
    )
    model = build(steps_per_execution)
    seconds(model, data, batch_size, [])
    without, ratios = [], []
    for repeat in range(repeats):
        times = {}
        for scheduled in (False, True) if repeat % 2 else (True, False):
            callbacks = [scheduler(unit)] if scheduled else []
            times[scheduled] = seconds(model, data, batch_size, callbacks)
        without.append(times[False])
        ratios.append(times[True] / times[False])
    return 1e3 * statistics.median(without) / (STEPS * EPOCHS), ratios


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(f"{STEPS} steps an epoch, two ramps, {repeats} pairs of fits of {EPOCHS} epochs each.\n")
    print(
        "| unit | batch size | steps per execution | fit, ms a step | with / without | quartiles |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for unit in ("epoch", "step"):
        for batch_size, steps_per_execution in ((32, 1), (32, 25), (4096, 1)):
            step, ratios = measure(batch_size, unit, steps_per_execution, repeats)
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"| {unit} | {batch_size} | {steps_per_execution} | {step:.2f} "
                f"| {middle:.3f} | {low:.3f} to {high:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
