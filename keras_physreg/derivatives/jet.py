"""Jet: a tensor with the Taylor coefficients of its dependence on the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from keras import ops

from keras_physreg.derivatives.multi_index import canonical, factorial

# Yields the Taylor coefficients f(x), f'(x), f''(x) / 2, ... of a function; ends where all others
# are 0.
Series = Callable[[Any], Iterator[Any]]


@dataclass(frozen=True)
class Jet:
    """A tensor that depends on inputs, as a Taylor polynomial of several variables.

    Products of jets are products of polynomials, cut to the multi-indices that are needed; see
    Griewank and Walther, "Evaluating Derivatives", chapter 13.

    Args:
        coefficients: Taylor coefficients by canonical multi-index; that of "" is the value. Those
            left out are 0. The first axis may have size 1 where all rows have the same.
        needed: The multi-indices that are needed: with each one all that divide it.
    """

    coefficients: dict[str, Any]
    needed: frozenset[str]

    @classmethod
    def constant(cls, value: Any) -> Jet:
        """Returns the jet of a value that does not depend on the inputs."""
        return cls({"": value}, frozenset())

    @property
    def value(self) -> Any:
        """The tensor itself."""
        return self.coefficients[""]

    @property
    def slope(self) -> dict[str, Any]:
        """The coefficients without the value."""
        return {index: c for index, c in self.coefficients.items() if index}

    def derivative(self, index: str) -> Any:
        """Returns a partial derivative, in the shape of the value."""
        coefficient = self.coefficients.get(canonical(index))
        zeros = ops.zeros_like(self.value)
        return zeros if coefficient is None else factorial(index) * coefficient + zeros

    def linear(self, function: Callable[[Any], Any]) -> Jet:
        """Returns the jet of a linear function: it maps each coefficient."""
        return Jet({i: function(c) for i, c in self.coefficients.items()}, self.needed)

    def __add__(self, other: Any) -> Jet:
        other = _as_jet(other)
        value = self.value + other.value
        slopes = [*_slope_like(self, value), *_slope_like(other, value)]
        return Jet({"": value} | _summed(slopes), self.needed | other.needed)

    def __neg__(self) -> Jet:
        return self.linear(lambda c: -c)

    def __sub__(self, other: Any) -> Jet:
        return self + (-_as_jet(other))

    def __mul__(self, other: Any) -> Jet:
        other = _as_jet(other)
        needed = self.needed | other.needed
        return Jet(_product(self.coefficients, other.coefficients, needed), needed)

    def compose(self, series: Series) -> Jet:
        """Returns the jet of an elementwise function of this one, by Faa di Bruno's formula.

        With `h` the jet without its value, it is `f(x) + f'(x) h + f''(x) / 2 h^2 + ...`.

        Args:
            series: The Taylor coefficients of the function.
        """
        slope, orders = self.slope, 1 + max(map(len, self.needed), default=0)
        value, *others = islice(series(self.value), orders if slope else 1)
        pairs, power = [("", value)], slope
        for degree, factor in enumerate(others, start=1):
            if degree > 1:
                power = _product(power, slope, self.needed)
            pairs += [(index, factor * c) for index, c in power.items()]
        return Jet(_summed(pairs), self.needed)


def _as_jet(value: Any) -> Jet:
    return value if isinstance(value, Jet) else Jet.constant(value)


def _slope_like(jet: Jet, total: Any) -> Iterable[tuple[str, Any]]:
    """Returns the slope of a part of a sum; in the shape of the total if that has more columns."""
    if not jet.slope or tuple(jet.value.shape) == tuple(total.shape):
        return jet.slope.items()
    zeros = ops.zeros_like(total)
    return [(index, c + zeros) for index, c in jet.slope.items()]


def _product(one: dict[str, Any], other: dict[str, Any], needed: frozenset[str]) -> dict[str, Any]:
    return _summed(
        (index, a * b)
        for i, a in one.items()
        for j, b in other.items()
        if not (index := canonical(i + j)) or index in needed
    )


def _summed(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, value in pairs:
        found[index] = found[index] + value if index in found else value
    return found
