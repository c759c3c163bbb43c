"""What `keras_physreg.refine` takes off the error after Adam, and whether it helps with few labels.

burgers: u_t + u u_x = 0.01 / pi u_xx in [-1, 1] x [0, 1], u(x, 0) = -sin(pi x), u(-1, t) = u(1, t)
= 0; 240 rows of the start and the walls with labels, 4096 Sobol points inside without. The error is
the relative L2 error on a grid of 256 x 100 points, against the exact solution: C. Basdevant et
al., "Spectral and finite difference solutions of the Burgers equation", Computers & Fluids 14
(1986) 23-41.

modules: the encoder of examples/pv_modules.py with 100 labelled modules, term z at weight 1;
unlabelled: the same with 1000 unlabelled modules besides. The error is RMSE / sd on 3000 held-out
modules, the mean of the 5 outputs.

Run: python tests/benchmarks/refine.py burgers modules unlabelled --seeds 2
"""

import argparse
import functools
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import qmc

import keras_physreg as kp

VISCOSITY = 0.01 / np.pi
STEPS = 100  # per epoch


def burgers(z, u):
    slope = tf.gradients(u, z)[0]
    curvature = tf.gradients(slope[:, :1], z)[0][:, :1]
    return slope[:, 1:] + u * slope[:, :1] - VISCOSITY * curvature


def exact(x, t, nodes=200):
    """The exact solution at points `x`, `t`, by Gauss-Hermite quadrature."""
    at, factor = np.polynomial.hermite.hermgauss(nodes)
    y = x[:, None] - np.sqrt(4 * VISCOSITY * t)[:, None] * at
    exponent = -np.cos(np.pi * y) / (2 * np.pi * VISCOSITY)
    weights = factor * np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return -(weights * np.sin(np.pi * y)).sum(axis=1) / weights.sum(axis=1)


def network(inputs, widths, outputs):
    hidden = inputs
    for width in widths:
        hidden = keras.layers.Dense(width, "tanh", kernel_initializer="glorot_normal")(hidden)
    return keras.layers.Dense(outputs)(hidden)


def run_burgers(seed, adam_steps, iterations, method):
    """Yields what was done, the error after it, the loss and seconds."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    t, wall = rng.uniform(0, 1, 80), rng.choice([-1.0, 1.0], 80)
    start = np.stack([rng.uniform(-1, 1, 160), np.zeros(160)], 1)
    edges = np.vstack([start, np.stack([wall, t], 1)])
    labels = np.concatenate([-np.sin(np.pi * start[:, 0]), np.zeros(80)])[:, None]
    inside = qmc.scale(qmc.Sobol(2, rng=rng).random(4096), [-1, 0], [1, 1])
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 256), np.linspace(0, 0.99, 100)), -1)
    grid = grid.reshape(-1, 2)
    truth = exact(*grid.T)

    z = keras.Input((2,))
    layer = kp.PhysicsRegularization(burgers, {"pde": 1.0})
    model = kp.PhysicsModel(z, layer(z, network(z, (20, 20, 20), 1)))
    model.compile(keras.optimizers.Adam(1e-3), "mse", steps_per_execution=STEPS)

    def error():
        u = model.predict(grid, batch_size=len(grid), verbose=0)[:, 0]
        return float(np.linalg.norm(u - truth) / np.linalg.norm(truth))

    rows = (edges, labels), inside
    yield from course(model, error, *rows, adam_steps, iterations, method, shuffle=False)


def run_modules(seed, adam_steps, iterations, method, more=0):
    """The same for the encoder of PV modules; `more`: number of unlabelled ones."""
    sys.path.append(str(Path(__file__).parents[2] / "examples"))
    import pv_modules as pv

    keras.utils.set_random_seed(seed)
    data = pv.split(*pv.load_modules(), labelled=100, unlabelled=more, seed=seed)
    unlabelled = data.unlabelled if more else None
    z = keras.Input((8,))
    terms = [kp.PhysicsTerm("z", "input", components=[0, 1, 2, 3], weight=1.0)]

    def physics(inputs, x_pred):
        return {"z": pv.calc_reg_terms(inputs, x_pred)["z"]}

    layer = kp.PhysicsRegularization(physics, terms)
    model = kp.PhysicsModel(z, layer(z, network(z, (64, 64), 5)))
    model.compile(keras.optimizers.Adam(2e-3), "mse", steps_per_execution=STEPS)

    def error():
        inputs, labels = data.test
        off = model.predict(inputs, batch_size=len(inputs), verbose=0) - labels
        return float(np.mean(np.sqrt(np.mean(off**2, axis=0)) / labels.std(axis=0)))

    yield from course(model, error, data.labelled, unlabelled, adam_steps, iterations, method)


def course(model, error, labelled, unlabelled, adam_steps, iterations, method, shuffle=True):
    """Trains by Adam, in batches of as many labelled rows as there are, then refines."""
    begin = time.perf_counter()
    history = model.fit(
        *(np.tile(part, (STEPS, 1)) for part in labelled),
        batch_size=len(labelled[0]),
        shuffle=shuffle,
        unlabelled=unlabelled,
        unlabelled_batch_size=None if unlabelled is None else len(unlabelled),
        epochs=adam_steps // STEPS,
        verbose=0,
    )
    loss = history.history["loss"][-1]
    yield f"Adam, {adam_steps} steps", error(), loss, time.perf_counter() - begin
    for count in iterations:
        begin = time.perf_counter()
        done = kp.refine(
            model, *labelled, unlabelled=unlabelled, iterations=count, method=method, verbose=0
        )
        what = f"refine, {count} more ({done.method}, {done.precision})"
        yield what, error(), done.loss, time.perf_counter() - begin


CASES = {
    "burgers": (run_burgers, 5000, (300, 700)),
    "modules": (run_modules, 3000, (20, 80, 400)),
    "unlabelled": (functools.partial(run_modules, more=1000), 3000, (20, 80, 400)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--method", default=None)
    parser.add_argument("--adam-steps", type=int, default=None)
    options = parser.parse_args()
    print("| case | seed | what | error | total loss | seconds |\n" + "| --- " * 6 + "|")
    for case in options.cases:
        run, adam_steps, iterations = CASES[case]
        for seed in range(options.seeds):
            steps = options.adam_steps or adam_steps
            for what, error, loss, seconds in run(seed, steps, iterations, options.method):
                print(
                    f"| {case} | {seed} | {what} | {error:.4f} | {loss:.3g} | {seconds:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
