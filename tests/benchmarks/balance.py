"""Would a rule that balances gradient norms find a weight as good as the best constant one?

Helmholtz: u_xx + u_yy + u = q in [-1, 1]^2 with u = 0 on the edges and the solution
sin(pi x) sin(pi y); 400 rows of the edges with labels, 2000 rows inside without. The error is the
relative L2 error on a grid of 101 x 101 points after Adam.

The rule is `grad_norm` of S. Wang et al., "An expert's guide to training physics-informed neural
networks", arXiv 2308.08468: the weight of a term is (sum of the norms of the gradients) / (norm of
its gradient), as a moving average. Here the data weight stays at 1, so that the rule cannot change
the rate of Adam, and the weight of the equation is the ratio of the two norms. They are measured as
`GradientMonitor` measures them.

Run: python tests/benchmarks/balance.py --seeds 2 --weights 1 0.1 0.01 0.001
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.diagnosis.gradients import GradientMeter
from keras_physreg.diagnosis.probe_rows import choose_rows

STEPS = 100  # per epoch: the rule measures once in so many steps
KEPT = 0.9  # of the moving average


def helmholtz(z, u):
    slope = tf.gradients(u, z)[0]
    both = [tf.gradients(slope[:, i : i + 1], z)[0][:, i : i + 1] for i in (0, 1)]
    source = (1 - 2 * np.pi**2) * tf.reduce_prod(tf.sin(np.pi * z), axis=1, keepdims=True)
    return both[0] + both[1] + u - source


class Balance(keras.callbacks.Callback):
    """Sets the weight of the equation to the ratio of the norms of both gradients."""

    def __init__(self, edges, labels, inside):
        super().__init__()
        self.batches = [
            next(choose_rows(x, y).batches(len(x))) for x, y in ((edges, labels), (inside, None))
        ]
        self.meters, self.weights = None, []

    def on_epoch_end(self, epoch, logs=None):
        if self.meters is None:
            self.meters = [GradientMeter(self.model) for _ in self.batches]
        measured = [m.measure(b) for m, b in zip(self.meters, self.batches, strict=True)]
        ratio = measured[0].norm("data") / measured[1].norm("pde")
        before = self.weights[-1] if self.weights else kp.get_term_weights(self.model)["pde"]
        self.weights.append(KEPT * before + (1 - KEPT) * ratio)
        kp.set_term_weights(self.model, {"pde": self.weights[-1]})


def train(seed, weight, steps):
    """Returns the error, the last weight of the equation, and seconds; `None`: by the rule."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    edges = rng.uniform(-1, 1, (400, 2))
    edges[np.arange(400), rng.integers(0, 2, 400)] = rng.choice([-1.0, 1.0], 400)
    labels, inside = np.zeros((400, 1)), rng.uniform(-1, 1, (2000, 2))
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 101)] * 2), -1).reshape(-1, 2)
    truth = np.sin(np.pi * grid).prod(axis=1)

    z = keras.Input((2,))
    u = z
    for _ in range(3):
        u = keras.layers.Dense(30, "tanh", kernel_initializer="glorot_normal")(u)
    layer = kp.PhysicsRegularization(helmholtz, {"pde": 1.0 if weight is None else weight})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(1)(u)))
    model.compile(keras.optimizers.Adam(1e-3), "mse", steps_per_execution=STEPS)
    begin = time.perf_counter()
    model.fit(
        np.tile(edges, (STEPS, 1)),
        np.tile(labels, (STEPS, 1)),
        batch_size=len(edges),
        shuffle=False,
        unlabelled=inside,
        unlabelled_batch_size=len(inside),
        epochs=steps // STEPS,
        callbacks=[Balance(edges, labels, inside)] if weight is None else [],
        verbose=0,
    )
    seconds = time.perf_counter() - begin
    u = model.predict(grid, batch_size=len(grid), verbose=0)[:, 0]
    error = float(np.linalg.norm(u - truth) / np.linalg.norm(truth))
    return error, kp.get_term_weights(model)["pde"], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--weights", type=float, nargs="*", default=[1.0, 0.1, 0.01, 0.001])
    options = parser.parse_args()
    print("| seed | weight | at the end | error | seconds |\n" + "| --- " * 5 + "|")
    for seed in range(options.seeds):
        for weight in (None, *options.weights):
            error, last, seconds = train(seed, weight, options.steps)
            name = "by the rule" if weight is None else f"{weight:g}"
            print(f"| {seed} | {name} | {last:.3g} | {error:.4f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
