"""What a GradientMonitor costs: epochs with a measurement and epochs without, in turn, in one fit.

python tests/benchmarks/monitor.py [--epochs 120]

The models and data are those of the examples; the monitor is the default one on the held-out rows.
Its first measurement compiles a program and is shown apart. "With / without" is the median over
pairs of neighbouring epochs.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_physreg as kp

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import irradiance as ir
import pv_module_parameters as pv_example
import pv_modules as pv
import why_did_my_physics_hurt as example


class TimedMonitor(kp.GradientMonitor):
    """Notes how long each measurement takes."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures, on the clock."""
        start = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        if epoch % self.every == 0:
            self.lasted.append(time.perf_counter() - start)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begins a new list."""
        super().on_train_begin(logs)
        self.lasted: list[float] = []


class Clock(keras.callbacks.Callback):
    """Notes when each epoch begins; an epoch lasts until the next one begins."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the time."""
        self.begun.append(time.perf_counter())


def irradiance(batch_size: int) -> tuple:
    """The hourly file of why_did_my_physics_hurt.py: 2816 rows."""
    train, held_out = ir.split(ir.load("TMY3 Greensboro"))
    model = example.build(ir.closure, {"closure": 1.0})
    model.compile("adam", "mse")
    return model, (tuple(train), {"batch_size": batch_size}), tuple(held_out)


def pv_modules(steps_per_execution: int) -> tuple:
    """pv_module_parameters.py: 50 full batches of 100 rows an epoch, and validation."""
    data = pv.split(*pv.load_modules())
    model = pv_example.build_model(1.0, 1.0)
    model.compile("adam", "mse", steps_per_execution=steps_per_execution)
    settings = {
        "steps_per_epoch": pv_example.STEPS,
        "validation_data": data.validation,
        "validation_batch_size": 1000,
    }
    batches = tf.data.Dataset.from_tensors(data.labelled).repeat()
    return model, ((batches,), settings), data.validation


CASES = {
    "irradiance, 88 steps of 32 rows": lambda: irradiance(32),
    "irradiance, 22 steps of 128 rows": lambda: irradiance(128),
    "PV modules, 50 steps of 100 rows": lambda: pv_modules(1),
    "PV modules, 50 steps in one execution": lambda: pv_modules(50),
}


def measure(case: str, epochs: int) -> dict[str, float]:
    """Milliseconds of an epoch without a measurement and of one measurement, and their ratios."""
    model, (data, settings), probe = CASES[case]()
    model.fit(*data, **settings, shuffle=False, verbose=0)
    clock, monitor = Clock(), TimedMonitor(*probe, every=2)
    model.fit(
        *data,
        epochs=epochs + 1,
        callbacks=[clock, monitor],
        shuffle=False,
        verbose=0,
        **settings,
    )
    lasted = 1e3 * np.diff(clock.begun)
    pairs = lasted[2:-1:2], lasted[3::2]
    ratios = [with_it / without for with_it, without in zip(*pairs, strict=False)]
    return {
        "epoch": statistics.median(pairs[1]),
        "measurement": 1e3 * statistics.median(monitor.lasted[1:]),
        "ratio": statistics.median(ratios),
        "first": 1e3 * monitor.lasted[0],
    }


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=120)
    epochs = parser.parse_args().epochs
    print("| epoch | ms | measurement, ms | its share | with / without | first one, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        found = measure(case, epochs)
        print(
            f"| {case} | {found['epoch']:.1f} | {found['measurement']:.2f} | "
            f"{found['measurement'] / found['epoch']:.1%} | {found['ratio']:.3f} | "
            f"{found['first']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
