"""Does a rule that balances gradient norms find a weight as good as the best constant one?

The equations are those of balance_equations.py. Each has two terms: the conditions on its edges,
and its residual inside.

The rule is that of S. Wang et al., "An expert's guide to training physics-informed neural
networks", arXiv 2308.08468. With |g_i| the norm of the gradient of term i by all weights of the
network, without the weight of the term, every so many steps

    w_i <- 0.9 w_i + 0.1 (sum_j |g_j|) / |g_i|                                              (1)

"both" applies (1) to both terms. "equation" leaves the weight of the edges at 1, so that the rule
cannot change the rate of Adam, and moves that of the equation towards |g_edges| / |g_equation|.
"both, divided" is a control: weights as (1), both divided by that of the edges. The constants are
weights of the equation, with that of the edges at 1.

The ways share, per seed, first weights and points. The network has three layers of tanh units.
Adam's rate falls from 1e-3 to 0 by a cosine, so that last errors are not noise of the last steps.
The error is the relative L2 error on a grid, or on that of the reference. The best constant is that
of the smallest median error: it knows the solution, and is chosen on the seeds that judge it.

It is plain JAX, because it measures a rule that the package does not have, and because all
trainings of an equation are then one program, which a GPU runs at once.

Run: python tests/benchmarks/balance.py --seeds 1 --steps 500 --points 100
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from balance_equations import CASES, Case, Derivatives, make_points
from jax import numpy as jnp

KEPT = 0.9  # Of the moving average.
CHUNK = 500  # Steps per call of the program.
CONSTANTS = [10.0 ** (half / 2) for half in range(-10, 5)]
# Name: (whether the weight of the edges moves, whether both are divided by it, every so many steps)
RULES = {
    "equation, every 100": (False, False, 100),
    "equation, every step": (False, False, 1),
    "both, every 100": (True, False, 100),
    "both, every step": (True, False, 1),
    "both, divided, every step": (True, True, 1),
}
Arrays = Any  # A tree of arrays.


def make_network(seed: int, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns kernels, Glorot normal, and biases."""
    draw, sizes = np.random.default_rng(1000 + seed), (2, width, width, width, 1)
    return [
        ((draw.normal(size=(i, o)) * np.sqrt(2 / (i + o))).astype("float32"), np.float32(o * [0]))
        for i, o in itertools.pairwise(sizes)
    ]


def predict(network: Arrays, z: jax.Array) -> jax.Array:
    """Returns the output, of shape `(rows,)`."""
    for kernel, bias in network[:-1]:
        z = jnp.tanh(z @ kernel + bias)
    return (z @ network[-1][0] + network[-1][1])[:, 0]


def differentiate(network: Arrays, z: jax.Array) -> Derivatives:
    """Returns the output and its derivatives."""
    both = {}
    for axis in (0, 1):
        along = jnp.zeros_like(z).at[:, axis].set(1)
        first = partial(jax.jvp, partial(predict, network), tangents=(along,))
        (u, slope), (_, curvature) = jax.jvp(lambda z, f=first: f((z,)), (z,), (along,))
        both[axis] = slope, curvature
    return Derivatives(u, both[0][0], both[1][0], both[0][1], both[1][1])


