"""Which physics term is worth its weight? One call, on PV modules with 100 labels.

The equation. A datasheet `Z` (8 numbers) goes in, the five parameters `x` of the single-diode
equation come out; that equation gives the terms x and z (see pv_modules.py). The total loss is

    data_loss(x, x_pred) + weight_x * x_loss(x, x_hat) + weight_z * z_loss(Z, Z_pred)

The usual advice: train with both weights at 0, then raise one from 1e-10 in big steps and watch
training and held-out loss, then the other. `sanity_sweep` does this with the 100 labelled rows
alone: it splits them many times into training and held-out rows, trains all combinations as
replicas in compiled programs, and judges each weight by the held-out rows. It prints a table, a
verdict per term and how to train on all rows, and saves the figure.

The guide: guides/sanity_sweep.md

Run: python examples/sanity_sweep.py
"""

import argparse
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pv_modules as pv

import keras_physreg as kp

mpl.use("Agg")

# The model


def build_model():
    """A small network, and one layer that brings in the physics; both terms off."""
    Z = keras.Input((8,))
    hidden = keras.layers.Dense(64, activation="tanh")(Z)
    hidden = keras.layers.Dense(64, activation="tanh")(hidden)
    x_pred = keras.layers.Dense(5)(hidden)
    terms = [
        kp.PhysicsTerm("x", reference="target", components=[0, 1], weight=0.0),
        kp.PhysicsTerm("z", reference="input", components=[0, 1, 2, 3], weight=0.0),
    ]
    model = kp.PhysicsModel(Z, kp.PhysicsRegularization(pv.calc_reg_terms, terms)(Z, x_pred))
    model.compile(keras.optimizers.Adam(2e-3), loss="mse")
    return model


# The sweep


def main():
    """Sweeps, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300, help="of four steps each")
    parser.add_argument("--repeats", type=int, default=4, help="shuffles of the five folds")
    parser.add_argument("--seeds", type=int, default=2, help="in each split")
    parser.add_argument("--score", default="best", choices=["best", "last"], help="epoch scored")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "output", help="folder of what it saves"
    )
    arguments = parser.parse_args()

    Z, x = pv.load_modules()
    labelled = pv.split(Z, x, labelled=100, seed=0).labelled
    result = kp.sanity_sweep(
        build_model(),
        *labelled,
        weights=np.geomspace(1e-10, 1, 11),
        cv=5,
        repeats=arguments.repeats,
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        batch_size=20,
        score=arguments.score,
    )
    print(result.summary())
    arguments.out.mkdir(parents=True, exist_ok=True)
    result.save(arguments.out / "sanity_sweep.json")
    result.plot().savefig(arguments.out / "sanity_sweep.png", dpi=150)
    print(f"\nSaved in {arguments.out}: sanity_sweep.json, sanity_sweep.png")


if __name__ == "__main__":
    main()
