"""Groups of terms that share one call of the physics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_physreg._utils.serialization import display_name
from keras_physreg.terms.term import PhysicsTerm


@dataclass(frozen=True)
class Group:
    """Terms for which the physics gets the same arguments and passes the same gradients back.

    Args:
        where: Which rows the physics sees, a function of the inputs; `None`: all.
        at: `"prediction"` or `"labels"`: what the physics gets as its second argument.
        trains: `"network"` or `"constants"`: where the gradient goes; `None`: to both.
        names: Names of the terms.
    """

    where: Callable[[Any], Any] | None
    at: str
    trains: str | None
    names: tuple[str, ...]


def grouped(terms: Sequence[PhysicsTerm]) -> tuple[Group, ...]:
    """Returns the groups of terms; one with all terms if none of them has such an option.

    Example:
    >>> terms = [PhysicsTerm("a"), PhysicsTerm("b", trains="network"), PhysicsTerm("c")]
    >>> [group.names for group in grouped(terms)]
    [('a', 'c'), ('b',)]
    """
    found: dict[Any, list[PhysicsTerm]] = {}
    for term in terms:
        found.setdefault((id(term.where), term.at, term.trains), []).append(term)
    return tuple(
        Group(some[0].where, some[0].at, some[0].trains, tuple(term.name for term in some))
        for some in found.values()
    )


def check_trainable(physics: Any, terms: Sequence[PhysicsTerm]) -> None:
    """Raises if a term is to train constants, but the physics is a function, which has none."""
    for term in terms:
        if term.trains == "constants" and not isinstance(physics, keras.Layer):
            raise ValueError(
                f"Physics term '{term.name}' has `trains='constants'`, but the physics "
                f"`{display_name(physics)}` is a function, which has no constants: the term would "
                "train nothing. Write the physics as a `keras.layers.Layer` with "
                "`keras_physreg.Constant`s as attributes."
            )
