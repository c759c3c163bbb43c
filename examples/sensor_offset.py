"""Sensors that disagree: which gain and which offset make measured sunlight close?

The script of the guide "Unknown physical constants" (guides/constants.md). At the zenith angle z of
the sun three instruments must agree, and in four files they do not quite (see irradiance.py):

    GHI = gain (DNI cos z + DHI) + offset                                                       (1)

A network splits GHI into DNI and DHI. The equation is two terms: "closure" at the prediction, which
trains the network, and "calibration" at the labels, which trains the constants. A step takes all
rows, as least squares at the labels does, which stands beside them with 95 % intervals by a
bootstrap over blocks of consecutive rows: Kuensch, "The Jackknife and the Bootstrap for General
Stationary Observations" (1989).

Run: python examples/sensor_offset.py [--out FOLDER]
"""

import argparse
from pathlib import Path

import irradiance as ir
import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import keras_physreg as kp

mpl.use("Agg")

BLOCK = {"TMY3 Greensboro": 12, "SURFRAD Alamosa": 60, "RMIS 2022": 12, "RMIS 2019": 12}  # rows


@keras.saving.register_keras_serializable(package="sensor_offset")
class Sensors(keras.layers.Layer):
    """Right less left of equation (1), in kW/m2."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = kp.Constant(1.0, low=0.5, high=1.5, rate=10, name="gain")
        self.offset = kp.Constant(0.0, low=-200.0, high=200.0, rate=10, unit="W/m2", name="offset")

    def call(self, Z, x):
        """Returns it for both terms."""
        total = x[:, 0] * Z[:, 1] + x[:, 1]
        residual = self.gain() * total + self.offset() / ir.KW - Z[:, 0]
        return {"closure": residual, "calibration": residual}


def build(calibrated=True, steps=1000):
    """A small network with equation (1), or with gain 1 and offset 0."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(32, activation="tanh") for _ in range(2)]
    encoder = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(2)])
    terms = [kp.PhysicsTerm("closure", trains="network")]
    if calibrated:
        terms.append(kp.PhysicsTerm("calibration", at="labels"))
    model = kp.regularize(encoder, Sensors() if calibrated else ir.closure, terms)
    rate = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    return model


def sums(Z, x):
    """Returns DNI cos z + DHI, in W/m2."""
    return ir.KW * (x[..., 0] * Z[:, 1] + x[..., 1])


def least_squares(data):
    """Returns gain and offset (W/m2) of equation (1) that fit the labels best."""
    design = np.stack([sums(*data), np.ones(len(data.Z))], axis=-1).astype("float64")
    return np.linalg.lstsq(design, ir.KW * data.Z[:, 0].astype("float64"), rcond=None)[0]


def bootstrap(data, block, draws=1000):
    """Returns low and high ends of least-squares gain and offset: 95 % over blocks of rows."""
    rng, drawn = np.random.default_rng(0), []
    blocks = np.split(np.arange(len(data.Z)), range(block, len(data.Z), block))
    for _ in range(draws):
        rows = np.concatenate([blocks[k] for k in rng.integers(len(blocks), size=len(blocks))])
        drawn.append(least_squares(ir.Irradiance(data.Z[rows], data.x[rows])))
    return np.percentile(drawn, [2.5, 97.5], axis=0)


def look_at(name, seeds, steps):
    """Trains on one file without and with constants; returns columns of the tables by name."""
    everything = ir.load(name)
    data, held_out = ir.split(everything)
    row = {"least squares": [least_squares(data), *bootstrap(everything, BLOCK[name])]}
    for when in ("before", "after"):
        trainer = kp.ReplicaTrainer(build(when == "after", steps), {}, seeds=range(seeds))
        trainer.fit(*data, batch_size=len(data.Z), epochs=steps, verbose=0)
        constants = np.tile([1.0, 0.0], (seeds, 1))
        for k in range(seeds):
            trainer.load_replica(k, "last")
            constants[k] = list(kp.get_constants(trainer.model).values()) or [1.0, 0.0]
        row["constants", when], (gain, offset) = constants, constants.mean(axis=0)
        left = gain * sums(*held_out) + offset - ir.KW * held_out.Z[:, 0]
        error = sums(held_out.Z, trainer.predict(held_out.Z, "last")) - sums(*held_out)
        row["mean", when], row["rms", when] = left.mean(), np.sqrt(np.mean(left**2))
        row["sums", when] = error.mean()
        row["report", when] = kp.diagnose(trainer.model, *data, validation_data=tuple(held_out))
    return row


def print_tables(found):
    """Prints the four files in the order of their inconsistency."""
    print("Held-out rows, W/m2: closure at the labels, and mean error of the predicted sums\n")
    print(f"{'file':17}{'mean':>8}{'after':>8}{'rms':>8}{'after':>8}{'sums':>8}{'after':>8}")
    for name, row in found.items():
        pairs = [(what, when) for what in ("mean", "rms", "sums") for when in ("before", "after")]
        print(f"{name:17}" + "".join(f"{row[pair]:8.2f}" for pair in pairs))
    for k, (what, digits) in enumerate({"gain": 4, "offset": 3}.items()):
        print(f"\n{what}: trained (range over seeds), and least squares (95 % over blocks)\n")
        for name, row in found.items():
            trained, (best, low, high) = row["constants", "after"][:, k], row["least squares"]
            spread = f"({trained.min():.{digits}f} to {trained.max():.{digits}f})"
            both = [f"{value:9.{digits}f}" for value in (trained.mean(), best[k])]
            print(f"{name:17}{both[0]} {spread:24}{both[1]} ({low[k]:.4f} to {high[k]:.4f})")
    print("\nFindings before and after\n")
    for name, row in found.items():
        codes = [{f.code for f in row["report", when].findings} for when in ("before", "after")]
        print(f"{name:17}{'  ->  '.join(', '.join(sorted(each)) or 'none' for each in codes)}")


def draw(found, path):
    """Draws both constants of each file."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    for k, (axis, label) in enumerate(zip(axes, ("gain", "offset (W/m2)"), strict=True)):
        best, low, high = np.array([row["least squares"] for row in found.values()])[..., k].T
        axis.hlines(range(len(found)), low, high, color="0.6", linewidth=4, label="95 %")
        axis.plot(best, range(len(found)), "k|", markersize=14, label="least squares")
        trained = [row["constants", "after"][:, k] for row in found.values()]
        axis.plot(trained, np.arange(len(found)) + 0.2, "C3.")
        axis.set_xlabel(f"{label}; red: trained, each seed")
        axis.legend(frameon=False, fontsize="small")
    axes[0].set_yticks(range(len(found)), list(found))
    axes[0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main():
    """Finds the constants of the four files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="training steps of each network")
    parser.add_argument("--seeds", type=int, default=8)
    default = Path(__file__).parent / "output"
    parser.add_argument("--out", type=Path, default=default, help="folder of the figure")
    options = parser.parse_args()
    found = {name: look_at(name, options.seeds, options.steps) for name in ir.FILES}
    print_tables(found)
    draw(found, options.out / "sensor_offset.png")
    print(f"\nSaved in {options.out}: sensor_offset.png")


if __name__ == "__main__":
    main()
