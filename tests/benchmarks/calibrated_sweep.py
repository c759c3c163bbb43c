"""What is a term worth with trained constants, and what with untrained ones?

Labelled rows of measured sunlight (examples/irradiance.py), whose GHI sensor reads 20 % too low.
Its gain and offset are `Constant`s of the term "closure", which trains the network; "calibration"
trains them, at the labels. `sanity_sweep` sweeps "closure" twice: with "calibration" off, and as
it is by default, with "calibration" kept at its weight.

Run: python tests/benchmarks/calibrated_sweep.py [--sizes 20 50 100] [--factor 0.8]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import irradiance as ir
import sensor_offset

import keras_physreg as kp

WEIGHTS = (0.1, 1.0, 10.0)
EPOCHS = 400  # of one step: a batch holds all rows
OTHERS = {"untrained": {"calibration": 0.0}, "trained": "zero"}


def labelled(name, size, factor, seed=0):
    """Returns labelled rows of a file, drawn at random; its GHI is multiplied by `factor`."""
    everything = ir.load(name)
    rows = np.random.default_rng(seed).permutation(len(everything.Z))[:size]
    Z = everything.Z[rows] * np.array([factor, 1.0], "float32")
    return ir.Irradiance(Z, everything.x[rows])


def sweep(data, others):
    """Sweeps the term "closure"."""
    return kp.sanity_sweep(
        sensor_offset.build(steps=EPOCHS),
        *data,
        weights=WEIGHTS,
        others=others,
        cv=5,
        repeats=4,
        seeds=1,
        epochs=EPOCHS,
        batch_size=len(data.Z),
        extend_to=0,
        verbose=0,
    )


def main():
    """Prints a row per file, number of rows and state of the constants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", nargs="+", default=["RMIS 2022", "SURFRAD Alamosa"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[20, 50, 100])
    parser.add_argument("--factor", type=float, default=0.8, help="of the readings of GHI")
    options = parser.parse_args()
    heads = "".join(f"gain at {weight:g}".rjust(14) for weight in WEIGHTS)
    print(f"{'file':17}{'rows':>5} {'constants':10}{heads}  verdict, recommended")
    for name in options.files:
        for size in options.sizes:
            data = labelled(name, size, options.factor)
            for constants, others in OTHERS.items():
                result = sweep(data, others)
                verdict = result.verdicts["closure"]
                gains = "".join(f"{gain:12.1f} %" for gain in verdict.gains)
                weights = result.recommended_weights()
                found = f"{name:17}{size:5} {constants:10}{gains}  {verdict.verdict}, {weights}"
                print(found, flush=True)


if __name__ == "__main__":
    main()
