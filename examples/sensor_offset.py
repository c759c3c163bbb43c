"""Sensors that disagree: which gain and which offset make measured sunlight close?

The script of the guide "Unknown physical constants" (guides/constants.md). At the zenith angle z of
the sun three instruments must agree (see irradiance.py),

    GHI = DNI cos z + DHI                                                                       (1)

and in four files they do not quite. Gain and offset are unknown constants of the physics:

    GHI = gain (DNI cos z + DHI) + offset                                                       (2)

A network takes GHI and cos z and splits it into DNI and DHI; its loss is

    data_loss + weight * mean(((2) at the prediction, right less left)^2)
              + mean(((2) at the labels, right less left)^2)

The constants learn from the last term, and the network from the one before, where a `stop_gradient`
is around the constants. For comparison: the same with (1), for several seeds as replicas. Beside
them stands least squares at the labels, with 95 % intervals by a bootstrap over blocks of
consecutive rows (an hour, or in TMY3 about a day): Kuensch, "The Jackknife and the Bootstrap for
General Stationary Observations" (1989).

Run: python examples/sensor_offset.py [--out FOLDER]
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import irradiance as ir
import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import keras_physreg as kp

mpl.use("Agg")

BATCH = 128
BLOCK = {"TMY3 Greensboro": 12, "SURFRAD Alamosa": 60, "RMIS 2022": 12, "RMIS 2019": 12}  # rows


# The physics


@keras.saving.register_keras_serializable(package="sensor_offset")
class Calibrated(keras.layers.Layer):
    """Equation (2) at the prediction, and at the label, where its two constants learn."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = kp.Constant(1.0, low=0.5, high=1.5, name="gain")
        self.offset = kp.Constant(0.0, low=-200.0, high=200.0, unit="W/m2", name="offset")

    def call(self, inputs, x_pred):
        """Returns what the sum of DNI and DHI says of GHI, less GHI, in kW/m2."""
        gain, offset = self.gain(), self.offset() / ir.KW
        given = ops.stop_gradient(gain), ops.stop_gradient(offset)
        return {
            "closure": equation(inputs["Z"], x_pred, *given),
            "calibration": equation(inputs["Z"], inputs["label"], gain, offset),
        }


def equation(Z, x, gain, offset):
    """Returns right less left of equation (2); all in kW/m2."""
    return gain * (x[:, 0] * Z[:, 1] + x[:, 1]) + offset - Z[:, 0]


@keras.saving.register_keras_serializable(package="sensor_offset")
def uncalibrated(inputs, x_pred):
    """Equation (1) at the prediction."""
    return ir.closure(inputs["Z"], x_pred)


# The model


def inputs_of(data):
    """Returns what the model takes: the label goes to the physics alone."""
    return {"Z": data.Z, "label": data.x}


def build(physics, steps=1000, weight=1.0):
    """A small network, and one layer that brings in the physics."""
    keras.utils.set_random_seed(0)
    inputs = {name: keras.Input((2,), name=name) for name in ("Z", "label")}
    hidden = keras.layers.Dense(32, activation="tanh")(inputs["Z"])
    hidden = keras.layers.Dense(32, activation="tanh")(hidden)
    x_pred = keras.layers.Dense(2)(hidden)
    terms = {"closure": weight}
    if isinstance(physics, Calibrated):
        terms["calibration"] = 1.0
    model = kp.PhysicsModel(inputs, kp.PhysicsRegularization(physics, terms)(inputs, x_pred))
    rate = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    return model


