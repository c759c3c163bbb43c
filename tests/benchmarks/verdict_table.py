"""The table of `verdicts.py`: how often its sweeps were right, from the lines of their file.

The truth of a weight is measured on test rows that no sweep has seen: models are trained on all
labelled rows, at this weight for its epoch and at weight 0 for that of the baseline, with the same
seeds. The true change is the mean over the seeds of the log of the ratio of their test losses.
Truly better, truly worse: beyond 1 %; between them, truly the same.

A word of a weight agrees if it names the true side ("helps" and "probably helps": better, "hurts"
and "probably hurts": worse, "same": the same), is contrary if it names the other side, and is near
where one of the two is "same". "cannot tell" and "diverges" are neither.

The verdict of a sweep of a term is its word, which stands for the recommended weight if there is
one; else for the first weight of which the same word is said. "same" stands for the largest weight.
It agrees, is near or contrary as the truth at that weight. Beside it stands what is said of harm:
"worse from ... on", by the truth at the weight that it names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SMALLEST = float(np.log(1.01))
CHOICES = (
    "recommended, truly better",
    "recommended, truly the same",
    "recommended, truly worse",
    "not recommended, no weight gains 1 %",
    "not recommended, a weight gains 1 to 10 %",
    "not recommended, a weight gains more",
)
UP, DOWN = ("helps", "probably helps"), ("hurts", "probably hurts")
MISSED = float(np.log(0.9))


@dataclass(frozen=True)
class TermRecord:
    """One term in one sweep.

    Args:
        case: Name of the case.
        size: Number of labelled rows.
        null: Whether the physics knows nothing.
        word: What is said of the term.
        words: What is said of each weight.
        recommended: Position of the recommended weight, or `None`.
        hurts_from: Position of the weight from which on it is worse, or `None`.
        claimed: The log of the ratio of the scores that the sweep says, for each weight.
        low: Lower ends of their intervals.
        high: Upper ends.
        truth: The true change for each weight, likewise a log.
    """

    case: str
    size: int
    null: bool
    word: str
    words: list[str]
    recommended: int | None
    hurts_from: int | None
    claimed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    truth: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """Whether each interval holds the true change; `False` where there is none."""
        return (self.low <= self.truth) & (self.truth <= self.high)

    @property
    def verdict(self) -> str:
        """`"agree"`, `"near"`, `"contrary"` or `"cannot tell"`."""
        if self.recommended is not None:
            return judged("helps", self.truth[self.recommended])
        if self.word == "same":
            return judged("same", self.truth[-1])
        if self.word in DOWN:
            return judged(self.word, self.truth[self.words.index(self.word)])
        return "cannot tell"

    @property
    def harm(self) -> str | None:
        """How the weight stands to the truth from which on it is said to be worse."""
        if self.hurts_from is None or self.words[self.hurts_from] == "diverges":
            return None
        return judged("hurts", self.truth[self.hurts_from])

    @property
    def choice(self) -> str:
        """How what is recommended stands to the weight that is best in truth: of `CHOICES`."""
        if self.recommended is not None:
            return CHOICES[1 + side(self.truth[self.recommended])]
        best = np.nanmin(self.truth)
        return CHOICES[3 + int(best < -SMALLEST) + int(best < MISSED)]


def side(change: float) -> int:
    """Returns -1 where a true change is better, 1 where it is worse, else 0."""
    return int(np.sign(change)) * int(abs(change) > SMALLEST)


def judged(word: str, change: float) -> str:
    """Returns how a word stands to the true change; NaN (a diverged training) is worse."""
    if word not in (*UP, *DOWN, "same"):
        return "cannot tell"
    said = -1 if word in UP else 1 if word in DOWN else 0
    true = 1 if np.isnan(change) else side(change)
    return "agree" if said == true else "contrary" if said * true < 0 else "near"


def records(lines: Iterable[dict[str, Any]]) -> list[TermRecord]:
    """Returns the terms of the lines of a file."""
    return [_record(line, name) for line in lines for name in line["terms"]]


def _record(line: dict[str, Any], name: str) -> TermRecord:
    term = line["terms"][name]
    weights = term["weights"]

    def logs(key: str) -> np.ndarray:
        percent = np.array([np.nan if v is None else v for v in term[key]], float)
        return np.log(np.maximum(1 - percent / 100, 1e-300))

    recommended = term["recommended"]
    hurts_from = term["hurts_from"]
    return TermRecord(
        line["case"],
        line["size"],
        line["null"],
        term["verdict"],
        term["words"],
        weights.index(recommended) if recommended else None,
        None if hurts_from is None else weights.index(hurts_from),
        logs("gains"),
        logs("high"),
        logs("low"),
        true_changes(np.array(term["test"], float)),
    )


def true_changes(losses: np.ndarray) -> np.ndarray:
    """Returns the true change for each weight of test losses `(weights, seeds)`, weight 0 first."""
    logs = np.log(losses)
    return (logs[1:] - logs[:1]).mean(axis=1)


# The table.


def coverage(terms: Sequence[TermRecord]) -> str:
    """Returns the shares of intervals, and of terms with all their intervals, that hold."""
    held = [t.covered for t in terms]
    each = percent(sum(h.sum() for h in held), sum(len(h) for h in held))
    return f"{each} / {percent(sum(h.all() for h in held), len(held))}"


def percent(part: float, whole: float) -> str:
    """Returns a share, with one digit."""
    return f"{100 * part / whole:.1f}" if whole else "-"


def shares(found: Counter[str], names: Sequence[str]) -> list[str]:
    """Returns the shares of some of the names, in percent."""
    return [percent(found[name], found.total()) for name in names]


VERDICTS = ("agree", "near", "contrary", "cannot tell")
KINDS = " / ".join(VERDICTS)


def report(lines: list[dict[str, Any]]) -> str:
    """Returns all tables, as Markdown."""
    terms = records(lines)
    physics, null = [t for t in terms if not t.null], [t for t in terms if t.null]
    parts = [
        f"{len(lines)} calls of `sanity_sweep` on as many labelled sets, {len(terms)} sweeps of a "
        f"term: {len(physics)} of physics that helps or hurts, {len(null)} of null physics.",
        _aims(lines, physics, null, terms),
        "### What is recommended, sweeps of physics\n\n" + _choices(physics),
        "### By labelled rows\n\n" + _by(physics, null, lines, "size"),
        "### By case\n\n" + _by(physics, null, lines, "case"),
        "### By word, per weight\n\n" + _words(terms),
    ]
    return "\n\n".join(parts)


def _aims(
    lines: list[dict[str, Any]],
    physics: list[TermRecord],
    null: list[TermRecord],
    terms: list[TermRecord],
) -> str:
    verdicts = Counter(t.verdict for t in physics)
    of_weights = Counter(
        judged(w, c) for t in physics for w, c in zip(t.words, t.truth, strict=True)
    )
    harms = Counter(t.harm for t in terms if t.harm is not None)
    null_words = Counter(word for t in null for word in t.words)
    ups = [t.truth[i] for t in null for i, word in enumerate(t.words) if word in UP]
    idle = f"{sum(c > -SMALLEST for c in ups)} of {len(ups)} (of {null_words.total()} weights)"
    users = np.array([line["user"]["change"] for line in lines], float)
    worse = int((users > SMALLEST).sum())
    worst = 100 * np.expm1(max(users.max(initial=0.0), 0.0))
    recommending = [t for t in terms if t.recommended is not None]
    claimed = gain([t.claimed[t.recommended] for t in recommending])
    delivered = gain([t.truth[t.recommended] for t in recommending])
    chosen = gain([0.0 if t.recommended is None else t.truth[t.recommended] for t in physics])
    possible = gain([min(0.0, np.nanmin(t.truth)) for t in physics])
    null_share = percent(sum(t.recommended is not None for t in null), len(null))
    rows = [
        (f"sweeps: {KINDS}, %", " / ".join(shares(verdicts, VERDICTS)), ">= 75, -, <= 5, -"),
        (f"weights: {KINDS}, %", " / ".join(shares(of_weights, VERDICTS)), ""),
        (
            '"worse from ... on": agree / near / contrary, %',
            " / ".join(shares(harms, VERDICTS[:3])) + f" (of {harms.total()})",
            "",
        ),
        (
            'null weights: "helps" / "probably helps", %',
            " / ".join(shares(null_words, UP)),
            "0, <= 8",
        ),
        ("of these, not truly better by 1 %", idle, ""),
        ("null sweeps that recommend a weight, %", null_share, ""),
        (
            "users worse by more than 1 %, %",
            f"{percent(worse, len(users))} ({worse} of {len(users)}, the worst +{worst:.0f} %)",
            "<= 1",
        ),
        ("intervals that hold: each / all of a term, %", coverage(terms), ">= 85 of all"),
        (
            "gain at recommended weights: claimed / delivered, %",
            f"{claimed} / {delivered} ({len(recommending)} sweeps)",
            "",
        ),
        (
            "gain over all sweeps of physics: as recommended / best weight in truth, %",
            f"{chosen} / {possible}",
            "",
        ),
    ]
    return markdown(("", "measured", "aim"), rows)


def _choices(physics: list[TermRecord]) -> str:
    sizes = sorted({t.size for t in physics})
    parts = [physics, *([t for t in physics if t.size == size] for size in sizes)]
    found = [Counter(t.choice for t in part) for part in parts]
    rows = [(choice, *(percent(c[choice], c.total()) for c in found)) for choice in CHOICES]
    return markdown(("", "all, %", *(f"{size} rows" for size in sizes)), rows)


def gain(changes: Sequence[float]) -> str:
    """Returns the gain, in percent, that the mean of true or claimed changes makes."""
    return f"{-100 * np.expm1(np.mean(changes)):.1f}" if changes else "-"


def _by(
    physics: list[TermRecord], null: list[TermRecord], lines: list[dict[str, Any]], key: str
) -> str:
    head = (
        key,
        "sweeps",
        f"{KINDS}, %",
        "recommend a weight, %",
        "truth at the best weight, %",
        "users worse",
        "intervals hold, each / all, %",
    )
    rows = []
    for value in dict.fromkeys(getattr(t, key) for t in [*physics, *null]):
        chosen = [t for t in [*physics, *null] if getattr(t, key) == value]
        real = [t for t in chosen if not t.null]
        users = [line["user"]["change"] for line in lines if line[key] == value]
        best = [-100 * np.expm1(min(0.0, np.nanmin(t.truth))) for t in chosen]
        rows.append(
            (
                str(value),
                str(len(chosen)),
                " / ".join(shares(Counter(t.verdict for t in real), VERDICTS)) if real else "null",
                percent(sum(t.recommended is not None for t in chosen), len(chosen)),
                f"{np.mean(best):.1f}",
                f"{sum(u > SMALLEST for u in users)} of {len(users)}",
                coverage(chosen),
            )
        )
    return markdown(head, rows)


def _words(terms: list[TermRecord]) -> str:
    rows = []
    for name, chosen in (
        ("physics", [t for t in terms if not t.null]),
        ("null", [t for t in terms if t.null]),
    ):
        for word in (*UP, "same", *reversed(DOWN), "cannot tell", "diverges"):
            sides = [
                side(change)
                for t in chosen
                for said, change in zip(t.words, t.truth, strict=True)
                if said == word
            ]
            if sides:
                count = Counter(sides)
                each = [percent(count[s], len(sides)) for s in (-1, 0, 1)]
                rows.append((name, word, str(len(sides)), *each))
    head = ("", "word", "weights", "truly better, %", "truly the same, %", "truly worse, %")
    return markdown(head, rows)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
