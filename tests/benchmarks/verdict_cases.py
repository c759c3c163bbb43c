"""Cases of `verdicts.py`: measured rows, a model, and physics that helps, harms or is null.

Null physics knows nothing of the row it is evaluated on: a random function of the inputs that the
prediction is driven to (`random`), and true physics of another row's inputs (`stranger`).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import keras_physreg as kp

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import irradiance
import pv_modules

WEIGHTS = (1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
# Null physics harms from 0.1 on; what chance makes of it shows where it hardly matters.
NULL_WEIGHTS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
HIDDEN = 32
LEARNING_RATE = 1e-2
MAX_TEST_ROWS = 600
UNLABELLED_ROWS = 1000


@dataclass(frozen=True)
class Case:
    """Rows and physics.

    Args:
        name: What it is.
        x: Inputs of all rows, `(rows, columns)`: what the network sees comes first.
        y: Labels of all rows.
        columns: Number of columns that the network sees.
        physics: The physics function.
        terms: Its terms: a name, or an object of class `PhysicsTerm`.
        weights: The weights to try.
        null: Whether the physics knows nothing.
        fixed: Rows that are never labelled: for tests, and without labels.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    columns: int
    physics: Callable[[Any, Any], Any]
    terms: tuple[Any, ...]
    weights: tuple[float, ...] = WEIGHTS
    null: bool = False
    fixed: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def unlabelled(self) -> np.ndarray | None:
        """Inputs without labels, or `None`."""
        return None if self.fixed is None or not len(self.fixed[1]) else self.x[self.fixed[1]]

    def draw(self, size: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the labelled rows of a set, and the rows on which the truth is measured."""
        rows = np.arange(len(self.x))
        known = rows if self.fixed is None else np.setdiff1d(rows, np.concatenate(self.fixed))
        drawn = np.random.default_rng([number, size]).permutation(known)
        test = drawn[size:] if self.fixed is None else self.fixed[0]
        return drawn[:size], np.sort(test[:MAX_TEST_ROWS])

    def build(self) -> keras.Model:
        """Returns a new compiled model with all terms off."""
        inputs = keras.Input((self.x.shape[1],))
        hidden = inputs[:, : self.columns]
        for _ in range(2):
            hidden = keras.layers.Dense(HIDDEN, activation="tanh")(hidden)
        predicted = keras.layers.Dense(self.y.shape[1])(hidden)
        terms = [t if isinstance(t, kp.PhysicsTerm) else kp.PhysicsTerm(t) for t in self.terms]
        physics = kp.PhysicsRegularization(self.physics, terms)
        model = kp.PhysicsModel(inputs, physics(inputs, predicted))
        kp.set_term_weights(model, dict.fromkeys(self.term_names, 0.0))
        model.compile(keras.optimizers.Adam(LEARNING_RATE), loss="mse")
        return model

    @property
    def term_names(self) -> list[str]:
        """The names of the terms."""
        return [t.name if isinstance(t, kp.PhysicsTerm) else t for t in self.terms]


def all_cases() -> dict[str, Case]:
    """Returns the cases by name."""
    cases = [
        *_pv_modules(),
        *(_irradiance(name) for name in irradiance.FILES),
        _null_irradiance("RMIS 2022"),
    ]
    return {case.name: case for case in cases}


def _random_function(columns: int, outputs: int, seed: int) -> Callable[[Any], Any]:
    """A random smooth function of standardised columns, of size 1, fitted to no data."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(columns, 16)).astype("float32") / columns**0.5
    outer = rng.normal(size=(16, outputs)).astype("float32") / 2.0
    offset = rng.normal(size=16).astype("float32")
    return lambda z: ops.tanh(z @ inner + offset) @ outer


def _with_strangers(x: np.ndarray, seed: int = 7) -> np.ndarray:
    """Beside each row's inputs, those of another row."""
    other = np.roll(np.random.default_rng(seed).permutation(len(x)), 1)
    return np.concatenate([x, x[other]], axis=1)


def _pv_modules() -> list[Case]:
    x, y = pv_modules.load_modules()
    test, unlabelled, _ = np.split(
        np.random.default_rng(2024).permutation(len(x)),
        [MAX_TEST_ROWS, MAX_TEST_ROWS + UNLABELLED_ROWS],
    )
    terms = (
        kp.PhysicsTerm("x", reference="target", components=[0, 1]),
        kp.PhysicsTerm("z", reference="input", components=[0, 1, 2, 3]),
    )
    guess = _random_function(8, 2, seed=99)

    def null(z: Any, predicted: Any) -> dict[str, Any]:
        strange = pv_modules.calc_reg_terms(z[:, 8:], predicted)["z"] - z[:, 8:12]
        return {"random": predicted[:, :2] - guess(z[:, :8]), "stranger": strange}

    alone = (test, unlabelled[:0])
    return [
        Case("PV modules", x, y, 8, pv_modules.calc_reg_terms, terms, fixed=alone),
        Case(
            "PV modules, unlabelled",
            x,
            y,
            8,
            pv_modules.calc_reg_terms,
            terms,
            fixed=(test, unlabelled),
        ),
        Case(
            "PV modules, null",
            _with_strangers(x),
            y,
            8,
            null,
            ("random", "stranger"),
            weights=NULL_WEIGHTS,
            null=True,
            fixed=alone,
        ),
    ]


def _irradiance(name: str) -> Case:
    x, y = irradiance.load(name)
    return Case(name, x, y, 2, irradiance.closure, ("closure",))


def _null_irradiance(name: str) -> Case:
    x, y = irradiance.load(name)
    guess = _random_function(2, 1, seed=98)

    def null(z: Any, predicted: Any) -> dict[str, Any]:
        wanted = 0.7 + 0.3 * guess((z[:, :2] - 0.5) * 3.0)[:, 0]
        strange = irradiance.closure(z[:, 2:], predicted)["closure"]
        return {"random": predicted[:, 0] + predicted[:, 1] - wanted, "stranger": strange}

    return Case(
        f"{name}, null",
        _with_strangers(x),
        y,
        2,
        null,
        ("random", "stranger"),
        weights=NULL_WEIGHTS,
        null=True,
    )
