"""What a training step of a differential equation costs: by rules, as a whole, by hand and in fit.

python tests/benchmarks/equations.py [--repeats 10] [--rows 2048]

A network of 3 layers of 20 tanh units, inputs x and t, compiled by XLA. All ways take their steps
in turn, in one process; a ratio is the median over these turns. The hand-written loop has nested
gradient tapes and no Keras around it; `fit` is started for every 20 steps. CPU time counts the work
of all cores.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import keras_physreg as kp

HIGHEST = ("xx", "xxx", "xxxx")
STEPS = 20


def network() -> keras.Model:
    """The network, with the same weights each time."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(20, "tanh") for _ in range(3)]
    return keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])


class AsAWhole(keras.Model):
    """A network for which `Derivatives` has no rules."""

    def __init__(self, inside: keras.Model) -> None:
        super().__init__()
        self.inside = inside

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Calls the network inside."""
        return self.inside(z)


def residual(u: tf.Tensor, u_x: tf.Tensor, u_t: tf.Tensor, u_high: tf.Tensor) -> tf.Tensor:
    """An equation of the kind of Burgers'."""
    return u_t + u * u_x - 0.01 * u_high


def points(rows: int) -> np.ndarray:
    """Points in the unit square."""
    return np.random.default_rng(0).uniform(size=(rows, 2)).astype("float32")


def steps(loss: Callable, inside: keras.Model) -> Callable[[], None]:
    """A program that takes `STEPS` steps of Adam on a loss."""
    adam = keras.optimizers.Adam(1e-3)
    adam.build(inside.trainable_variables)

    @tf.function(jit_compile=True, autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss()
        variables = inside.trainable_variables
        adam.apply(tape.gradient(value, variables), variables)
        return value

    def run() -> None:
        for _ in range(STEPS):
            value = step()
        float(value)

    return run


def by_layer(highest: str, rows: int, rules: bool) -> Callable[[], None]:
    """Steps of a bare loop around the layer."""
    inside, z = network(), tf.constant(points(rows))
    layer = kp.Derivatives(inside if rules else AsAWhole(inside), ["x", "t", highest], ["x", "t"])
    layer.build((None, 2))
    return steps(lambda: tf.reduce_mean(residual(*layer(z).values()) ** 2), inside)


def by_hand(highest: str, rows: int) -> Callable[[], None]:
    """Steps of a bare loop with nested tapes around the network."""
    inside, z = network(), points(rows)
    x, t = tf.constant(z[:, :1]), tf.constant(z[:, 1:])

    def derivatives(order: int) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The output with its derivatives by x, and that by t."""
        if order == 1:
            with tf.GradientTape(persistent=True) as tape:
                tape.watch([x, t])
                u = inside(tf.concat([x, t], -1))
            return [u, tape.gradient(u, x)], tape.gradient(u, t)
        with tf.GradientTape() as tape:
            tape.watch(x)
            known, u_t = derivatives(order - 1)
        return [*known, tape.gradient(known[-1], x)], u_t

    def loss() -> tf.Tensor:
        (u, u_x, *more), u_t = derivatives(len(highest))
        return tf.reduce_mean(residual(u, u_x, u_t, more[-1]) ** 2)

    return steps(loss, inside)


def by_fit(highest: str, rows: int) -> Callable[[], None]:
    """The same steps in one epoch of `fit`."""
    z = keras.Input((2,))
    u = kp.Derivatives(network(), ["x", "t", highest], ["x", "t"])(z)
    layer = kp.PhysicsRegularization(lambda z, u: residual(*u.values()), {"pde": 1.0})
    model = kp.PhysicsModel(z, layer(z, u)["u"])
    model.compile(keras.optimizers.Adam(1e-3), None, jit_compile=True, steps_per_execution=STEPS)
    given = np.tile(points(rows), (STEPS, 1))
    return lambda: model.fit(given, batch_size=rows, shuffle=False, verbose=0)


WAYS = {
    "by hand, nested tapes": by_hand,
    "`Derivatives`, by rules": lambda highest, rows: by_layer(highest, rows, True),
    "`Derivatives`, as a whole": lambda highest, rows: by_layer(highest, rows, False),
    "`PhysicsModel.fit`, by rules": by_fit,
}


def measure(highest: str, rows: int, repeats: int) -> dict[str, tuple[float, float, float]]:
    """CPU and wall time of a step in ms, by way; and the ratio of CPU times to the first way."""
    ways = {name: make(highest, rows) for name, make in WAYS.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, run in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            if turn:  # The first one compiles.
                times[name].append((1e3 * spent[0] / STEPS, 1e3 * spent[1] / STEPS))
    first = times[next(iter(ways))]
    return {
        name: (
            statistics.median(cpu for cpu, _ in found),
            statistics.median(wall for _, wall in found),
            statistics.median(a / b for (a, _), (b, _) in zip(found, first, strict=True)),
        )
        for name, found in times.items()
    }


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rows", type=int, default=2048)
    options = parser.parse_args()
    print("| derivatives | way | CPU, ms | wall, ms | CPU / by hand |")
    print("| --- | --- | --- | --- | --- |")
    for highest in HIGHEST:
        for name, found in measure(highest, options.rows, options.repeats).items():
            cpu, wall, ratio = found
            print(
                f"| x, t, {highest} | {name} | {cpu:.2f} | {wall:.2f} | {ratio:.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
