"""SweepResult: what a sanity sweep measured, and what it says of each term."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_physreg.sweep import text
from keras_physreg.sweep.judgement import judge
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep was made.

    Args:
        monitor: The log that is the score; smaller is better.
        score: `"best"` or `"last"`: the epoch whose score counts.
        epochs: Epochs of every training, unless Ctrl-C ended it; see `TermSweep.epochs`.
        terms: The terms to sweep.
        seeds: The seeds.
        min_effect: Smallest relative change of the score that matters.
        confidence: Probability that all intervals of a term hold together.
        engine: How the replicas were trained.
        seconds: Seconds that the sweep took.
        interrupted: Whether it was ended by Ctrl-C.
    """

    monitor: str
    score: str
    epochs: int
    terms: list[str]
    seeds: list[int]
    min_effect: float
    confidence: float
    engine: str
    seconds: float
    interrupted: bool


@dataclass(frozen=True)
class SweepResult:
    """What a sanity sweep measured; `print(result)` says what it means.

    Args:
        terms: What was measured, by term.
        settings: How the sweep was made.
    """

    terms: dict[str, TermSweep]
    settings: SweepSettings

    @cached_property
    def verdicts(self) -> dict[str, TermVerdict]:
        """What the sweep says of each term."""
        return {name: self._judge(name, term) for name, term in self.terms.items()}

    def helpful_weights(self, terms: Iterable[str] | None = None) -> dict[str, float]:
        """Returns the best weights of the terms that help.

        Args:
            terms: Names of terms; `None` for all.
        """
        verdicts = [self.verdicts[name] for name in (self.terms if terms is None else terms)]
        return {v.term: v.best_weight for v in verdicts if v.helps and v.best_weight is not None}

    def summary(self) -> str:
        """Returns a table, and then a sentence or two a term, to act on."""
        return text.report(self)

    def __str__(self) -> str:
        return self.summary()

    def plot(self) -> Figure:
        """Draws the data loss and the term losses against the weight; see `plot_sweep`.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from keras_physreg.sweep.picture import plot_sweep

        return plot_sweep(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns all measurements, settings and verdicts as plain Python values."""
        return {
            "settings": asdict(self.settings),
            "terms": {name: term.to_dict() for name, term in self.terms.items()},
            "verdicts": {name: verdict.to_dict() for name, verdict in self.verdicts.items()},
        }

    def save(self, path: str | Path) -> None:
        """Writes the result as JSON.

        Args:
            path: Path of the file.
        """
        text = json.dumps(_without_nan(self.to_dict()), indent=1, allow_nan=False)
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Reads what `save` wrote; the verdicts are judged anew from the measurements.

        Args:
            path: Path of the file.

        Returns:
            The result.

        Raises:
            ValueError: If the file holds no sweep.
        """
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not {"terms", "settings"} <= set(values):
            raise ValueError(f"The file holds no saved `SweepResult`. Received: path={path!r}")
        terms = {name: TermSweep.from_dict(term) for name, term in values["terms"].items()}
        return cls(terms, SweepSettings(**values["settings"]))

    def to_dataframe(self) -> Any:
        """Returns one row for each term, weight and seed.

        Returns:
            A pandas `DataFrame`.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("`to_dataframe` needs pandas: pip install pandas") from error
        return pandas.DataFrame(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "term": name,
                "weight": weight,
                "seed": seed,
                **{key: values[i, j] for key, values in term.measured.items()},
                "diverged": bool(term.diverged[i, j]),
            }
            for name, term in self.terms.items()
            for i, weight in enumerate(term.weights.tolist())
            for j, seed in enumerate(self.settings.seeds)
        ]

    def _judge(self, name: str, term: TermSweep) -> TermVerdict:
        scores = term.measured["score"]
        verdict = judge(
            name,
            term.weights[1:],
            np.where(term.usable, scores[0], np.nan),
            scores[1:],
            term.diverged[1:] & term.usable,
            self.settings.min_effect,
            self.settings.confidence,
        )
        cut_short = term.epochs < self.settings.epochs
        return replace(verdict, verdict="cannot tell") if cut_short and verdict.inert else verdict


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
