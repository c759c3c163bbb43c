"""SweepResult: what a sanity sweep measured, with its verdicts, report, picture and files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_physreg._utils.errors import received
from keras_physreg.replicas import ReplicaTrainer
from keras_physreg.sweep import text
from keras_physreg.sweep.measured import Combination, MeasuredSweep
from keras_physreg.sweep.recommendation import Recommendation, helpful_weights, recommend
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SweepResult(MeasuredSweep):
    """What a sanity sweep measured; `print(result)` says what it means.

    Args:
        terms: What was measured, by term.
        settings: How the sweep was made.
        combined: All terms that help, trained together, where there are several, or where one was
            swept beside others that are off in the recommendation; else `None`.
        kept: The trainer of the models with the recommended weights, with `keep="recommended"`;
            else `None`. It is not saved.
    """

    kept: ReplicaTrainer | None = field(default=None, repr=False, compare=False)

    @cached_property
    def recommendation(self) -> Recommendation:
        """The weights and epochs to train with, and the verdict on them."""
        return recommend(self)

    def recommended_weights(self) -> dict[str, float]:
        """Returns the weights to train with, one for every term of the model.

        A term that does not help has 0.0; on points alone it keeps the weight that it has in the
        model. A term that was not swept has the weight that it had in
        all trainings; the summary says that it was kept. So has a term that trains constants
        only, unless its sweep found that it helps or harms. Several terms that help are
        recommended together where that is better than the best one alone.

        Example:
        >>> import keras, numpy as np, keras_physreg as kp
        >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> model = kp.regularize(encoder, lambda z, x: x - z, {"identity": 0.0})
        >>> model.compile(keras.optimizers.SGD(0.1), "mse")
        >>> z = np.random.default_rng(0).normal(size=(32, 2))
        >>> result = kp.sanity_sweep(  # The labels say the opposite of the physics.
        ...     model, z, -z, repeats=1, weights=[1.0], epochs=10, extend_to=0, verbose=0)
        >>> result.recommended_weights()
        {'identity': 0.0}
        """
        return dict(self.recommendation.weights)

    @property
    def recommended_epochs(self) -> int:
        """The number of epochs to train on all labelled rows with the recommended weights.

        In cross-validation, trainings have fewer rows, and so fewer steps per epoch. This number of
        epochs makes as many steps as the best epoch of the sweep.

        Raises:
            ValueError: If no training with the recommended weights was finished, or the sweep was
                saved by version 0.1, which scored each training at an epoch of its own.
        """
        epochs = self.recommendation.epochs
        if epochs is None:
            raise ValueError(
                "This sweep has no common epoch to recommend: no training with the recommended "
                "weights was finished, or it was saved by version 0.1, which scored each training "
                "at an epoch of its own. Run `sanity_sweep` again."
            )
        return self.settings.epochs_on_all_rows(epochs)

    def ensemble(self, replicas: Sequence[int] | None = None, spread: bool = False) -> keras.Model:
        """Returns one model whose prediction is the mean over models with the recommended weights.

        These models were trained on the splits of the sweep, each on a part of the labelled rows,
        up to the best epoch of the sweep. See `keep` of `sanity_sweep`.

        Args:
            replicas: Positions of the models to use: all seeds of the first split, then all seeds
                of the second split, and so on; `None` for all.
            spread: Whether the standard deviation of their predictions is a second output.

        Returns:
            A model without physics; see `ReplicaTrainer.ensemble`.

        Raises:
            RuntimeError: If no models were kept.
        """
        if self.kept is None:
            raise RuntimeError(
                'No trained models were kept: give `keep="recommended"` to `sanity_sweep`. Files '
                "hold no models."
            )
        return self.kept.ensemble(replicas, which="last", spread=spread)

    def helpful_weights(self, terms: Iterable[str] | None = None) -> dict[str, float]:
        """Returns the best weight of each term that helps, surely or probably.

        Each term is judged on its own here; `recommended_weights` decides for all terms together.

        Args:
            terms: Names of terms; `None` for all.
        """
        found = helpful_weights(self)
        return {name: found[name] for name in (found if terms is None else terms) if name in found}

    def summary(self) -> str:
        """Returns a table, a few sentences per term, and how to train on all labelled rows."""
        return text.report(self, self.recommendation)

    def __str__(self) -> str:
        return self.summary()

    def plot(self) -> Figure:
        """Draws the scores, gains and term losses against the weight, one column per term.

        Numbers above the points are the probabilities that a weight helps. A vertical line marks
        the recommended weight, and weights that hurt are shaded.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from keras_physreg.sweep.picture import plot_sweep

        return plot_sweep(self, self.recommendation)

    def save(self, path: str | Path) -> None:
        """Writes the result as JSON.

        Args:
            path: Path of the file.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Reads what `save` wrote, and derives the verdicts anew from the measurements.

        Args:
            path: Path of the file.

        Returns:
            The result.

        Raises:
            ValueError: If the file holds no sweep.
        """
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not {"terms", "settings"} <= set(values):
            raise ValueError(
                "The file holds no saved `SweepResult`: give one that `SweepResult.save` wrote. "
                f"{received('path', path)}"
            )
        terms = {name: TermSweep.from_dict(term) for name, term in values["terms"].items()}
        combined = values.get("combined")
        if combined is not None:
            sweep = TermSweep.from_dict(combined["sweep"])
            combined = Combination(combined["weights"], sweep, combined.get("before", {}))
        return cls(terms, SweepSettings.from_dict(values["settings"]), combined)

    def to_dataframe(self) -> Any:
        """Returns one row for each term, weight, split and seed.

        Returns:
            A pandas `DataFrame`. Splits are counted from 0; with `validation_data` all are 0.

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
                "split": split,
                "seed": seed,
                **{key: float(values[i][where]) for key, values in term.measured.items()},
                "diverged": bool(term.diverged[i][where]),
            }
            for name, term in self.terms.items()
            for i, weight in enumerate(term.weights.tolist())
            for split, seeds in enumerate(self.settings.seeds_of_splits)
            for j, seed in enumerate(seeds)
            for where in [(split, j) if term.cross_validated else (j,)]
        ]
