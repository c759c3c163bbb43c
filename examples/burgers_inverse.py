"""Burgers' equation from measurements: how fast does it run, and how viscous is it?

The solution is measured at 2000 scattered points in x and t, once exactly and once with an error of
1 % of its standard deviation. Two constants of the equation are unknown:

    u_t + lambda u u_x = nu u_xx,   in truth with lambda = 1 and nu = 0.01 / pi                  (1)

A network learns the measurements as labels, and equation (1) at points of its own. Both constants
train with it, by Adam and then by `kp.refine`. Neither the start nor the walls are known to it.
Reference solution: data/burgers/README.md.

Run: python examples/burgers_inverse.py
"""

import argparse
from pathlib import Path

import burgers
import keras
import numpy as np

import keras_physreg as kp

OUTPUT = Path(__file__).parent / "output"
TRUTH = {"lambda": 1.0, "nu": burgers.VISCOSITY}
ROWS, WEIGHT = 2000, 0.1
NOISES = (0.0, 0.01)  # In standard deviations of u.
STEPS_PER_EPOCH = 100


@keras.saving.register_keras_serializable(package="burgers_inverse")
class Burgers(keras.layers.Layer):
    """The residual of equation (1), with both constants."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Far from their first guesses, they need larger steps than the weights of the network.
        self.speed = kp.Constant(0.3, rate=2.0, name="lambda")
        # Positive, and known to an order of magnitude: its logarithm trains.
        self.viscosity = kp.Constant(0.03, log=True, rate=2.0, name="nu")

    def call(self, z, u):
        """Returns the residual at points `z`, by `u` and its derivatives."""
        return u["u_t"] + self.speed() * u["u"] * u["u_x"] - self.viscosity() * u["u_xx"]


def measure(count, noise, seed):
    """Returns random points (x, t) of the reference, `(count, 2)`, and u there, `(count, 1)`."""
    z, exact = burgers.reference()
    rng = np.random.default_rng(seed)
    rows = rng.choice(exact.size, count, replace=False)
    error = noise * exact.std() * rng.normal(size=(count, 1))
    return z.reshape(-1, 2)[rows], exact.reshape(-1, 1)[rows] + error.astype("float32")


def build(epochs=25):
    """A network of three layers of 20 units, with its derivatives and the equation."""
    hidden = [keras.layers.Dense(20, "tanh") for _ in range(3)]
    network = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    z = keras.Input((2,))
    u = kp.Derivatives(network, ["x", "t", "xx"], inputs=["x", "t"], output="u")(z)
    u = kp.PhysicsRegularization({"pde": Burgers()}, {"pde": WEIGHT})(z, u)
    model = kp.PhysicsModel(z, u["u"])
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * STEPS_PER_EPOCH)
    model.compile(keras.optimizers.Adam(rate), "mse", jit_compile=True)
    return model


def train(noise, seed, epochs=25, iterations=1200):
    """Trains one model.

    Returns:
        The trained model, its constants after each epoch of Adam and at the end (a dict of lists),
        and the constants after Adam and at the end.
    """
    keras.utils.set_random_seed(seed)
    (z, u), model = measure(ROWS, noise, seed), build(epochs)
    points = {"pde": burgers.make_points(2048)["pde"]}
    steps = {"batch_size": len(z), "steps_per_epoch": STEPS_PER_EPOCH, "epochs": epochs}
    logs = model.fit(z, u, points=points, verbose=0, **steps).history
    found = {"Adam": kp.get_constants(model)}
    kp.refine(model, z, u, points=points, iterations=iterations, verbose=0)
    found["refined"] = kp.get_constants(model)
    return model, {name: logs[name] for name in TRUTH}, found


def errors(constants):
    """Returns the errors of both constants, as shares of the true values."""
    return np.array([constants[name] / true - 1 for name, true in TRUTH.items()])


def plot(found, path):
    """Draws where was measured, and the course of both constants; `found`: by noise."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 2.8), layout="constrained")
    z, u = measure(ROWS, NOISES[-1], 0)
    image = axes[0].scatter(z[:, 1], z[:, 0], 3, u[:, 0], cmap="RdBu_r", vmin=-1, vmax=1)
    figure.colorbar(image, ax=axes[0])
    axes[0].set(xlabel="t", ylabel="x", title=f"{ROWS} measurements of u")
    for ax, (name, true) in zip(axes[1:], TRUTH.items(), strict=True):
        ax.axhline(true, color="k", label="truth")
        for noise, (_, course, constants) in found.items():
            after = 1 + len(course[name])
            style = "--" if noise else "-"
            (line,) = ax.plot(range(1, after), course[name], style, label=f"noise {noise:.0%}")
            ax.plot(after + 1, constants["refined"][name], "o", color=line.get_color())
        ax.set(xlabel=f"epochs of {STEPS_PER_EPOCH} steps of Adam; dots: refined", title=name)
    axes[2].set(yscale="log", ylim=(1e-3, 1e-1))
    axes[1].legend(frameon=False, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    """Prints the constants of each training, and saves the figure of the first seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="of measurements and network")
    parser.add_argument("--noises", type=float, nargs="+", default=NOISES)
    parser.add_argument("--epochs", type=int, default=25, help=f"of {STEPS_PER_EPOCH} steps")
    parser.add_argument("--iterations", type=int, default=1200, help="of the refinement")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the figure")
    options = parser.parse_args()
    print(f"{'noise':6}{'seed':>5}{'after':>9}{'lambda':>9}{'nu':>10}   errors of both")
    first = {}
    for noise in options.noises:
        sizes = []
        for seed in range(options.seeds):
            found = train(noise, seed, options.epochs, options.iterations)
            for when, constants in found[-1].items():
                speed, viscosity = constants.values()
                off = "".join(f"{error:+9.2%}" for error in errors(constants))
                print(
                    f"{noise:<6.0%}{seed:5}{when:>9}{speed:9.4f}{viscosity:10.6f}{off}", flush=True
                )
            sizes.append(np.abs(errors(found[-1]["refined"])))
            first.setdefault(noise, found)
        middle = "".join(f"{size:9.2%}" for size in np.median(sizes, axis=0))
        print(f"{noise:<6.0%}{'median size of the errors':33}{middle}")
    plot(first, options.out / "burgers_inverse.png")
    print(f"\nSaved in {options.out}: burgers_inverse.png")


if __name__ == "__main__":
    main()
