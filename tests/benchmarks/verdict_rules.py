"""Rules of judgement side by side, on the scores that `verdicts.py` kept.

A sweep has scores of every split; a rule makes of them one change per weight (a log), its error,
and the weight to recommend. All rules share the rest: differences are paired, a split counts with
the mean of its seeds, the variance is corrected for the rows that training sets share, and words
come from the probability of a change beyond 1 %.

- mean log: the mean over splits of the logs of the ratios. It is steady, but where some rows have
  losses far above the others', folds without them decide it, and the loss on new rows does not.
- log of means: the log of the ratio of the mean losses, with the error of its linear terms. It asks
  for what the truth is, and is at the mercy of single rows.
- half: the mean of these two, and of their linear terms.
- both: the mean log; the smaller of its probability and that of the log of means. The rule of the
  package.
- neighbours: the mean log; what only probably helps is recommended where the mean of its change
  (twice) and of its neighbours' falls.

Run: python tests/benchmarks/verdict_rules.py FILE.jsonl [...]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from verdict_table import (
    DOWN,
    SMALLEST,
    UP,
    VERDICTS,
    gain,
    judged,
    markdown,
    percent,
    true_changes,
)

from keras_physreg.sweep.intervals import Evidence, evidence_of_splits
from keras_physreg.sweep.judgement import Rules

RATIO = 0.25  # held-out rows per training row, of five folds
Terms = tuple[np.ndarray, np.ndarray]  # changes `(weights,)`, linear terms `(weights, splits)`


def mean_log(losses: np.ndarray) -> Terms:
    """Mean over splits of the logs of the ratios."""
    logs = np.log(losses).mean(axis=-1)
    differences = logs[1:] - logs[:1]
    return differences.mean(axis=1), differences


def log_of_means(losses: np.ndarray) -> Terms:
    """Log of the ratio of the means over splits."""
    split = losses.mean(axis=-1)
    mean = split.mean(axis=1)
    relative = split / mean[:, np.newaxis]
    return np.log(mean[1:] / mean[0]), relative[1:] - relative[:1]


def half(losses: np.ndarray) -> Terms:
    """Mean of both."""
    (a, b), (c, d) = mean_log(losses), log_of_means(losses)
    return (a + c) / 2, (b + d) / 2


def any_weight(change: np.ndarray, better: np.ndarray) -> np.ndarray:
    """Recommends any weight that surely or probably helps."""
    return better > Rules().probable


def with_neighbours(change: np.ndarray, better: np.ndarray) -> np.ndarray:
    """Recommends what surely helps, and what helps together with its neighbours."""
    padded = np.concatenate([[0.0], change, [np.nan]])
    around = np.nanmean([padded[:-2], change, change, padded[2:]], axis=0)
    return (better > Rules().sure) | (any_weight(change, better) & (around < 0))


@dataclass(frozen=True)
class Rule:
    """A rule.

    Args:
        statistic: The change of each weight, and its linear terms.
        pool: Which weights can be recommended.
        also: Another statistic, whose probabilities must be as large.
        probable: The probability beyond which a weight probably helps or hurts.
    """

    statistic: Callable[[np.ndarray], Terms]
    pool: Callable[[np.ndarray, np.ndarray], np.ndarray] = any_weight
    also: Callable[[np.ndarray], Terms] | None = None
    probable: float = Rules().probable


RULES = {
    "mean log": Rule(mean_log),
    "mean log, neighbours": Rule(mean_log, with_neighbours),
    "mean log, 90 %": Rule(mean_log, probable=0.9),
    "log of means": Rule(log_of_means),
    "half": Rule(half),
    "half, neighbours": Rule(half, with_neighbours),
    "both": Rule(mean_log, also=log_of_means),
}


@dataclass(frozen=True)
class Judged:
    """What a rule says of one term, and how that stands to the truth."""

    null: bool
    words: list[str]
    verdict: str
    claimed: float | None
    delivered: float | None
    covered: np.ndarray


def evidence(change: np.ndarray, terms: np.ndarray) -> Evidence:
    """Returns what a statistic says, with its error."""
    return replace(evidence_of_splits(terms, RATIO), mean=change)


def apply(rule: Rule, scores: np.ndarray, truth: np.ndarray, null: bool) -> Judged:
    """Judges one term.

    Args:
        rule: The rule.
        scores: Scores of the sweep, `(weights, splits, seeds)`, weight 0 first.
        truth: True changes, logs, `(weights,)`.
        null: Whether the physics knows nothing.
    """
    statistics = [rule.statistic] if rule.also is None else [rule.statistic, rule.also]
    readings = [evidence(*statistic(scores)) for statistic in statistics]
    pairs = [reading.probabilities(SMALLEST) for reading in readings]
    better, worse, same = np.min([(b, w, 1 - b - w) for b, w in pairs], axis=0)
    rules, change = Rules(probable=rule.probable), readings[0].mean
    low, high = readings[0].intervals(rules.confidence)
    words = [str(rules.word(*p)) for p in zip(better, worse, same, strict=True)]
    chosen = rule.pool(change, np.where(better > rule.probable, better, 0.0))
    covered = (low <= truth) & (truth <= high)
    if chosen.any():
        best = int(np.where(chosen, change, np.inf).argmin())
        found = judged("helps", truth[best]), float(change[best]), float(truth[best])
        return Judged(null, words, *found, covered)
    harm = next((words.index(w) for w in DOWN if w in words), None)
    verdict = "cannot tell" if harm is None else judged("hurts", truth[harm])
    return Judged(null, words, verdict, None, None, covered)


def row(name: str, found: list[Judged]) -> tuple[str, ...]:
    """Returns the row of one rule."""
    physics, null = [j for j in found if not j.null], [j for j in found if j.null]
    verdicts = Counter(j.verdict for j in physics)
    words = Counter(word for j in null for word in j.words)
    followed = [j for j in found if j.delivered is not None]
    worse = sum(j.delivered > SMALLEST for j in followed)
    worst = 100 * np.expm1(max([j.delivered for j in followed], default=0.0))
    gains = [j.delivered or 0.0 for j in physics]
    each = sum(j.covered.sum() for j in found) / sum(len(j.covered) for j in found)
    return (
        name,
        " / ".join(percent(verdicts[v], len(physics)) for v in VERDICTS),
        f"{worse} of {len(followed)}, +{max(worst, 0):.0f} %",
        gain(gains),
        f"{gain([j.claimed for j in followed])} / {gain([j.delivered for j in followed])}",
        " / ".join(percent(words[w], words.total()) for w in UP),
        f"{100 * each:.1f} / {percent(sum(j.covered.all() for j in found), len(found))}",
    )


def main() -> None:
    """Prints one row per rule."""
    data: list[tuple[bool, np.ndarray, np.ndarray]] = []
    for file in sys.argv[1:]:
        for text in Path(file).read_text(encoding="utf-8").splitlines():
            line: dict[str, Any] = json.loads(text)
            for term in line["terms"].values():
                scores = np.array(term["scores"], float)
                if np.isfinite(scores).all():
                    data.append((line["null"], scores, true_changes(np.array(term["test"]))))
    head = (
        "rule",
        "agree / near / contrary / cannot tell, %",
        "worse, of recommended; the worst",
        "gain over all sweeps of physics, %",
        "claimed / delivered, %",
        'null "helps" / "probably helps", %',
        "intervals hold: each / all, %",
    )
    rows = [row(n, [apply(r, s, t, null) for null, s, t in data]) for n, r in RULES.items()]
    print(f"{len(data)} sweeps of a term.\n\n{markdown(head, rows)}")


if __name__ == "__main__":
    main()
