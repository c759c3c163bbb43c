"""Equations in plain JAX, with their regions, points and solutions, for balance.py.

helmholtz: u_xx + u_yy + u = q in [-1, 1]^2 with u = 0 on the edges and the solution
sin(pi x) sin(pi y).

burgers: u_t + u u_x = (0.01 / pi) u_xx with its start and its walls, as examples/burgers.py.

klein-gordon: u_tt - u_xx + u^3 = q in [0, 1]^2 with the solution x cos(5 pi t) + (x t)^3, which is
given on all edges but t = 1, as is its derivative by t, 0, at the start.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from scipy.io import loadmat

DATA = Path(__file__).parents[2] / "examples" / "data" / "burgers" / "burgers_shock.mat"
PI = np.pi


class Derivatives(NamedTuple):
    """Output and derivatives by the inputs x and y, each of shape `(rows,)`."""

    u: jax.Array
    x: jax.Array
    y: jax.Array
    xx: jax.Array
    yy: jax.Array


class Case(NamedTuple):
    """An equation: residuals, the region, whether y = 1 is an edge, and its solution."""

    equation: Callable[[jax.Array, jax.Array, Derivatives], jax.Array]
    edges: Callable[[jax.Array, jax.Array, Derivatives], jax.Array]
    low: tuple[float, float]
    closed: bool
    solution: Callable[[], tuple[np.ndarray, np.ndarray]]


def on_grid(low: tuple[float, float], solution: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Returns 101 x 101 points up to (1, 1), and the solution there."""
    x, y = np.meshgrid(*[np.linspace(start, 1, 101) for start in low])
    return np.stack([x.ravel(), y.ravel()], -1), solution(x, y).ravel()


def burgers_reference() -> tuple[np.ndarray, np.ndarray]:
    """Returns the points of the reference, and the solution there."""
    data = loadmat(DATA)
    x, t = np.meshgrid(data["x"][:, 0], data["t"][:, 0], indexing="ij")
    return np.stack([x.ravel(), t.ravel()], -1), data["usol"].ravel()


def helmholtz(x: jax.Array, y: jax.Array, u: Derivatives) -> jax.Array:
    """Returns the residual of the equation."""
    return u.xx + u.yy + u.u - (1 - 2 * PI**2) * jnp.sin(PI * x) * jnp.sin(PI * y)


def wave(x: Any, t: Any, xp: Any = jnp) -> Any:
    """Returns the solution of the Klein-Gordon equation."""
    return x * xp.cos(5 * PI * t) + (x * t) ** 3


def klein_gordon(x: jax.Array, t: jax.Array, u: Derivatives) -> jax.Array:
    """Returns the residual of the equation."""
    by_t, by_x = -25 * PI**2 * x * jnp.cos(5 * PI * t) + 6 * t * x**3, 6 * x * t**3
    return u.yy - u.xx + u.u**3 - (by_t - by_x + wave(x, t) ** 3)


CASES = {
    "helmholtz": Case(
        helmholtz,
        lambda x, y, u: u.u,
        (-1, -1),
        True,
        partial(on_grid, (-1, -1), lambda x, y: np.sin(PI * x) * np.sin(PI * y)),
    ),
    "burgers": Case(
        lambda x, t, u: u.y + u.u * u.x - 0.01 / PI * u.xx,
        lambda x, t, u: u.u + jnp.where(t == 0, jnp.sin(PI * x), 0),
        (-1, 0),
        False,
        burgers_reference,
    ),
    "klein-gordon": Case(
        klein_gordon,
        lambda x, t, u: jnp.concatenate([u.u - wave(x, t), jnp.where(t == 0, u.y, 0)]),
        (0, 0),
        False,
        partial(on_grid, (0, 0), partial(wave, xp=np)),
    ),
}


def make_points(case: Case, seed: int, inside: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns random points on the edges, a fifth as many as inside, and those inside."""
    draw = np.random.default_rng(seed)
    edges = draw.uniform(case.low, 1, (inside // 5, 2))
    sides = np.array([(0, 0), (0, 1), (1, 0), (1, 1)][: 4 if case.closed else 3])
    axis, end = sides[draw.integers(0, len(sides), len(edges))].T
    edges[np.arange(len(edges)), axis] = np.where(end, 1, np.array(case.low)[axis])
    return edges.astype("float32"), draw.uniform(case.low, 1, (inside, 2)).astype("float32")
