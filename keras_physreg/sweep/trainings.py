"""The trainings of a sweep: one round of all settings, then larger weights where they help."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from keras_physreg.executors.trainer import new_trainer
from keras_physreg.replicas import ReplicaHistory, ReplicaTrainer
from keras_physreg.replicas.engines import why_sequential
from keras_physreg.replicas.plan import Plan
from keras_physreg.replicas.preparation import as_batches
from keras_physreg.sweep.measured import Combination
from keras_physreg.sweep.recommendation import Recommendation
from keras_physreg.sweep.row_scores import RowScorer
from keras_physreg.sweep.scoring import Curves, comparable, compared_epochs, measure
from keras_physreg.sweep.settings import ALL_TERMS, SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep

Floor = tuple[float | None, float | None]


@dataclass(frozen=True)
class Round:
    """The baseline of a round, with which its trainings are compared.

    Args:
        fixed: The weights of all terms except the one that is swept.
        baseline: The trainings with these weights.
        epochs: The epochs after which trainings are compared.
        kept: Which trainings can be compared, of shape `(splits, seeds)`.
    """

    fixed: dict[str, float]
    baseline: Curves
    epochs: int
    kept: np.ndarray


@dataclass
class Trainings:
    """Runs the trainings of a sweep in programs that are compiled once.

    Args:
        trainer: Arguments of `new_trainer`, except those of the replicas.
        fit: Arguments of its `fit`.
        settings: How the sweep is made.
        extend_to: Largest weight that is added by extension.
        floors: For every term of the model its floor on training and on held-out rows.
        engine: Name of the engine that trained the replicas; empty before the first training.
        interrupted: Whether Ctrl-C ended a training.
        rounds: The baselines of all rounds so far.
    """

    trainer: dict[str, Any]
    fit: dict[str, Any]
    settings: SweepSettings
    extend_to: float
    floors: dict[str, Floor]
    engine: str = ""
    interrupted: bool = False
    rounds: list[Round] = field(default_factory=list)
    _trained: ReplicaTrainer | None = None

    def run(
        self, terms: list[str], weights: list[float], fixed: dict[str, float]
    ) -> dict[str, TermSweep]:
        """Trains the baseline and each term at each weight, and extends where the last is best.

        Args:
            terms: The terms to sweep, one at a time.
            weights: The weights to try.
            fixed: The weights of all terms in the baseline.
        """
        plan = self._plan([fixed] + [fixed | {term: w} for term in terms for w in weights])
        history = self._train(plan)
        self._new_round(fixed, history, plan, self._curves(history, plan, terms[0]).of([0]))
        found = {}
        for i, term in enumerate(terms):
            positions = [0, *range(1 + i * len(weights), 1 + (i + 1) * len(weights))]
            curves = self._curves(history, plan, term).of(positions)
            found[term] = self._read(curves, [0.0, *weights], term, self.rounds[-1])
        while not self.interrupted:
            wanted = [t for t in terms if self._wants_more(found[t])]
            if not wanted:
                break
            found |= self._extend(wanted, found)
        return {t: self._with_row_scores(s, _raised(fixed, t, s)) for t, s in found.items()}

    def combine(self, off: dict[str, float], weights: dict[str, float]) -> Combination | None:
        """Trains terms together; returns `None` if Ctrl-C ends the training.

        Args:
            off: The weights of all terms in the baseline, which is trained if no round has it.
            weights: The weights of the terms that differ.
        """
        known = [each for each in self.rounds if each.fixed == off]
        plan = self._plan([*([] if known else [off]), off | weights])
        try:
            history = self._train(plan)
        except KeyboardInterrupt:
            self.interrupted = True
            return None
        name = next(iter(weights))
        curves = self._curves(history, plan, name)
        base = known[0] if known else self._new_round(off, history, plan, curves.of([0]))
        before = self._read(base.baseline, [0.0], name, base)
        on = self._read(curves.of([-1]), [1.0], name, base)
        if on.unfinished.any() or before.unfinished.any():
            return None
        both = Combination.of(weights, before, on, off)
        sweep = self._with_row_scores(both.sweep, [off, off | weights])
        return replace(both, sweep=sweep)

    def keep(self, recommended: Recommendation) -> ReplicaTrainer | None:
        """Trains the recommended weights up to their best epoch; `None` if that is unknown."""
        if recommended.epochs is None or self._trained is None:
            return None
        self._train(self._plan([recommended.weights]), recommended.epochs)
        return self._trained

    def _new_round(
        self, fixed: dict[str, float], history: ReplicaHistory, plan: Plan, baseline: Curves
    ) -> Round:
        epochs = compared_epochs(plan.reshape(history.epochs_done))
        kept = comparable(baseline, epochs, by_split=self.settings.splits is not None)
        self.rounds.append(Round(fixed, baseline, epochs, kept))
        return self.rounds[-1]

    def _extend(self, terms: list[str], found: dict[str, TermSweep]) -> dict[str, TermSweep]:
        now = self.rounds[-1]
        following = {term: found[term].next_weight for term in terms}
        plan = self._plan([now.fixed | {term: w} for term, w in following.items()])
        try:
            history = self._train(plan)
        except KeyboardInterrupt:
            self.interrupted = True
            return {}
        further = {
            term: self._read(
                self._curves(history, plan, term).of([i]), [following[term]], term, now
            )
            for i, term in enumerate(terms)
        }
        # A training that Ctrl-C cut short cannot be compared with a finished baseline.
        return {
            t: found[t].extended(more) for t, more in further.items() if not more.unfinished.any()
        }

    def _with_row_scores(self, sweep: TermSweep, settings: list[dict[str, float]]) -> TermSweep:
        """Adds the score of each row of validation data, unless Ctrl-C is pressed."""
        if self.interrupted or not self._scores_rows:
            return sweep
        try:
            return self._scorer.add_to(sweep, lambda at: self._plan([settings[i] for i in at]))
        except KeyboardInterrupt:
            self.interrupted = True
            return sweep

    @property
    def _scores_rows(self) -> bool:
        """Whether there is one held-out set, and a replica's step can score its rows."""
        if self.settings.is_scored_at_points:
            return False  # The score is that of points.
        return self.settings.splits is None and why_sequential(self.trainer["model"]) is None

    @cached_property
    def _scorer(self) -> RowScorer:
        assert self._trained is not None
        size = self.fit["validation_batch_size"]
        validation = as_batches("validation_data", self.fit["validation_data"], size)
        return RowScorer(self._trained, validation, self.fit["monitor"])

    def _wants_more(self, term: TermSweep) -> bool:
        return term.best_is_last and term.next_weight <= self.extend_to * (1 + 1e-9)

    def _plan(self, settings: list[dict[str, float]]) -> Plan:
        splits = self.settings.splits
        pairs = [] if splits is None else list(zip(splits.train, splits.held_out, strict=True))
        in_order = [{name: setting[name] for name in self.floors} for setting in settings]
        return Plan.of(in_order, self.settings.seeds_of_splits, pairs)

    def _train(self, plan: Plan, epochs: int | None = None) -> ReplicaHistory:
        rows: dict[str, Any] = {}
        if plan.splits:
            rows = {"rows": plan.rows, "validation_rows": plan.validation_rows}
        if self._trained is None:
            replicas = {"weights": plan.weights, "seeds": plan.replica_seeds}
            trainer = new_trainer(**(self.trainer | replicas))
            history = trainer.fit(**self.fit, **rows)
            self._trained, self.engine = trainer, history.engine
        else:
            rows |= {"verbose": self.fit["verbose"], "epochs": epochs or self.settings.epochs}
            history = self._trained.refit(plan.weights, plan.replica_seeds, **rows)
        self.interrupted |= history.interrupted
        return history

    def _curves(self, history: ReplicaHistory, plan: Plan, term: str) -> Curves:
        monitor = self.settings.monitor
        keys = {
            "score": monitor,
            "train_score": monitor.removeprefix("val_"),
            "term_loss": f"{term}_loss",
            "val_term_loss": f"val_{term}_loss",
            "loss": "loss",
        }
        none = np.full(np.shape(history.history.get("loss", np.zeros((0, plan.replicas)))), np.nan)
        read = {k: np.asarray(history.history.get(key, none), float) for k, key in keys.items()}
        if monitor == ALL_TERMS:
            for score, prefix in (("score", "val_"), ("train_score", "")):
                losses = [history.history[f"{prefix}{name}_loss"] for name in self.floors]
                read[score] = np.sum(losses, axis=0, dtype=float)
        logs = {name: plan.curves(log) for name, log in read.items()}
        return Curves(logs, plan.reshape(history.epochs_done))

    def _read(self, curves: Curves, weights: list[float], term: str, now: Round) -> TermSweep:
        found = measure(curves, now.epochs, self.settings.score, now.kept)
        values, diverged = found.values, found.diverged
        if self.settings.splits is None:
            values, diverged = {k: v[:, 0] for k, v in values.items()}, diverged[:, 0]
        return TermSweep(
            np.array(weights),
            values,
            diverged,
            *self.floors[term],
            {name: value for name, value in now.fixed.items() if name != term},
            now.epochs,
            found.epochs,
        )


def _raised(fixed: dict[str, float], term: str, sweep: TermSweep) -> list[dict[str, float]]:
    """Returns the settings of a sweep: the baseline, then the term at each of its weights."""
    return [fixed | {term: weight} for weight in sweep.weights.tolist()]
