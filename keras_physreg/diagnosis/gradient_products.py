"""Gradients: the inner products of the gradients of the data loss and of each term."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DATA = "data"


@dataclass(frozen=True)
class Gradients:
    """The mean gradients over some data, as all their inner products.

    Args:
        names: `"data"` and the terms, in the order of the Gramian.
        variables: Paths of the trainable variables.
        by_variable: Inner products of the gradients, of shape `(variables, names, names)`.
        connected: For each name, which variables its gradient reaches.
        cut_before: The terms without a gradient whose prediction has none either, so that the
            fault lies before the physics.
        reasons: Why there is no gradient, in TensorFlow's words, where it gave any.
    """

    names: tuple[str, ...]
    variables: tuple[str, ...]
    by_variable: np.ndarray
    connected: dict[str, tuple[bool, ...]]
    cut_before: frozenset[str]
    reasons: dict[str, str]

    @property
    def gramian(self) -> np.ndarray:
        """Inner products over all trainable variables, of shape `(names, names)`."""
        return self.by_variable.sum(axis=0)

    def norm(self, name: str, variable: str | None = None) -> float | None:
        """Norm of a gradient, in all or in one variable; `None` where it is not connected."""
        if not any(self.connected[name]):
            return None
        return float(np.sqrt(self._inner(name, name, variable)))

    def cosine(self, a: str, b: str, variable: str | None = None) -> float | None:
        """Cosine of the angle between two gradients; `None` where one of them is zero."""
        norm_a, norm_b = self.norm(a, variable), self.norm(b, variable)
        if not norm_a or not norm_b:
            return None
        return float(np.clip(self._inner(a, b, variable) / norm_a / norm_b, -1.0, 1.0))

    def _inner(self, a: str, b: str, variable: str | None) -> float:
        products = self.gramian
        if variable is not None:
            products = self.by_variable[self.variables.index(variable)]
        return products[self.names.index(a), self.names.index(b)]
