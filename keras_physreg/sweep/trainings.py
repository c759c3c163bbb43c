"""The trainings of a sweep: one round of all settings, then larger weights where they serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg.replicas import ReplicaHistory, ReplicaTrainer
from keras_physreg.sweep.term_sweep import QUANTITIES, TermSweep, compared_epochs, measure

Floor = tuple[float | None, float | None]


@dataclass
class Rounds:
    """Trains what a sweep asks for, and remembers how it went.

    Args:
        trainer: Arguments of `ReplicaTrainer`.
        fit: Arguments of its `fit`.
        seeds: The seeds of every setting.
        score: `"best"` or `"last"`: the epoch whose score counts.
        extend_to: Largest weight that is tried by extension.
        floors: For every term of the model its floor on training and on validation data.
    """

    trainer: dict[str, Any]
    fit: dict[str, Any]
    seeds: list[int]
    score: str
    extend_to: float
    floors: dict[str, Floor]
    engine: str = ""
    interrupted: bool = False

    def run(
        self, terms: list[str], weights: list[float], fixed: dict[str, float]
    ) -> dict[str, TermSweep]:
        """Trains the baseline and each term at each weight, and extends where the last is best.

        Args:
            terms: Terms to raise, one at a time.
            weights: The weights to try.
            fixed: The weights of all terms meanwhile.
        """
        settings = [fixed] + [fixed | {term: w} for term in terms for w in weights]
        history = self._train(settings)
        epochs = compared_epochs(history.epochs_done.reshape(-1, len(self.seeds)))
        found = {}
        for i, term in enumerate(terms):
            rows = [0, *range(1 + i * len(weights), 1 + (i + 1) * len(weights))]
            found[term] = self._read(history, term, rows, [0.0, *weights], fixed, epochs)
        while not self.interrupted:
            wanted = [t for t in terms if self._wants_more(found[t])]
            if not wanted:
                break
            found |= self._extend(wanted, found, fixed)
        return found

    def _extend(
        self, terms: list[str], found: dict[str, TermSweep], fixed: dict[str, float]
    ) -> dict[str, TermSweep]:
        following = {term: found[term].next_weight for term in terms}
        try:
            history = self._train([fixed | {term: w} for term, w in following.items()])
        except KeyboardInterrupt:
            self.interrupted = True
            return {}
        further = {
            term: self._read(history, term, [i], [following[term]], fixed, found[term].epochs)
            for i, term in enumerate(terms)
        }
        # What Ctrl-C cut short cannot be compared with a baseline that ran in full.
        return {
            t: found[t].extended(more) for t, more in further.items() if not more.unfinished.any()
        }

    def _wants_more(self, term: TermSweep) -> bool:
        return term.best_is_last and term.next_weight <= self.extend_to * (1 + 1e-9)

    def _train(self, settings: list[dict[str, float]]) -> ReplicaHistory:
        weights = {
            name: [setting[name] for setting in settings for _ in self.seeds]
            for name in self.floors
        }
        trainer = ReplicaTrainer(**self.trainer, weights=weights, seeds=self.seeds * len(settings))
        history = trainer.fit(**self.fit)
        self.engine = self.engine or history.engine
        self.interrupted |= history.interrupted
        return history

    def _read(
        self,
        history: ReplicaHistory,
        term: str,
        rows: list[int],
        weights: list[float],
        fixed: dict[str, float],
        epochs: int,
    ) -> TermSweep:
        measured, diverged = measure(history, term, self.fit["monitor"], self.score, epochs)
        shape = (-1, len(self.seeds))
        return TermSweep(
            np.array(weights),
            {key: measured[key].reshape(shape)[rows] for key in QUANTITIES},
            diverged.reshape(shape)[rows],
            *self.floors[term],
            {name: value for name, value in fixed.items() if name != term},
            epochs,
        )
