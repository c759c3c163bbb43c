"""Burgers' equation: a network that solves a differential equation, from its start and its walls.

Nothing is measured. The equation, with its shock at x = 0, and the conditions at the start and the
walls are three terms, each with points of its own:

    u_t + u u_x = (0.01 / pi) u_xx,   u(x, 0) = -sin(pi x),   u(-1, t) = u(1, t) = 0             (1)

Adam leaves an error of some percent, and `kp.refine` takes it away. The error is the L2 norm of the
difference from the reference solution (data/burgers/README.md) over that of the solution.

Run: python examples/burgers.py
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from scipy.io import loadmat

import keras_physreg as kp

FILE = Path(__file__).parent / "data" / "burgers" / "burgers_shock.mat"
OUTPUT = Path(__file__).parent / "output"
VISCOSITY = 0.01 / np.pi
STEPS_PER_EPOCH = 100


def reference():
    """Returns the points (x, t), of shape `(256, 100, 2)`, and the solution, `(256, 100)`."""
    data = loadmat(FILE)
    x, t = np.meshgrid(data["x"][:, 0], data["t"][:, 0], indexing="ij")
    return np.stack([x, t], axis=-1).astype("float32"), data["usol"].astype("float32")


def make_points(count=4096):
    """Returns the points (x, t) of each term; spread evenly, they leave less room for errors."""
    x, t = np.linspace(-1, 1, 200), np.linspace(0, 1, 100)
    points = {
        "pde": kp.UniformSampler([-1.0, 0.0], [1.0, 1.0], seed=0, design="sobol")(0, count),
        "start": np.stack([x, 0 * x], axis=-1),
        "walls": np.concatenate([np.stack([side + 0 * t, t], axis=-1) for side in (-1, 1)]),
    }
    return {term: np.asarray(rows, "float32") for term, rows in points.items()}


def pde(z, u):
    """Returns the residual of equation (1)."""
    return u["u_t"] + u["u"] * u["u_x"] - VISCOSITY * u["u_xx"]


def start(z, u):
    """Returns the difference from the solution at t = 0."""
    return u["u"] + keras.ops.sin(np.pi * z[:, :1])


def walls(z, u):
    """Returns the solution, which is 0 at the walls."""
    return u["u"]


CONDITIONS = {"pde": pde, "start": start, "walls": walls}


def build(epochs=25):
    """A network of three layers of 20 units, with its derivatives and the equation."""
    hidden = [keras.layers.Dense(20, "tanh") for _ in range(3)]
    network = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    z = keras.Input((2,))
    u = kp.Derivatives(network, ["x", "t", "xx"], inputs=["x", "t"], output="u")(z)
    u = kp.PhysicsRegularization(CONDITIONS, dict.fromkeys(CONDITIONS, 1.0))(z, u)
    model = kp.PhysicsModel(z, u["u"])
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * STEPS_PER_EPOCH)
    model.compile(keras.optimizers.Adam(rate), loss=None, jit_compile=True)
    return model


def solution(model):
    """Returns the prediction at the points of the reference, and its error."""
    z, exact = reference()
    found = model.predict(z.reshape(-1, 2), batch_size=25600, verbose=0).reshape(exact.shape)
    return found, float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def plot(found, path):
    """Saves the solution over x and t, and profiles at three times beside the reference."""
    import matplotlib.pyplot as plt

    z, exact = reference()
    figure, axes = plt.subplots(1, 4, figsize=(12, 2.8), width_ratios=[1.6, 1, 1, 1])
    image = axes[0].pcolormesh(z[0, :, 1], z[:, 0, 0], found, cmap="RdBu_r", shading="auto")
    figure.colorbar(image, ax=axes[0])
    axes[0].set(xlabel="t", ylabel="x", title="u(x, t) of the network")
    for ax, column in zip(axes[1:], (25, 50, 75), strict=True):
        ax.plot(z[:, 0, 0], exact[:, column], "k", label="reference")
        ax.plot(z[:, 0, 0], found[:, column], "--", label="network")
        ax.set(xlabel="x", ylim=(-1.15, 1.15), title=f"t = {z[0, column, 1]:.2f}")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    """Trains, prints the errors, and saves the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25, help=f"of {STEPS_PER_EPOCH} steps")
    parser.add_argument("--iterations", type=int, default=700, help="of the refinement")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the figure")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model, points, begin = build(options.epochs), make_points(), time.perf_counter()
    model.fit(points=points, epochs=options.epochs, steps_per_epoch=STEPS_PER_EPOCH, verbose=0)
    print("Relative L2 error of the solution, and seconds since the start")
    print(f"after Adam: {solution(model)[1]:.4f}, {time.perf_counter() - begin:.0f} s")
    kp.refine(model, points=points, iterations=options.iterations, verbose=0)
    found, error = solution(model)
    print(f"refined: {error:.4f}, {time.perf_counter() - begin:.0f} s")
    plot(found, options.out / "burgers.png")
    print(f"\nSaved in {options.out}: burgers.png")


if __name__ == "__main__":
    main()
