"""Would a rule that balances gradient norms find a weight as good as the best constant one?

helmholtz: u_xx + u_yy + u = q in [-1, 1]^2 with u = 0 on the edges and the solution
sin(pi x) sin(pi y).

burgers: examples/burgers.py, with the start and the walls as one term.

klein-gordon: u_tt - u_xx + u^3 = q in [0, 1]^2 with the solution x cos(5 pi t) + (x t)^3, which is
given on all edges but t = 1, as is its derivative by t, 0, at the start.

Each has two terms, that of the edges at weight 1 and that of the equation, on 200 and on 1000
points. The error is the relative L2 error after 5000 steps of Adam, on a grid of 101 x 101 points,
or on that of the reference.

The rule is `grad_norm` of S. Wang et al., "An expert's guide to training physics-informed neural
networks", arXiv 2308.08468: the weight of a term is (sum of the norms of the gradients) / (norm of
its gradient), as a moving average. Here the weight of the edges stays at 1, so that the rule cannot
change the rate of Adam, and the weight of the equation is the ratio of the two norms, measured
every 100 steps as `GradientMonitor` measures them. Constant weights are trained as replicas.

Run: python tests/benchmarks/balance.py helmholtz burgers --seeds 3
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_physreg as kp
from keras_physreg.diagnosis.gradients import GradientMeter
from keras_physreg.diagnosis.probe_rows import choose_rows

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import burgers

KEPT = 0.9  # Of the moving average.
EPOCHS = 50  # Of 100 steps.


@dataclass(frozen=True)
class Case:
    """An equation.

    Args:
        orders: Derivatives that it needs, by the inputs x and y.
        equation: Function of points and derivatives to its residual.
        edges: The same for the residual on the edges.
        low, high: Corners of the region.
        closed: Whether the edge y = high is one of the edges.
        reference: Function that returns points, of shape `(rows, 2)`, and the solution there.
    """

    orders: list[str]
    equation: Callable
    edges: Callable
    low: tuple[float, float]
    high: tuple[float, float]
    closed: bool
    reference: Callable


def helmholtz(z: Any, u: Any) -> Any:
    """Returns the residual of the equation."""
    both = keras.ops.sin(np.pi * z[:, :1]) * keras.ops.sin(np.pi * z[:, 1:])
    return u["u_xx"] + u["u_yy"] + u["u"] - (1 - 2 * np.pi**2) * both


def burgers_equation(z: Any, u: Any) -> Any:
    """Returns the residual of the equation, y being the time."""
    return u["u_y"] + u["u"] * u["u_x"] - burgers.VISCOSITY * u["u_xx"]


def burgers_edges(z: Any, u: Any) -> Any:
    """Returns the difference from the start, and from 0 at the walls."""
    return u["u"] + keras.ops.sin(np.pi * z[:, :1]) * keras.ops.cast(z[:, 1:] == 0, "float32")


def burgers_reference() -> tuple[np.ndarray, np.ndarray]:
    """Returns the points of the reference, and the solution there."""
    z, exact = burgers.reference()
    return z.reshape(-1, 2), exact.ravel()


def klein_gordon_solution(z: Any) -> Any:
    """Returns the solution, y being the time."""
    x, t = z[:, :1], z[:, 1:]
    return x * keras.ops.cos(5 * np.pi * t) + (x * t) ** 3


def klein_gordon(z: Any, u: Any) -> Any:
    """Returns the residual of the equation, y being the time."""
    x, t = z[:, :1], z[:, 1:]
    source = -25 * np.pi**2 * x * keras.ops.cos(5 * np.pi * t) + 6 * t * x**3 - 6 * x * t**3
    return u["u_yy"] - u["u_xx"] + u["u"] ** 3 - source - klein_gordon_solution(z) ** 3


def klein_gordon_edges(z: Any, u: Any) -> Any:
    """Returns the differences of u, and at the start of its derivative by the time."""
    slope = u["u_y"] * keras.ops.cast(z[:, 1:] == 0, "float32")
    return keras.ops.concatenate([u["u"] - klein_gordon_solution(z), slope], axis=-1)


def on_grid(solution: Callable, low: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns 101 x 101 points up to (1, 1), and the solution there."""
    axes = [np.linspace(start, 1, 101, dtype="float32") for start in low]
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    return grid, solution(grid)


CASES = {
    "helmholtz": Case(
        ["xx", "yy"],
        helmholtz,
        lambda z, u: u["u"],
        (-1, -1),
        (1, 1),
        True,
        lambda: on_grid(lambda z: np.sin(np.pi * z).prod(axis=1), (-1, -1)),
    ),
    "burgers": Case(
        ["x", "y", "xx"],
        burgers_equation,
        burgers_edges,
        (-1, 0),
        (1, 0.99),
        False,
        burgers_reference,
    ),
    "klein-gordon": Case(
        ["y", "xx", "yy"],
        klein_gordon,
        klein_gordon_edges,
        (0, 0),
        (1, 1),
        False,
        lambda: on_grid(lambda z: np.asarray(klein_gordon_solution(z))[:, 0], (0, 0)),
    ),
}


