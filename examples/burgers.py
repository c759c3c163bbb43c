"""Burgers' equation: a network that solves a differential equation, from its start and its walls.

The labels are the start and the walls alone; the equation, with its shock at x = 0, holds at points
that are drawn anew in each step:

    u_t + u u_x = (0.01 / pi) u_xx,   u(x, 0) = -sin(pi x),   u(-1, t) = u(1, t) = 0             (1)

The error is the L2 norm of the difference from the reference solution over that of the solution.
The reference: data/burgers/README.md.

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


def start_and_walls(count=100):
    """Returns `2 * count` points at the start and at the walls, and the solution there."""
    x, t = np.linspace(-1, 1, count), np.linspace(0, 1, count // 2)
    start = np.stack([x, np.zeros_like(x)], axis=-1)
    walls = np.concatenate([np.stack([np.full_like(t, side), t], axis=-1) for side in (-1, 1)])
    u = np.concatenate([-np.sin(np.pi * x), np.zeros(len(walls))])
    return np.concatenate([start, walls]).astype("float32"), u[:, None].astype("float32")


@keras.saving.register_keras_serializable(package="burgers")
def burgers(z, u):
    """Returns the residual of equation (1)."""
    return {"pde": u["u_t"] + u["u"] * u["u_x"] - VISCOSITY * u["u_xx"]}


def build(epochs=150):
    """A network of three layers of 20 units, with its derivatives and the equation."""
    hidden = [keras.layers.Dense(20, "tanh") for _ in range(3)]
    network = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    z = keras.Input((2,))
    u = kp.Derivatives(network, ["x", "t", "xx"], inputs=["x", "t"], output="u")(z)
    u = kp.PhysicsRegularization(burgers, {"pde": 1.0})(z, u)
    model = kp.PhysicsModel(z, u["u"])
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * STEPS_PER_EPOCH)
    adam = keras.optimizers.Adam(rate)
    model.compile(adam, "mse", jit_compile=True, steps_per_execution=STEPS_PER_EPOCH)
    return model


def train(model, epochs, points=1000):
    """Trains on all labels and so many new points per step."""
    z, u = start_and_walls()
    # The labels once per step: an epoch has as many steps as the labelled rows fill.
    z, u = (np.tile(array, (STEPS_PER_EPOCH, 1)) for array in (z, u))
    sampler = kp.UniformSampler([-1.0, 0.0], [1.0, 1.0], seed=0)
    unlabelled = {"unlabelled": sampler, "unlabelled_batch_size": points, "unlabelled_share": 1.0}
    rows = {"batch_size": len(z) // STEPS_PER_EPOCH, "shuffle": False}
    return model.fit(z, u, **rows, **unlabelled, epochs=epochs, verbose=0).history


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
    """Trains, prints the error, and saves the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=150, help=f"of {STEPS_PER_EPOCH} steps")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the figure")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model, begin = build(options.epochs), time.perf_counter()
    losses = train(model, options.epochs)
    found, error = solution(model)
    print(f"{options.epochs * STEPS_PER_EPOCH} steps in {time.perf_counter() - begin:.0f} s")
    print(f"data loss {losses['data_loss'][-1]:.1e}, equation {losses['pde_loss'][-1]:.1e}")
    print(f"relative L2 error of the solution: {error:.4f}")
    plot(found, options.out / "burgers.png")
    print(f"\nSaved in {options.out}: burgers.png")


if __name__ == "__main__":
    main()
