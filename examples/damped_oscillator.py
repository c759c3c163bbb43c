"""A damped oscillator: two unknown constants from 30 noisy measurements, and what comes after them.

A mass on a spring is measured in the first 6 s, with an error of 5 % of its first displacement. Its
damping d and its frequency w are unknown, and so is where it will be in the next 6 s:

    u'' + 2 d u' + w^2 u = 0,   in truth with d = 0.15 / s and w = 2 rad / s                     (1)

A network learns the measurements as labels, and equation (1) at points over all 12 s, together with
both constants: by Adam, then by `kp.refine`. The same network without the equation has the
measurements alone. Errors are root mean square differences from the closed form, in the 6 s with
measurements and in the 6 s after them. "closed form" is the least-squares fit of the closed form
itself, which most equations do not have.

Run: python examples/damped_oscillator.py
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from scipy.optimize import curve_fit

import keras_physreg as kp

OUTPUT = Path(__file__).parent / "output"
TRUTH = {"damping": 0.15, "frequency": 2.0}
MEASURED, END = 6.0, 12.0  # s
ROWS, NOISE = 30, 0.05
STEPS_PER_EPOCH = 100
TIMES = np.linspace(0, END, 241, dtype="float32")[:, None]
POINTS = {"ode": TIMES[::2]}
WEIGHTS = {"measurements alone": 0.0, "with the equation": 1.0}


def displacement(t, damping, frequency, start=1.0, speed=0.0):
    """Returns the closed form of equation (1), by displacement and speed at t = 0."""
    damped = np.sqrt(np.maximum(frequency**2 - damping**2, 1e-12))
    swing = (speed + damping * start) / damped
    return np.exp(-damping * t) * (start * np.cos(damped * t) + swing * np.sin(damped * t))


def measure(seed):
    """Returns times and noisy displacements, both of shape `(30, 1)`."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, MEASURED, (ROWS, 1)), axis=0)
    u = displacement(t, **TRUTH) + NOISE * rng.normal(size=t.shape)
    return t.astype("float32"), u.astype("float32")


@keras.saving.register_keras_serializable(package="damped_oscillator")
class Oscillator(keras.layers.Layer):
    """The residual of equation (1), with both constants, which are positive."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.damping = kp.Constant(0.5, log=True, unit="1/s", name="damping")
        self.frequency = kp.Constant(1.5, log=True, unit="rad/s", name="frequency")

    def call(self, t, u):
        """Returns the residual at times `t`, by `u` and its derivatives."""
        return u["u_tt"] + 2 * self.damping() * u["u_t"] + self.frequency() ** 2 * u["u"]


def build(weight, epochs=30):
    """A network of two layers of 24 units, with the equation at a weight."""
    hidden = [keras.layers.Dense(24, "tanh") for _ in range(2)]
    to_unit = keras.layers.Rescaling(2 / END, -1.0)  # Times from -1 to 1, for tanh.
    network = keras.Sequential([keras.Input((1,)), to_unit, *hidden, keras.layers.Dense(1)])
    t = keras.Input((1,))
    u = kp.Derivatives(network, ["t", "tt"], inputs=["t"], output="u")(t)
    term = kp.PhysicsTerm("ode", weight=weight, scale=4.0)  # m/s2, as large as w^2 u is.
    u = kp.PhysicsRegularization({"ode": Oscillator()}, [term])(t, u)
    model = kp.PhysicsModel(t, u["u"])
    rate = keras.optimizers.schedules.CosineDecay(1e-2, epochs * STEPS_PER_EPOCH)
    model.compile(keras.optimizers.Adam(rate), "mse", jit_compile=True)
    return model


def train(weight, seed, epochs=30, iterations=300):
    """Returns the constants, and the displacement at `TIMES`."""
    keras.utils.set_random_seed(seed)
    (t, u), model = measure(seed), build(weight, epochs)
    steps = {"batch_size": len(t), "steps_per_epoch": STEPS_PER_EPOCH, "epochs": epochs}
    model.fit(t, u, points=POINTS, verbose=0, **steps)
    if weight:  # Without the equation it would learn the noise by heart.
        kp.refine(model, t, u, points=POINTS, iterations=iterations, verbose=0)
    return kp.get_constants(model), model.predict(TIMES, batch_size=len(TIMES), verbose=0)


def fit_closed_form(seed):
    """Returns the constants of a least-squares fit, and the displacement at `TIMES`."""
    t, u = measure(seed)
    found, _ = curve_fit(displacement, t[:, 0], u[:, 0], [0.5, 1.5, 1.0, 0.0])
    return dict(zip(TRUTH, found[:2], strict=True)), displacement(TIMES, *found)


def errors(u):
    """Returns the root mean square errors until the last measurement, and after it."""
    square, after = (u - displacement(TIMES, **TRUTH)) ** 2, TIMES > MEASURED
    return float(np.sqrt(np.mean(square[~after]))), float(np.sqrt(np.mean(square[after])))


def plot(seed, found, path):
    """Draws measurements, truth and predictions of one seed."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
    ax.axvspan(0, MEASURED, color="0.95")
    ax.plot(TIMES, displacement(TIMES, **TRUTH), "k", label="truth")
    for name, style in zip(WEIGHTS, ("C0:", "C3--"), strict=True):
        ax.plot(TIMES, found[name][1], style, label=name)
    ax.plot(*measure(seed), "k.", markersize=5, label="measurements")
    ax.set(xlabel="t (s)", ylabel="u (m)", ylim=(-1.3, 1.3), xlim=(0, END))
    ax.legend(frameon=False, fontsize="small", ncols=4, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    """Prints constants and errors of each seed, and saves the figure of the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="of the noise and of the network")
    parser.add_argument("--epochs", type=int, default=30, help=f"of {STEPS_PER_EPOCH} steps")
    parser.add_argument("--iterations", type=int, default=300, help="of the refinement")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the figure")
    options = parser.parse_args()
    print(f"{'':22}{'damping':>9}{'frequency':>11}{'error to 6 s':>14}{'after':>8}")
    print(f"{'truth':22}{TRUTH['damping']:9.3f}{TRUTH['frequency']:11.3f}")
    for seed in range(options.seeds):
        found = {
            name: train(weight, seed, options.epochs, options.iterations)
            for name, weight in WEIGHTS.items()
        }
        found["closed form"] = fit_closed_form(seed)
        for name, (constants, u) in found.items():
            values = [constants["damping"], constants["frequency"]]
            until, after = errors(u)
            known = name != "measurements alone"
            columns = "".join(f"{v:{w}.3f}" for v, w in zip(values, (9, 11), strict=True))
            print(f"{name:22}{columns if known else '':20}{until:14.3f}{after:8.3f}")
        if not seed:
            plot(seed, found, options.out / "damped_oscillator.png")
    print(f"\nSaved in {options.out}: damped_oscillator.png")


if __name__ == "__main__":
    main()
