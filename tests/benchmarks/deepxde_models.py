"""Equations in DeepXDE, for the benchmarks beside it; it is not installed with this package.

`pip install deepxde`, and for its backend "tensorflow" also `tensorflow_probability tf_keras`.
`DDE_BACKEND` selects another one. By itself DeepXDE turns XLA on for GPUs only.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# The data of DeepXDE's documentation for Burgers' equation, like all numbers of `burgers_model`:
# https://deepxde.readthedocs.io/en/latest/demos/pinn_forward/burgers.html
BURGERS_POINTS = {"num_domain": 2540, "num_boundary": 80, "num_initial": 160}
ADAM_STEPS = 15000
LBFGS_CHUNK = 100  # Iterations between two errors.


def is_installed() -> bool:
    """Returns whether DeepXDE can be imported."""
    return importlib.util.find_spec("deepxde") is not None


def deepxde() -> Any:
    """Returns the module `deepxde`."""
    os.environ.setdefault("DDE_BACKEND", "tensorflow")
    import deepxde

    return deepxde


def compiled(data: Any, rate: float = 1e-3) -> Any:
    """Returns a model of 3 layers of 20 tanh units, compiled for Adam."""
    dde = deepxde()
    model = dde.Model(data, dde.nn.FNN([2, 20, 20, 20, 1], "tanh", "Glorot normal"))
    model.compile("adam", lr=rate, verbose=0)
    return model


def steps(highest: str, rows: int, count: int, residual: Callable, xla: bool) -> Callable[[], None]:
    """Returns a function that takes steps of Adam on the residual alone.

    Args:
        highest: The highest derivative by x, such as `"xxx"`.
        rows: Number of points.
        count: Number of steps.
        residual: Function of `u`, `u_x`, `u_t` and the highest derivative.
        xla: Whether its programs are compiled by XLA.
    """
    dde = deepxde()
    dde.config.enable_xla_jit(xla)

    def pde(z: Any, u: Any) -> Any:
        u_x, u_t = (dde.grad.jacobian(u, z, i=0, j=j) for j in (0, 1))
        high = dde.grad.hessian(u, z, i=0, j=0)
        for _ in highest[2:]:
            high = dde.grad.jacobian(high, z, i=0, j=0)
        return residual(u, u_x, u_t, high)

    square = dde.geometry.Rectangle([0, 0], [1, 1])
    model = compiled(dde.data.PDE(square, pde, [], num_domain=rows))
    return lambda: model.train(iterations=count, display_every=10**9, verbose=0)


def burgers_model(viscosity: float) -> Any:
    """Returns a model of Burgers' equation as in DeepXDE's documentation."""
    dde = deepxde()

    def pde(z: Any, u: Any) -> Any:
        u_x, u_t = (dde.grad.jacobian(u, z, i=0, j=j) for j in (0, 1))
        return u_t + u * u_x - viscosity * dde.grad.hessian(u, z, i=0, j=0)

    region = dde.geometry.GeometryXTime(
        dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 0.99)
    )
    walls = dde.icbc.DirichletBC(region, lambda z: 0, lambda _, on_wall: on_wall)
    start = dde.icbc.IC(region, lambda z: -np.sin(np.pi * z[:, :1]), lambda _, at_start: at_start)
    return compiled(dde.data.TimePDE(region, pde, [walls, start], **BURGERS_POINTS))


def trained_burgers(
    seed: int, viscosity: float, error: Callable[[Callable], float], iterations: int
) -> Iterator[tuple[str, float]]:
    """Trains by Adam and then by L-BFGS; yields what was done so far, and the error after it.

    Args:
        seed: Seed of weights and points.
        viscosity: Of the equation.
        error: Function from a prediction to its error.
        iterations: Most iterations of L-BFGS; the documentation has 15000.
    """
    dde = deepxde()
    dde.config.set_random_seed(seed)
    model = burgers_model(viscosity)
    model.train(iterations=ADAM_STEPS, display_every=1000, verbose=0)
    yield f"Adam, {ADAM_STEPS} steps", error(model.predict)
    model.compile("L-BFGS", verbose=0)
    state, results = model.train_state, None
    for most in (*range(LBFGS_CHUNK, iterations, LBFGS_CHUNK), iterations):
        # What `model.train` does, but for the pauses: it goes on from all that L-BFGS remembers.
        dde.optimizers.set_LBFGS_options(maxiter=most)
        results = model.train_step(state.X_train, state.y_train, state.train_aux_vars, results)
        end = ", which then ends" if bool(results.converged | results.failed) else ""
        yield f"L-BFGS, {int(results.num_iterations)} iterations{end}", error(model.predict)
        if end:
            break
