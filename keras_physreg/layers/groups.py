"""Groups of terms that share one call of the physics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_physreg._utils.serialization import display_name
from keras_physreg.layers.physics_functions import PhysicsFunctions
from keras_physreg.terms.term import PhysicsTerm


@dataclass(frozen=True)
class Group:
    """Terms for which the physics gets the same arguments and passes the same gradients back.

    Args:
        physics: Function or layer `(inputs, prediction) -> outputs`.
        returned: Names of the terms whose outputs it returns.
        where: Which rows the physics sees, a function of the inputs; `None`: all.
        at: `"prediction"` or `"labels"`: what the physics gets as its second argument.
        trains: `"network"` or `"constants"`: where the gradient goes; `None`: to both.
        names: Names of the terms.
    """

    physics: Any
    returned: tuple[str, ...]
    where: Callable[[Any], Any] | None
    at: str
    trains: str | None
    names: tuple[str, ...]


def grouped(physics: PhysicsFunctions, terms: Sequence[PhysicsTerm]) -> tuple[Group, ...]:
    """Returns the groups of terms; one with all terms if none of them has such an option.

    With one function per term, each term is a group.

    Example:
    >>> terms = [PhysicsTerm("a"), PhysicsTerm("b", trains="network"), PhysicsTerm("c")]
    >>> together = PhysicsFunctions(lambda z, x: x, ["a", "b", "c"])
    >>> [group.names for group in grouped(together, terms)]
    [('a', 'c'), ('b',)]
    """
    found: dict[Any, list[PhysicsTerm]] = {}
    for term in terms:
        alone = term.name if physics.is_by_term else None
        found.setdefault((alone, id(term.where), term.at, term.trains), []).append(term)
    every = tuple(term.name for term in terms)
    groups = []
    for some in found.values():
        first, names = some[0], tuple(term.name for term in some)
        returned = names if physics.is_by_term else every
        options = (first.where, first.at, first.trains)
        groups.append(Group(physics[first.name], returned, *options, names))
    return tuple(groups)


def sharing_with(term: str, physics: PhysicsFunctions, terms: Sequence[PhysicsTerm]) -> list[str]:
    """Returns the other terms whose gradients pass through the same call of the physics."""
    names = next(group.names for group in grouped(physics, terms) if term in group.names)
    return [name for name in names if name != term]


def check_trainable(physics: PhysicsFunctions, terms: Sequence[PhysicsTerm]) -> None:
    """Raises if a term is to train constants, but its physics is a function, which has none."""
    for term in terms:
        if term.trains == "constants" and not isinstance(physics[term.name], keras.Layer):
            raise ValueError(
                f"Physics term '{term.name}' has `trains='constants'`, but the physics "
                f"`{display_name(physics[term.name])}` is a function, which has no constants: the "
                "term would train nothing. Write the physics as a `keras.layers.Layer` with "
                "`keras_physreg.Constant`s as attributes."
            )
