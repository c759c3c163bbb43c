"""What a training step of a differential equation costs: in fit, by hand, in DeepXDE, in replicas.

A network of 3 layers of 20 tanh units, inputs x and t, compiled by XLA; one residual on 2048
points. All ways take 500 steps of Adam in turn, in one process; a ratio is the median over these
turns. CPU time counts the work of all cores.

The loops by hand are the fastest that we know: 100 steps within one compiled program, and no Keras
around it. `fit` is called with points and nothing else, for 5 epochs of 100 steps. DeepXDE's
`Model.train` is its own loop; it is left out where DeepXDE is not installed, see deepxde_models.py.
16 replicas differ in their seeds, and take 100 steps; their time is that of one step of one
replica.

Run: python tests/benchmarks/equations.py [--highest xx xxx xxxx] [--repeats 3] [--rows 2048]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import deepxde_models
import keras
import numpy as np
import tensorflow as tf

import keras_physreg as kp

HIGHEST = ("xx", "xxx", "xxxx")
STEPS, EPOCH, REPLICAS = 500, 100, 16


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

    @tf.autograph.experimental.do_not_convert
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss()
        variables = inside.trainable_variables
        adam.apply(tape.gradient(value, variables), variables)
        return value

    @tf.function(jit_compile=True)
    def epoch() -> tf.Tensor:
        value = tf.constant(0.0)
        for _ in tf.range(EPOCH):
            value = step()
        return value

    def run() -> None:
        for _ in range(STEPS // EPOCH):
            value = epoch()
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


def equation(highest: str) -> kp.PhysicsModel:
    """The equation as a user writes it."""
    z = keras.Input((2,))
    u = kp.Derivatives(network(), ["x", "t", highest], ["x", "t"])(z)
    layer = kp.PhysicsRegularization({"pde": lambda z, u: residual(*u.values())}, {"pde": 1.0})
    model = kp.PhysicsModel(z, layer(z, u)["u"])
    model.compile(keras.optimizers.Adam(1e-3), None, jit_compile=True)
    return model


def by_fit(highest: str, rows: int) -> Callable[[], None]:
    """The same steps by `fit`, which chooses the steps per epoch and per execution."""
    model, given = equation(highest), {"pde": points(rows)}
    return lambda: model.fit(points=given, epochs=STEPS // EPOCH, verbose=0)


def by_replicas(highest: str, rows: int) -> Callable[[], None]:
    """One epoch of such steps in each of 16 replicas."""
    trainer = kp.ReplicaTrainer(equation(highest), {"pde": [1.0] * REPLICAS}, range(REPLICAS))
    trainer.fit(points={"pde": points(rows)}, verbose=0)
    return lambda: trainer.refit({"pde": [1.0] * REPLICAS}, range(REPLICAS), verbose=0)


def by_deepxde(highest: str, rows: int, xla: bool) -> Callable[[], None]:
    """The same steps by `deepxde.Model.train`."""
    return deepxde_models.steps(highest, rows, STEPS, residual, xla)


WAYS = {
    "by hand, nested tapes": by_hand,
    "by hand, `Derivatives` by rules": lambda highest, rows: by_layer(highest, rows, True),
    "by hand, `Derivatives` as a whole": lambda highest, rows: by_layer(highest, rows, False),
    "`PhysicsModel.fit(points=...)`": by_fit,
    "`ReplicaTrainer`, 16 replicas": by_replicas,
    "DeepXDE, `Model.train`": lambda highest, rows: by_deepxde(highest, rows, False),
    "DeepXDE, the same with XLA": lambda highest, rows: by_deepxde(highest, rows, True),
}
FIRST, *_, MANY, PLAIN, LAST = WAYS


def measure(highest: str, rows: int, repeats: int) -> dict[str, list[float]]:
    """CPU and wall time of a step in ms by way; ratios of CPU times to FIRST and LAST."""
    ways = {
        name: make(highest, rows)
        for name, make in WAYS.items()
        if name not in (PLAIN, LAST) or deepxde_models.is_installed()
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, run in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            steps = EPOCH * REPLICAS if name == MANY else STEPS
            if turn:  # The first one compiles.
                times[name].append((1e3 * spent[0] / steps, 1e3 * spent[1] / steps))

    def ratio(name: str, other: str) -> float:
        if other not in times:
            return float("nan")
        pairs = zip(times[name], times[other], strict=True)
        return statistics.median(a / b for (a, _), (b, _) in pairs)

    return {
        name: [
            *(statistics.median(spent) for spent in zip(*found, strict=True)),
            *(ratio(name, other) for other in (FIRST, LAST)),
        ]
        for name, found in times.items()
    }


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--highest", nargs="+", choices=HIGHEST, default=HIGHEST)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2048)
    options = parser.parse_args()
    if not deepxde_models.is_installed():
        print("DeepXDE is not installed: its rows are left out.\n")
    print("| highest | way | CPU, ms | wall, ms | CPU / by hand | CPU / DeepXDE with XLA |")
    print("| --- " * 6 + "|")
    for highest in options.highest:
        for name, found in measure(highest, options.rows, options.repeats).items():
            figures = " | ".join(f"{value:.2f}" for value in found)
            print(f"| {highest} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
