"""Are the verdicts of `sanity_sweep(cv=)` right? Sweeps on small labelled sets, against the truth.

Each call draws a labelled set of 20, 50 or 100 rows, sweeps its terms, and then trains on all rows
of the set, at each weight for its epoch and as recommended, to see the loss on test rows. See
`verdict_cases.py` for the cases and `verdict_table.py` for what is counted. Seeds and sets are
fixed. Each call adds a line to `verdicts.jsonl` in the folder given; a call whose line is there is
left out, so that a run can be cut short and taken up again.

Run: python tests/benchmarks/verdicts.py --out FOLDER [--first 13] [--sweeps 312]
    [--cases NAME ...] [--unshared] [--table]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from shared_trainer import SharedTrainer
from verdict_cases import Case, all_cases
from verdict_table import report

import keras_physreg as kp
from keras_physreg.sweep import trainings

SIZES = (20, 50, 100)
SETS = 13  # of every case and size
EPOCHS = 200  # of one step: a batch holds all rows
TRUTH_SEEDS = 6


class Calibration:
    """Sweeps of one case at one size, with programs compiled once.

    Args:
        case: The case.
        size: Number of labelled rows.
        shared: Whether all sweeps use the same programs; else each compiles its own.
    """

    def __init__(self, case: Case, size: int, shared: bool = True) -> None:
        self.case, self.size, self.shared = case, size, shared
        self.model = case.build()
        self.sweeps, self.truths = (SharedTrainer(case.x, case.y) for _ in range(2))

    def run(self, number: int) -> dict[str, Any]:
        """Returns what came of one labelled set, as JSON holds it."""
        begin = time.perf_counter()
        labelled, test = self.case.draw(self.size, number)
        self.sweeps.labelled = labelled
        trainer = self.sweeps if self.shared else kp.ReplicaTrainer
        with mock.patch.object(trainings, "ReplicaTrainer", trainer):
            result = kp.sanity_sweep(
                self.model,
                self.case.x[labelled],
                self.case.y[labelled],
                cv=5,
                repeats=4,
                seeds=[2 * number, 2 * number + 1],
                weights=self.case.weights,
                extend_to=0,
                verbose=0,
                epochs=EPOCHS,
                **self.fit_arguments,
            )
        swept = time.perf_counter() - begin
        found = self._with_truth(result, labelled, test, number)
        seconds = [round(swept, 1), round(time.perf_counter() - begin - swept, 1)]
        return {"case": self.case.name, "size": self.size, "number": number, **found} | {
            "null": self.case.null,
            "seconds": seconds,
        }

    @property
    def fit_arguments(self) -> dict[str, Any]:
        """What the trainings of sweeps and truth share."""
        return {"batch_size": self.size, "unlabelled": self.case.unlabelled}

    def _with_truth(
        self, result: Any, labelled: np.ndarray, test: np.ndarray, number: int
    ) -> dict[str, Any]:
        names, weights = self.case.term_names, self.case.weights
        off = dict.fromkeys(names, 0.0)
        advice = off | result.recommended_weights()
        settings = [off, *(off | {n: w} for n in names for w in weights), advice]
        curves = self._test_losses(settings, labelled, test, number)
        found = {}
        for i, name in enumerate(names):
            at = [0, *range(1 + i * len(weights), 1 + (i + 1) * len(weights))]
            found[name] = _measured(result, name, curves[at])
        baseline = found[names[0]]["test"][0]
        epochs = result.recommended_epochs
        followed = curves[-1][:, epochs - 1] if any(advice.values()) else np.array(baseline)
        change = float(np.mean(np.log(followed / baseline)))
        return {"terms": found, "user": {"weights": advice, "epochs": epochs, "change": change}}

    def _test_losses(
        self, settings: list[dict[str, float]], labelled: np.ndarray, test: np.ndarray, number: int
    ) -> np.ndarray:
        """Trains on all labelled rows; returns test losses `(settings, seeds, epochs)`."""
        seeds = [10**6 + number * TRUTH_SEEDS + i for i in range(TRUTH_SEEDS)]
        count = len(settings) * TRUTH_SEEDS
        history = self.truths.train(
            {name: [s[name] for s in settings for _ in seeds] for name in self.case.term_names},
            seeds * len(settings),
            [labelled] * count,
            [test] * count,
            {"model": self.model},
            {
                "epochs": EPOCHS,
                "validation_batch_size": len(test),
                "monitor": "val_data_loss",
                "verbose": 0,
                **self.fit_arguments,
            },
        )
        return history.history["val_data_loss"].T.reshape(len(settings), TRUTH_SEEDS, -1)


def _measured(result: Any, name: str, curves: np.ndarray) -> dict[str, Any]:
    """Returns what a sweep says of one term, and the test losses at the epochs that it chose."""
    verdict, sweep = result.verdicts[name], result.terms[name]
    epochs = [sweep.epoch_of(weight) for weight in sweep.weights]
    # A weight with no epoch at which all trainings are finite has no truth to compare with.
    losses = [
        c[:, epoch - 1] if epoch else np.full(len(c), np.nan)
        for c, epoch in zip(curves, epochs, strict=True)
    ]
    return {
        "weights": verdict.weights.tolist(),
        "verdict": str(verdict.verdict),
        "words": [str(change) for change in verdict.changes],
        "recommended": verdict.recommended_weight,
        "hurts_from": verdict.hurts_from,
        "epochs": [int(epoch or 0) for epoch in epochs],
        "gains": _plain(verdict.gains),
        "low": _plain(verdict.low),
        "high": _plain(verdict.high),
        "better": _plain(verdict.better),
        "worse": _plain(verdict.worse),
        "scores": _plain(sweep.measured["score"]),
        "test": _plain(np.array(losses)),
    }


def _plain(values: np.ndarray) -> Any:
    """Returns nested lists of five digits; numbers that are not finite as `None`."""
    if np.ndim(values):
        return [_plain(value) for value in values]
    return float(f"{values:.6g}") if np.isfinite(values) else None


def calls(
    cases: dict[str, Case], sets: range, done: set[tuple[str, int, int]]
) -> Iterator[tuple[Case, int, list[int]]]:
    """Yields cases, sizes and the labelled sets that are still to do, together."""
    for case in cases.values():
        for size in SIZES:
            left = [number for number in sets if (case.name, size, number) not in done]
            if left:
                yield case, size, left


def read(file: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a file; one that was cut short at its end is no line."""
    lines = file.read_text(encoding="utf-8").splitlines(True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def main() -> None:
    """Runs what is left to do, then prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of verdicts.jsonl")
    parser.add_argument("--first", type=int, default=13, help="number of the first labelled set")
    parser.add_argument("--sweeps", type=int, help="labelled sets in all; by default 312")
    parser.add_argument("--cases", nargs="+", help="names of cases; by default all")
    parser.add_argument("--unshared", action="store_true", help="compile anew in each sweep")
    parser.add_argument("--table", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "verdicts.jsonl"
    if not arguments.table:
        run(arguments, file)
    print(report(read(file)))


def run(arguments: argparse.Namespace, file: Path) -> None:
    """Adds the lines that the file does not have."""
    cases = all_cases()
    if arguments.cases:
        cases = {name: cases[name] for name in arguments.cases}
    count = SETS
    if arguments.sweeps is not None:
        count = -(-arguments.sweeps // (len(cases) * len(SIZES)))
    sets = range(arguments.first, arguments.first + count)
    known = read(file)
    done = {(line["case"], line["size"], line["number"]) for line in known}
    file.write_text("".join(json.dumps(line) + "\n" for line in known), encoding="utf-8")
    begin = time.perf_counter()
    for case, size, numbers in calls(cases, sets, done):
        calibration = Calibration(case, size, not arguments.unshared)
        for number in numbers:
            line = calibration.run(number)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")
            took = f"{line['seconds'][0]} + {line['seconds'][1]} s"
            print(
                f"{time.perf_counter() - begin:7.0f} s  {case.name}, {size}, {number}: {took}",
                flush=True,
            )


if __name__ == "__main__":
    main()