def train(physics, data, seeds, steps, weight=1.0):
    """Trains one replica per seed on random batches, all rows equally often."""
    rng, size = np.random.default_rng(0), max(steps // 20, 1) * BATCH
    passes = [rng.permutation(len(data.Z)) for _ in range(-(-size // len(data.Z)))]
    rows = np.concatenate(passes)[:size]
    drawn = ir.Irradiance(data.Z[rows], data.x[rows])
    trainer = kp.ReplicaTrainer(build(physics, steps, weight), {}, seeds=range(seeds))
    trainer.fit(inputs_of(drawn), drawn.x, batch_size=BATCH, epochs=20, verbose=0)
    return trainer


# What they find


class Found(NamedTuple):
    """What one file shows; residuals and offsets in W/m2."""

    gain: np.ndarray  # one per seed
    offset: np.ndarray
    at_labels: tuple  # the same of least squares, each (value, low, high)
    mean: dict  # mean residual at the held-out labels, "before" and "after"
    rms: dict
    sums: dict  # mean error of the predicted DNI cos z + DHI on held-out rows, one per seed
    reports: dict


def least_squares(data):
    """Returns gain and offset (W/m2) of equation (2) that fit the labels best."""
    total = data.x[:, 0] * data.Z[:, 1] + data.x[:, 1]
    design = np.stack([total, np.full_like(total, 1 / ir.KW)], axis=-1).astype("float64")
    return np.linalg.lstsq(design, data.Z[:, 0].astype("float64"), rcond=None)[0]


def bootstrap(data, block, draws, seed=0):
    """Returns low and high ends of least-squares gain and offset: 95 % over blocks of rows."""
    rng = np.random.default_rng(seed)
    blocks = [np.arange(i, min(i + block, len(data.Z))) for i in range(0, len(data.Z), block)]
    drawn = []
    for _ in range(draws):
        rows = np.concatenate([blocks[k] for k in rng.integers(len(blocks), size=len(blocks))])
        drawn.append(least_squares(ir.Irradiance(data.Z[rows], data.x[rows])))
    return np.percentile(drawn, [2.5, 97.5], axis=0)


def residual(data, gain, offset):
    """Returns right less left of equation (2) at the labels, in W/m2."""
    total = data.x[:, 0] * data.Z[:, 1] + data.x[:, 1]
    return (gain * total - data.Z[:, 0]) * ir.KW + offset


def replicas(trainer, data, seeds):
    """Returns mean errors of the predicted DNI cos z + DHI (W/m2) and the constants, by seed."""
    errors, constants = [], []
    for k in range(seeds):
        trainer.load_replica(k)
        served = kp.strip_physics(trainer.model)
        error = (ops.convert_to_numpy(served({"Z": data.Z})) - data.x) * ir.KW
        errors.append(float(np.mean(error[:, 0] * data.Z[:, 1] + error[:, 1])))
        constants.append(kp.get_constants(trainer.model))
    return np.array(errors), constants


def look_at(name, seeds, steps, weight, draws):
    """Trains on one file with equations (1) and (2)."""
    everything = ir.load(name)
    data, held_out = ir.split(everything)
    sums, reports, constants = {}, {}, []
    for when, physics in (("before", uncalibrated), ("after", Calibrated())):
        trainer = train(physics, data, seeds, steps, weight)
        sums[when], constants = replicas(trainer, held_out, seeds)
        trainer.load_replica(0)
        unseen = (inputs_of(held_out), held_out.x)
        reports[when] = kp.diagnose(trainer.model, inputs_of(data), data.x, validation_data=unseen)
    gain, offset = (np.array([row[what] for row in constants]) for what in ("gain", "offset"))
    left = {"before": residual(held_out, 1.0, 0.0)}
    left["after"] = residual(held_out, gain.mean(), offset.mean())
    ends = bootstrap(everything, BLOCK[name], draws)
    return Found(
        gain=gain,
        offset=offset,
        at_labels=tuple(zip(least_squares(data), *ends, strict=True)),
        mean={when: float(r.mean()) for when, r in left.items()},
        rms={when: float(np.sqrt(np.mean(r**2))) for when, r in left.items()},
        sums=sums,
        reports=reports,
    )


# The table and the picture


def print_table(found):
    """Prints the four files in the order of their inconsistency."""
    print(
        "Closure at the held-out labels (right less left of the equation), W/m2, and mean error\n"
        "of the predicted DNI cos z + DHI there: with gain 1 and offset 0, and with those found\n"
    )
    print(f"{'':17}{'mean':>16}{'rms':>17}{'of predicted sums':>21}")
    print(
        f"{'file':17}{'before':>8}{'after':>8}{'before':>9}{'after':>8}{'before':>12}{'after':>9}"
    )
    for name, row in found.items():
        print(
            f"{name:17}{row.mean['before']:+8.2f}{row.mean['after']:+8.2f}"
            f"{row.rms['before']:9.2f}{row.rms['after']:8.2f}"
            f"{row.sums['before'].mean():+12.2f}{row.sums['after'].mean():+9.2f}"
        )
    print(
        "\nThe constants: trained (mean and range over seeds), and least squares at the same\n"
        "labels, with the 95 % interval over blocks of rows of the whole file\n"
    )
    for what, unit in (("gain", ""), ("offset", " (W/m2)")):
        digits = 4 if what == "gain" else 1
        print(f"{what + unit:17}{'trained':>30}{'at the labels':>34}")
        for name, row in found.items():
            values = getattr(row, what)
            value, low, high = row.at_labels[what == "offset"]
            print(
                f"{name:17}{values.mean():10.{digits}f} "
                f"{f'({values.min():.{digits}f} to {values.max():.{digits}f})':>20}"
                f"{value:12.{digits}f} {f'({low:.{digits}f} to {high:.{digits}f})':>20}"
            )
        print()
    print("Findings before and after:\n")
    for name, row in found.items():
        codes = {
            when: ", ".join(dict.fromkeys(f.code for f in report.findings)) or "none"
            for when, report in row.reports.items()
        }
        print(f"{name:17}{codes['before']}  ->  {codes['after']}")


def draw(found, path):
    """Draws both constants, and the bias before and after, for each file."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained", sharey=True)
    positions = np.arange(len(found))
    for axis, what, unit in ((axes[0], "gain", ""), (axes[1], "offset", " (W/m$^2$)")):
        at_labels = np.array([row.at_labels[what == "offset"] for row in found.values()])
        axis.hlines(positions - 0.12, *at_labels[:, 1:].T, color="0.6", linewidth=4, label="95 %")
        axis.plot(at_labels[:, 0], positions - 0.12, "k|", markersize=12, label="least squares")
        for position, row in zip(positions, found.values(), strict=True):
            values = getattr(row, what)
            height = np.full(len(values), position + 0.12)
            label = "trained, each seed" if position == 0 else None
            axis.plot(values, height, "o", color="C3", alpha=0.5, label=label)
        axis.axvline(float(what == "gain"), color="black", linewidth=0.8, linestyle=":")
        axis.set_xlabel(what + unit)
        axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    bars = (
        ("mean", "before", "labels, gain 1 and offset 0: (1)", "0.75", -0.3),
        ("mean", "after", "labels, trained constants: (2)", "0.35", -0.1),
        ("sums", "before", "predicted sum, less measured: (1)", "C0", 0.1),
        ("sums", "after", "predicted sum, less measured: (2)", "C3", 0.3),
    )
    for what, when, label, colour, shift in bars:
        values = [np.mean(getattr(row, what)[when]) for row in found.values()]
        axes[2].barh(positions + shift, values, height=0.2, color=colour, label=label)
    axes[2].axvline(0.0, color="black", linewidth=0.8)
    axes[2].set_xlabel("mean over held-out rows (W/m$^2$)")
    axes[2].legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    axes[0].set_yticks(positions, list(found))
    axes[0].set_ylim(len(positions) - 0.5, -0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    """Finds the constants of the four files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="training steps of each network")
    parser.add_argument("--weight", type=float, default=1.0, help="of the physics")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--draws", type=int, default=1000, help="of the bootstrap")
    default = Path(__file__).parent / "output"
    parser.add_argument("--out", type=Path, default=default, help="folder of the figure")
    options = parser.parse_args()

    settings = (options.seeds, options.steps, options.weight, options.draws)
    found = {name: look_at(name, *settings) for name in ir.FILES}
    print_table(found)
    for when in ("before", "after"):
        print(f"\n\nRMIS 2019, {when}\n\n{found['RMIS 2019'].reports[when]}")
    draw(found, options.out / "sensor_offset.png")
    print(f"\nSaved to {options.out}: sensor_offset.png")


if __name__ == "__main__":
    main()
