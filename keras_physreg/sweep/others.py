"""Others: the weights of the terms that are not swept at the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_physreg._utils.errors import did_you_mean, received
from keras_physreg.diagnosis import Diagnosis
from keras_physreg.inspection import find_terms, get_term_weights
from keras_physreg.terms.term import PhysicsTerm
from keras_physreg.terms.weights import checked_weight

MODES = ("zero", "best", "keep")


@dataclass(frozen=True)
class Others:
    """The weights of all terms of a model while another term is swept.

    Args:
        mode: `"zero"`, `"best"`, `"keep"` or `"given"`; see `others` of `sanity_sweep`.
        weights: The weight of each term while another one is swept; with `"best"`, before the
            first one was.
        constants_only: Names of the terms that train constants only.
    """

    mode: str
    weights: dict[str, float]
    constants_only: tuple[str, ...] = ()

    def without(self, group: Sequence[str], best: Mapping[str, float]) -> dict[str, float]:
        """Returns the weights of the baseline of a group, in which its terms have weight 0.

        Args:
            group: Terms that share a baseline, from `groups`.
            best: The weights after the terms swept so far, which `"best"` uses.
        """
        return {**(best if self.mode == "best" else self.weights), **dict.fromkeys(group, 0.0)}

    def groups(self, terms: Sequence[str]) -> list[list[str]]:
        """Returns the terms to sweep in groups that share a baseline."""
        if self.mode == "best":
            return [[name] for name in terms]
        off = [name for name in terms if not self.weights[name]]
        kept = [[name] for name in terms if self.weights[name]]
        return [off, *kept] if off else kept

    def check_trains(self, terms: Sequence[str]) -> None:
        """Raises if a baseline has no term that trains the network: there are no labelled rows.

        Args:
            terms: The terms to sweep.
        """
        for group in self.groups(terms):
            on = [name for name, weight in self.without(group, self.weights).items() if weight]
            if not set(on) - set(self.constants_only):
                raise ValueError(
                    "Without labelled rows (x=None) a model trains on its terms alone, and while "
                    f"{_named(group)} swept, all other terms that train the network have weight "
                    "0: the baseline would not train at all. Keep the other terms on: "
                    "`others='keep'` with weights above 0 in the model (`set_term_weights`), or "
                    f"a dict {{term: weight}}. Received: others='{self.mode}', with the weights "
                    f"{self.weights}"
                )


def check_others(model: keras.Model, others: Any) -> None:
    """Raises unless `others` is one of its words, or gives weights to terms of the model."""
    words = "'zero', 'best', 'keep', or a dict {term: weight}"
    if isinstance(others, str) and others in MODES:
        return
    if not isinstance(others, Mapping):
        kind = ValueError if isinstance(others, str) else TypeError
        hint = did_you_mean(others, MODES) if isinstance(others, str) else ""
        raise kind(f"`others` must be {words}. {received('others', others)}{hint}")
    known = list(find_terms(model))
    for name, weight in others.items():
        if name not in known:
            raise ValueError(
                f"`others` names {name!r}, which is no physics term of model '{model.name}'. Its "
                f"terms: {known}.{did_you_mean(name, known)} {received('others', others)}"
            )
        checked_weight(f"`others` of physics term '{name}'", "weight", weight)


def check_is_other(others: Any, swept: Sequence[str]) -> None:
    """Raises if `others` gives a weight to the only term that is swept."""
    if isinstance(others, Mapping) and len(swept) == 1 and swept[0] in others:
        raise ValueError(
            f"`others` gives a weight to '{swept[0]}', the only term that is swept: it is never "
            f"one of the other terms. {received('others', others)}"
        )


def resolved(model: keras.Model, others: Any, constants_only: Sequence[str]) -> Others:
    """Returns the weights of all terms of a model while another one is swept.

    Terms that train constants only keep their weight, unless `others` gives them another one.

    Args:
        model: The model.
        others: A checked argument `others` of `sanity_sweep`.
        constants_only: Names of the terms that train constants only.
    """
    kept = get_term_weights(model)
    mode = others if isinstance(others, str) else "given"
    weights = kept
    if mode != "keep":
        weights = {name: w if name in constants_only else 0.0 for name, w in kept.items()}
    if mode == "given":
        weights |= {name: float(others[name]) for name in kept if name in others}
    return Others(mode, weights, tuple(constants_only))


def constants_only(model: keras.Model, report: Diagnosis) -> list[str]:
    """Returns the names of the terms that train constants only, by option or by the diagnosis."""
    found = {finding.term for finding in report.findings if finding.code == "constants-only"}
    return [
        name
        for name, layer in find_terms(model).items()
        if name in found or _trains_constants(next(t for t in layer.terms if t.name == name))
    ]


def swept_by_default(
    model: keras.Model, terms: Sequence[str], calibrating: Sequence[str]
) -> list[str]:
    """Returns the terms that are swept by default; raises if all of them only train constants."""
    names = [name for name in terms if name not in calibrating]
    if not names:
        raise ValueError(
            f"All physics terms of model '{model.name}' only train constants ({list(terms)}), and "
            "such terms are not swept by default: their weight hardly matters to the predictions. "
            "Name one in `terms` to sweep it anyway."
        )
    return names


def _named(terms: Sequence[str]) -> str:
    return f"'{terms[0]}' is" if len(terms) == 1 else f"{list(terms)} are"


def _trains_constants(term: PhysicsTerm) -> bool:
    return term.at == "labels" or term.trains == "constants"
