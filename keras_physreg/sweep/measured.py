"""MeasuredSweep: what a sweep measured, and the verdicts that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from keras_physreg._utils.serialization import as_json
from keras_physreg.sweep.judgement import Scores, judge
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict, Verdict


@dataclass(frozen=True)
class Combination:
    """All terms that help, trained together on the same splits with the same seeds.

    Where terms were swept beside others at a weight of their own, a single one that helps is
    trained alone as well; and if none helps, all are trained at these weights.

    Args:
        weights: The weights of these terms.
        sweep: The trainings with all swept terms off, then with these weights. It is stored like a
            term with the weights 0 and 1, and has no term losses.
        before: The weights of these terms in the first trainings, where they are not 0: without
            labelled rows, those that they have while other terms are swept.
    """

    weights: dict[str, float]
    sweep: TermSweep
    before: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, weights: dict[str, float], off: TermSweep, on: TermSweep, fixed: dict[str, float]
    ) -> Combination:
        """Puts the trainings with all terms off and with these weights side by side.

        Args:
            weights: See `Combination`.
            off: The first trainings.
            on: The trainings with these weights.
            fixed: The weights of all terms in the first trainings.
        """
        both = off.extended(on)
        scores = {key: both.measured[key] for key in ("score", "train_score")}
        kept = replace(both, weights=np.array([0.0, 1.0]), measured=scores, floor=None)
        before = {name: fixed[name] for name in weights if fixed[name]}
        return cls(weights, replace(kept, val_floor=None), before)

    @property
    def name(self) -> str:
        """The names of the terms, as a sum."""
        return " + ".join(self.weights)


@dataclass(frozen=True)
class MeasuredSweep:
    """What a sweep measured; for the arguments see `SweepResult`."""

    terms: dict[str, TermSweep]
    settings: SweepSettings
    combined: Combination | None = None

    @cached_property
    def verdicts(self) -> dict[str, TermVerdict]:
        """The verdict on each term."""
        return {name: self._judge(name, term) for name, term in self.terms.items()}

    @cached_property
    def combined_verdict(self) -> TermVerdict | None:
        """The verdict on all terms that help, together; `None` unless there are several."""
        if self.combined is None:
            return None
        return self._judge(self.combined.name, self.combined.sweep)

    @property
    def combined_weights(self) -> dict[str, float]:
        """The weights of the combination; with those of all swept terms where it has only one."""
        if self.combined is None:
            return {}
        alone = len(self.combined.weights) == 1
        off = {name: 0.0 if self.settings.has_rows else self.off[name] for name in self.terms}
        return (off if alone else {}) | self.combined.weights

    @cached_property
    def off(self) -> dict[str, float]:
        """The weights of all terms of the model where no term is on because of the sweep.

        Terms that were swept have 0. Terms that were not swept have the weight of all trainings. A
        swept term that trains constants only keeps its weight where it neither helps nor harms:
        without it, the constants would not be trained. Without labelled rows all swept terms keep
        the weight that they have while others are swept.
        """
        first, sweep = next(iter(self.terms.items()))
        return {first: 0.0} | sweep.others | {t: self._off(t) for t in self.settings.terms}

    def is_off_in(self, name: str) -> bool:
        """Returns whether the baseline of a term has the weights `off`."""
        return {name: 0.0} | self.terms[name].others == self.off

    def trained_at(self, weights: dict[str, float]) -> tuple[TermSweep, float] | None:
        """Returns trainings with these weights of all terms, or `None` if there were none.

        Returns:
            The sweep of a term, and the weight of that term; or of the combination, 0 or 1.
        """
        for name, sweep in self.terms.items():
            weight = weights[name]
            if {name: weight} | sweep.others == weights and weight in sweep.weights:
                return sweep, weight
        if self.combined is None:
            return None
        off = dict.fromkeys(self.combined.weights, 0.0) | self.combined.sweep.others
        off |= self.combined.before
        tried = {0.0: off, 1.0: off | self.combined.weights}
        found = [at for at, each in tried.items() if each == weights]
        return (self.combined.sweep, found[0]) if found else None

    def to_dict(self) -> dict[str, Any]:
        """Returns all measurements, settings and verdicts as JSON holds them."""
        found: dict[str, Any] = {
            "settings": self.settings.to_dict(),
            "terms": {name: term.to_dict() for name, term in self.terms.items()},
            "verdicts": {name: verdict.to_dict() for name, verdict in self.verdicts.items()},
        }
        if self.combined is not None and self.combined_verdict is not None:
            found["combined"] = {
                "weights": as_json(self.combined.weights),
                "before": as_json(self.combined.before),
                "sweep": self.combined.sweep.to_dict(),
                "verdict": self.combined_verdict.to_dict(),
            }
        return found

    def _off(self, name: str) -> float:
        """Returns the weight of a swept term that does not help."""
        if not self.settings.has_rows:
            return self.settings.others_weights[name]
        verdict = self.verdicts.get(name)
        if name not in self.settings.constants_only or (
            verdict is not None and (verdict.helps or verdict.verdict.harms)
        ):
            return 0.0
        return self.settings.others_weights[name]

    def _judge(self, name: str, term: TermSweep) -> TermVerdict:
        splits = self.settings.splits
        scores, diverged = term.measured["score"], term.diverged
        if splits is None:
            scores, diverged = scores[:, np.newaxis], diverged[:, np.newaxis]
        ratio = None if splits is None else splits.mean_ratio
        compared = Scores(scores, diverged, ratio, term.row_scores)
        verdict = judge(name, term.weights[1:], compared, self.settings.rules)
        cut_short = term.epochs < self.settings.epochs
        if cut_short and verdict.inert:
            return replace(verdict, verdict=Verdict.CANNOT_TELL)
        return verdict