def make_points(case: Case) -> dict[str, np.ndarray]:
    """Returns the points of both terms."""
    rng = np.random.default_rng(0)
    edges = rng.uniform(case.low, case.high, (200, 2))
    sides = np.array([(0, 0), (0, 1), (1, 0), (1, 1)][: 4 if case.closed else 3])
    axis, end = sides[rng.integers(0, len(sides), 200)].T
    edges[np.arange(200), axis] = np.array([case.low, case.high])[end, axis]
    inside = rng.uniform(case.low, case.high, (1000, 2))
    return {"edges": edges.astype("float32"), "pde": inside.astype("float32")}


def build(case: Case, weight: float = 1.0) -> keras.Model:
    """Returns a compiled model."""
    hidden = [keras.layers.Dense(30, "tanh", kernel_initializer="glorot_normal") for _ in range(3)]
    network = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    z = keras.Input((2,))
    u = kp.Derivatives(network, case.orders, inputs=["x", "y"], output="u")(z)
    functions = {"edges": case.edges, "pde": case.equation}
    u = kp.PhysicsRegularization(functions, {"edges": 1.0, "pde": weight})(z, u)
    model = kp.PhysicsModel(z, u["u"])
    model.compile(keras.optimizers.Adam(1e-3), None, jit_compile=True)
    return model


class Balance(keras.callbacks.Callback):
    """Sets the weight of the equation to the ratio of the norms of both gradients."""

    def __init__(self, points: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.batches = {n: next(choose_rows(x).batches(len(x))) for n, x in points.items()}
        self.meter: GradientMeter | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measures both norms and moves the weight."""
        if self.meter is None:
            self.meter = GradientMeter(self.model)
        norms = {n: self.meter.measure(batch).norm(n) for n, batch in self.batches.items()}
        ratio = norms["edges"] / norms["pde"]
        weight = kp.get_term_weights(self.model)["pde"]
        kp.set_term_weights(self.model, {"pde": KEPT * weight + (1 - KEPT) * ratio})


def train_by_rule(case: Case, seed: int, grid: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the prediction at the points of the grid, and the last weight."""
    keras.utils.set_random_seed(seed)
    model, points = build(case), make_points(case)
    model.fit(points=points, epochs=EPOCHS, callbacks=[Balance(points)], verbose=0)
    found = model.predict(grid, batch_size=len(grid), verbose=0)
    return found[:, 0], kp.get_term_weights(model)["pde"]


def train_constants(
    case: Case, weights: list[float], seeds: int, grid: np.ndarray
) -> dict[float, np.ndarray]:
    """Returns predictions of shape `(seeds, rows)` by weight."""
    each = np.repeat(weights, seeds).tolist()
    trainer = kp.ReplicaTrainer(build(case), {"pde": each}, [*range(seeds)] * len(weights))
    trainer.fit(points=make_points(case), epochs=EPOCHS, verbose=0)
    found = trainer.predict(grid, "last")[..., 0].reshape(len(weights), seeds, -1)
    return dict(zip(weights, found, strict=True))


def report(name: str, way: str, errors: list[float], last: str, seconds: float) -> None:
    """Prints a row of the table."""
    each = ", ".join(f"{error:.4f}" for error in errors)
    median = f"{statistics.median(errors):.4f}"
    print(f"| {name} | {way} | {last} | {median} | {each} | {seconds:.0f} |", flush=True)


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", type=float, nargs="+", default=[1.0, 0.1, 0.01, 0.001])
    options = parser.parse_args()
    print("| equation | weight | at the end | L2 error, median | each seed | s |")
    print("| --- " * 6 + "|")
    for name in options.cases:
        case = CASES[name]
        grid, truth = case.reference()

        def error(found: np.ndarray, truth: np.ndarray = truth) -> float:
            return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))

        begin = time.perf_counter()
        ruled = [train_by_rule(case, seed, grid) for seed in range(options.seeds)]
        last = ", ".join(f"{weight:.2g}" for _, weight in ruled)
        spent = time.perf_counter() - begin
        report(name, "by the rule", [error(found) for found, _ in ruled], last, spent)
        begin = time.perf_counter()
        for weight, found in train_constants(case, options.weights, options.seeds, grid).items():
            spent = time.perf_counter() - begin
            report("", f"{weight:g}", [error(each) for each in found], f"{weight:g}", spent)


if __name__ == "__main__":
    main()
