"""What the package costs on JAX, on the device that JAX finds: `fit`, and a step of an equation.

Ways to do the same work take turns, in one process; a ratio is the median over these turns. For
`fit` the rival is a Keras model whose `compute_loss` holds the same terms, written by hand, and
logs the same means. For an equation it is a residual of nested `jax.grad`, mapped over the points
by `jax.vmap`. A step of an equation is the gradient of its loss by all weights and one update.

Run: KERAS_BACKEND=jax python tests/benchmarks/on_jax.py [--short]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import keras
import numpy as np
from jax import numpy as jnp
from keras import ops

import keras_physreg as kp

WEIGHTS = {"x": 0.1, "z": 0.1}
BATCHES = {32: 200, 4096: 50, 65536: 20}  # batch size: steps in an epoch
POINTS = (2048, 16384, 131072)
HIGHEST = ("xx", "xxx", "xxxx")
STEPS = 200  # of an equation, in one program


def encoder() -> keras.Model:
    """An encoder from 8 inputs to 5 quantities, with the same weights each time."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(64, "tanh") for _ in range(2)]
    return keras.Sequential([keras.Input((8,)), *hidden, keras.layers.Dense(5)])


def physics(z: jax.Array, x: jax.Array) -> dict[str, jax.Array]:
    """An estimate of each part of the prediction, and one of the input."""
    return {"x": x - ops.tanh(x), "z": ops.concatenate([x, x[:, :3]], axis=-1) - z}


class ByHand(keras.Model):
    """The same terms in a loss of one's own, with a mean of each in the logs."""

    def __init__(self, inside: keras.Model) -> None:
        super().__init__()
        self.inside = inside
        self.means = [keras.metrics.Mean(name) for name in ("data_loss", "x_loss", "z_loss")]

    def call(self, z: jax.Array) -> jax.Array:
        """Calls the network inside."""
        return self.inside(z)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ) -> jax.Array:
        """Returns the mean squares with their weights."""
        parts = {"data": y - y_pred, **physics(x, y_pred)}
        losses = [ops.mean(ops.square(part)) for part in parts.values()]
        for mean, loss in zip(self.means, losses, strict=True):
            mean.update_state(loss)
        return losses[0] + WEIGHTS["x"] * losses[1] + WEIGHTS["z"] * losses[2]


def fits(batch: int, steps: int) -> dict[str, Callable[[], None]]:
    """Two epochs of `fit`."""
    draw = np.random.default_rng(0)
    z = draw.normal(size=(batch * steps, 8)).astype("float32")
    x = draw.normal(size=(batch * steps, 5)).astype("float32")

    def way(model: keras.Model, **compiled: str) -> Callable[[], None]:
        model.compile(keras.optimizers.Adam(1e-3), **compiled)
        return lambda: model.fit(z, x, batch_size=batch, epochs=2, verbose=0)

    with_physics = kp.regularize(encoder(), physics, WEIGHTS)
    return {"by hand": way(ByHand(encoder())), "PhysicsModel": way(with_physics, loss="mse")}


def equations(highest: str, rows: int) -> dict[str, Callable[[], None]]:
    """`STEPS` steps on an equation of the kind of Burgers'."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(20, "tanh") for _ in range(3)]
    network = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    layer = kp.Derivatives(network, ["x", "t", highest], inputs=["x", "t"], output="u")
    points = jnp.asarray(np.random.default_rng(0).uniform(size=(rows, 2)), "float32")
    layer(points[:2])
    others = [v.value for v in layer.non_trainable_variables]

    def by_rules(weights: list[jax.Array]) -> jax.Array:
        d, _ = layer.stateless_call(weights, others, points)
        return jnp.mean((d["u_t"] + d["u"] * d["u_x"] - 0.01 * d[f"u_{highest}"]) ** 2)

    def nested(weights: list[jax.Array]) -> jax.Array:
        def u(x: jax.Array, t: jax.Array) -> jax.Array:
            return network.stateless_call(weights, [], jnp.stack([x, t])[None])[0][0, 0]

        high = u
        for _ in highest:
            high = jax.grad(high)
        on = [jax.vmap(f)(*points.T) for f in (u, jax.grad(u), jax.grad(u, 1), high)]
        return jnp.mean((on[2] + on[0] * on[1] - 0.01 * on[3]) ** 2)

    start = [v.value for v in network.trainable_variables]
    losses = [float(loss(start)) for loss in (by_rules, nested)]
    np.testing.assert_allclose(*losses, rtol=2e-3)  # GPUs multiply in TF32.
    return {"nested jax.grad": program(nested, start), "Derivatives": program(by_rules, start)}


def program(loss: Callable, start: list[jax.Array]) -> Callable[[], None]:
    """Returns a compiled program of `STEPS` steps of gradient descent."""

    def update(step: int, weights: list[jax.Array]) -> list[jax.Array]:
        return [w - 1e-3 * g for w, g in zip(weights, jax.grad(loss)(weights), strict=True)]

    run = jax.jit(lambda weights: jax.lax.fori_loop(0, STEPS, update, weights))
    return lambda: jax.block_until_ready(run(start))


def show(what: str, ways: dict[str, Callable[[], None]], steps: int, repeats: int) -> None:
    """Prints a row per way: microseconds per step, and the ratio to the first way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if turn:  # The first turn compiles.
                seconds[name].append(time.perf_counter() - begin)
    first = next(iter(seconds.values()))
    for name, each in seconds.items():
        ratios = [a / b for a, b in zip(each, first, strict=True)]
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        micro = statistics.median(each) / steps * 1e6
        print(f"| {what} | {name} | {micro:.0f} | {middle:.2f} | {low:.2f} to {high:.2f} |")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small and few")
    short = parser.parse_args().short
    repeats = 2 if short else 9
    (device,) = jax.devices()[:1]
    print(f"JAX {jax.__version__}, Keras {keras.__version__}, {device.device_kind}\n")
    print("| what | way | us per step | ratio | quartiles |\n| --- | --- | --- | --- | --- |")
    for batch, steps in {32: 5}.items() if short else BATCHES.items():
        show(f"`fit`, batch size {batch}", fits(batch, steps), 2 * steps, repeats)
    for rows in (64,) if short else POINTS:
        for highest in HIGHEST[:1] if short else HIGHEST:
            show(f"{highest}, {rows} points", equations(highest, rows), STEPS, repeats)


if __name__ == "__main__":
    main()