def losses(case: Case, network: Arrays, points: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Returns the mean squares of both terms."""
    residuals = [
        function(*z.T, differentiate(network, z))
        for function, z in zip((case.edges, case.equation), points, strict=True)
    ]
    # Residuals of two conditions are joined: their mean squares add.
    sums = [jnp.sum(r**2) / len(z) for r, z in zip(residuals, points, strict=True)]
    return jnp.stack(sums)


def take_step(case: Case, points: Arrays, rule: Arrays, total: jax.Array, state: Arrays) -> Arrays:
    """Returns the state after a step of Adam, with weights that the rule has moved before it."""
    step, network, first, second, weights = state
    gradients = jax.jacrev(lambda n: losses(case, n, points))(network)
    leaves = jax.tree.leaves(gradients)
    norms = jnp.sqrt(sum(jnp.sum(leaf.reshape(2, -1) ** 2, axis=1) for leaf in leaves))
    moves_edges, divided, every = rule
    target = jnp.where(moves_edges, norms.sum(), norms[0]) / norms
    moved = KEPT * weights + (1 - KEPT) * target  # Of the edges without moves: 1.
    weights = jnp.where((every > 0) & (step % jnp.maximum(every, 1) == 0), moved, weights)
    used = jnp.where(divided, weights / weights[0], weights)
    gradient = jax.tree.map(lambda g: jnp.tensordot(used, g, 1), gradients)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)
    rate = 5e-4 * (1 + jnp.cos(jnp.pi * step / total))
    rate *= jnp.sqrt(1 - 0.999 ** (step + 1.0)) / (1 - 0.9 ** (step + 1.0))
    update = jax.tree.map(lambda m, v: rate * m / (jnp.sqrt(v) + 1e-7), first, second)
    network = jax.tree.map(jnp.subtract, network, update)
    return step + 1, network, first, second, weights


def make_program(case: Case) -> Callable[..., Arrays]:
    """Returns a function that takes `CHUNK` steps of all trainings."""

    def one(points: Arrays, rule: Arrays, total: jax.Array, state: Arrays) -> Arrays:
        step = partial(take_step, case, points, rule, total)
        return jax.lax.scan(lambda s, _: (step(s), None), state, length=CHUNK)[0]

    return jax.jit(jax.vmap(jax.vmap(one, (0, None, None, 0)), (None, 0, None, 0)))


def train(name: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Returns errors and last weights of shape `(ways, seeds)`, and what it took."""
    entered = time.perf_counter()
    case, seeds, constants = CASES[name], range(options.seeds), options.constants
    points, networks = (
        jax.tree.map(lambda *each: jnp.stack(each), *trees)
        for trees in (
            [make_points(case, seed, options.points) for seed in seeds],
            [make_network(seed, options.width) for seed in seeds],
        )
    )
    rules = [(False, False, 0)] * len(constants) + list(RULES.values())
    rule = tuple(map(jnp.asarray, zip(*rules, strict=True)))
    start = jnp.asarray([[1, weight] for weight in [*constants, *[1.0] * len(RULES)]], "float32")
    shape = (len(rules), len(seeds))
    networks = jax.tree.map(lambda n: jnp.broadcast_to(n, shape[:1] + n.shape), networks)
    none = jax.tree.map(jnp.zeros_like, networks)
    weights = jnp.broadcast_to(start[:, None], (*shape, 2))
    state = jnp.zeros(shape, "int32"), networks, none, none, weights
    program = make_program(case)
    for _ in range(2):  # The first one compiles.
        begin = time.perf_counter()
        jax.block_until_ready(program(points, rule, jnp.float32(options.steps), state))
        spent = time.perf_counter() - begin
    left = 0.95 * seconds - (time.perf_counter() - entered)
    chunks = max(1, min(options.steps // CHUNK, int(left / spent)))
    for _ in range(chunks):
        state = program(points, rule, jnp.float32(chunks * CHUNK), state)
    z, truth = map(jnp.float32, case.solution())
    found = jax.jit(jax.vmap(jax.vmap(predict, (0, None)), (0, None)))(state[1], z)
    errors = jnp.linalg.norm(found - truth, axis=-1) / jnp.linalg.norm(truth)
    return {
        "case": name,
        "width": options.width,
        "steps": chunks * CHUNK,
        "ms_per_step": spent / CHUNK * 1e3,
        "ways": [*[f"{c:.3g}" for c in constants], *RULES],
        "errors": np.asarray(errors).tolist(),
        "last": np.asarray(state[4][..., 1] / state[4][..., 0]).tolist(),
    }


def best_of_others(errors: np.ndarray) -> np.ndarray:
    """Returns per seed the error of the constant that is best on all other seeds."""
    seeds = np.arange(errors.shape[1])
    best = [np.nanargmin(np.median(errors[:, seeds != s], axis=1)) for s in seeds]
    return errors[best, seeds]


def show(result: dict[str, Any], constants: list[float]) -> None:
    """Prints a table: errors per way, and ratios, in pairs, to constants."""
    errors = np.array(result["errors"])
    medians = np.median(errors, axis=1)
    best = int(np.nanargmin(medians[: len(constants)]))
    plain = int(np.abs(np.log(constants)).argmin())
    print(
        f"\n{result['case']}, three layers of {result['width']}, {result['steps']} steps, "
        f"{result['ms_per_step']:.2f} ms per step of all; best constant {result['ways'][best]}\n\n"
        "| weight of the equation | over that of the edges, last | error, median | each seed "
        f"| to the best: median, worst | to {result['ways'][plain]}: median, worst "
        "| to the best on the other seeds: median, worst |"
    )
    print("| --- " * 7 + "|")
    constant = errors[: len(constants)]
    others = best_of_others(constant) if len(errors[0]) > 1 else constant[best]
    for way, error, last in zip(result["ways"], errors, result["last"], strict=True):
        each = ", ".join(f"{e:.2g}" for e in error)
        ratios = [error / other for other in (errors[best], errors[plain], others)]
        cells = [f"{np.median(ratio):.3g}, {ratio.max():.3g}" for ratio in ratios]
        print(
            f"| {way} | {np.median(last):.2g} | {np.median(error):.3g} | {each} "
            f"| {cells[0]} | {cells[1]} | {cells[2]} |",
            flush=True,
        )


def main() -> None:
    """Prints a table per equation, and saves all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[*CASES])
    parser.add_argument("--width", type=int, default=20, help="of the three layers")
    parser.add_argument("--constants", type=float, nargs="+", default=CONSTANTS)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--points", type=int, default=2000, help="inside the region")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds, kept by fewer steps")
    parser.add_argument("--out", type=Path, help="a JSON file")
    options = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")  # GPUs multiply in TF32.
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}", flush=True)
    begin, results = time.perf_counter(), []
    for number, name in enumerate(options.cases):
        left = options.limit - (time.perf_counter() - begin)
        results.append(train(name, options, left / (len(options.cases) - number)))
        show(results[-1], options.constants)
        if options.out:
            options.out.write_text(json.dumps(results))
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
