"""A diagnosis as text and as HTML: the findings first, then the tables."""

from __future__ import annotations

import html
import math
import textwrap

from keras_physreg._utils.text_table import text_table
from keras_physreg.constants.constant import MAX_LOGGED_ELEMENTS
from keras_physreg.diagnosis.constant_diagnosis import ConstantDiagnosis
from keras_physreg.diagnosis.measured import DiagnosisData
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis

WIDTH = 100
INDENT = "    "
MAX_NAME = 36
CLEAN = "Nothing found: every term is connected and finite, and none fights the data."
CONSTANT_COLUMNS = ["constant", "value", "unit", "low", "high"]
CONSTANT_COLUMNS += ["grad norm", "sensitivity", "told by"]
PARTIAL = "Nothing found in what could be measured; the notes say what could not."


def as_text(diagnosis: DiagnosisData) -> str:
    """Returns the findings, then the tables and notes; no line is longer than 100 characters."""
    lines = [*_wrapped(title(diagnosis)), *_wrapped(counts(diagnosis)), ""]
    for finding in diagnosis.findings:
        lines += _wrapped(f"{finding.severity}: {finding.code}: {finding.message}")
        lines += [*_wrapped(f"Cure: {finding.cure}", INDENT), ""]
    for columns, cells in _tables(diagnosis):
        lines += [*text_table(columns, cells), ""]
    for note in _notes(diagnosis):
        lines += _wrapped(note)
    return "\n".join(lines).rstrip()


def _wrapped(sentence: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        sentence,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def counts(diagnosis: DiagnosisData) -> str:
    """Returns how many findings there are of each severity, or that there are none."""
    counts = [
        (sum(finding.severity == severity for finding in diagnosis.findings), name)
        for severity, name in (("error", "error"), ("warning", "warning"), ("info", "note"))
    ]
    said = [f"{count} {name}{'s' * (count > 1)}" for count, name in counts if count]
    return f"{', '.join(said)}:" if said else _nothing_found(diagnosis)


def _tables(diagnosis: DiagnosisData) -> list[tuple[list[str], list[list[str]]]]:
    tables = _split(_columns(diagnosis), _cells(diagnosis))
    shown = [row for row in diagnosis.constants if row.size <= MAX_LOGGED_ELEMENTS]
    if shown:
        tables += _split(CONSTANT_COLUMNS, [_constant_cells(row) for row in shown])
    return tables


def _split(columns: list[str], cells: list[list[str]]) -> list[tuple[list[str], list[list[str]]]]:
    """Splits a table that is too wide, each part with the first column."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    parts: list[list[int]] = [[]]
    for k in range(1, len(columns)):
        width = widths[0] + sum(2 + widths[j] for j in [*parts[-1], k])
        if width > WIDTH and parts[-1]:
            parts.append([])
        parts[-1].append(k)
    return [
        ([columns[j] for j in (0, *part)], [[row[j] for j in (0, *part)] for row in cells])
        for part in parts
    ]


def as_html(diagnosis: DiagnosisData) -> str:
    """Returns the same as HTML, for notebooks."""
    tables = "".join(_html_table(*table) for table in _tables(diagnosis))
    findings = "".join(
        f"<li><b>{html.escape(f'{finding.severity}: {finding.code}')}</b>: "
        f"{html.escape(finding.message)}<br><i>{html.escape(finding.cure)}</i></li>"
        for finding in diagnosis.findings
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in _notes(diagnosis))
    return (
        f"<p>{html.escape(title(diagnosis))}<br>{html.escape(counts(diagnosis))}</p>"
        + (f"<ul>{findings}</ul>" if findings else "")
        + tables
        + (f"<ul>{notes}</ul>" if notes else "")
    )


def _html_table(columns: list[str], cells: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
        for line in cells
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _nothing_found(diagnosis: DiagnosisData) -> str:
    measured = all(row.trainable and row.loss is not None for row in diagnosis.terms)
    return CLEAN if measured and diagnosis.data_grad_norm is not None else PARTIAL


def title(diagnosis: DiagnosisData) -> str:
    """Returns the model's name and how many rows were looked at."""
    held_out = f", {diagnosis.val_rows} held-out rows" if diagnosis.val_rows else ""
    unlabelled = f", {diagnosis.unlabelled_rows} unlabelled rows" * bool(diagnosis.unlabelled_rows)
    return f"Diagnosis of '{diagnosis.model}' on {diagnosis.rows} rows{held_out}{unlabelled}"


def _columns(diagnosis: DiagnosisData) -> list[str]:
    held_out = ["val loss", "val floor", "val network"] if diagnosis.val_rows else []
    unlabelled = ["unlabelled loss"] if diagnosis.unlabelled_rows else []
    return [
        *["term", "weight", "loss", "weighted", "floor", "bias/sd", *held_out, *unlabelled],
        *["grad norm", "ratio", "cosine", "reached", "finite"],
    ]


def _cells(diagnosis: DiagnosisData) -> list[list[str]]:
    rows = [_term_cells(row, diagnosis) for row in diagnosis.terms]
    blank = [""] * (len(rows[0]) - 3)
    data = ["(data loss)", "", _number(diagnosis.data_loss), *blank]
    data[-5] = _number(diagnosis.data_grad_norm)
    return [data, *rows]


def _term_cells(row: TermDiagnosis, diagnosis: DiagnosisData) -> list[str]:
    numbers = [row.weight, row.loss, row.weighted_loss, row.floor]
    others = [row.val_loss, row.val_floor, row.val_network] if diagnosis.val_rows else []
    others += [row.unlabelled_loss] if diagnosis.unlabelled_rows else []
    return [
        _short(row.term),
        *map(_number, numbers),
        _bias(row),
        *map(_number, others),
        _number(row.grad_norm),
        _number(row.grad_ratio),
        "-" if row.grad_cosine is None else f"{row.grad_cosine:+.2f}",
        f"{row.reached}/{row.trainable}",
        "yes" if row.finite else "NO",
    ]


def _short(name: str) -> str:
    """Returns a name that fits into a table; the findings have it in full."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}...{name[-MAX_NAME // 3 :]}"


def _constant_cells(row: ConstantDiagnosis) -> list[str]:
    numbers = [_number(v) for v in (row.low, row.high, row.grad_norm, row.sensitivity)]
    terms = ", ".join(row.terms) or ("-" if row.trainable else "fixed")
    return [_short(row.constant), f"{row.value:.6g}", row.unit or "-", *numbers, terms]


def _bias(row: TermDiagnosis) -> str:
    if row.labels is None:
        return "-"
    largest = max(range(len(row.biases)), key=lambda k: abs(row.biases[k]))
    of = f" [{largest}]" if len(row.biases) > 1 else ""
    return f"{row.biases[largest]:+.2f}{of}"


def _notes(diagnosis: DiagnosisData) -> list[str]:
    notes = [f"{row.term}: {row.note}." for row in diagnosis.terms if row.note]
    if not diagnosis.gradients.variables:
        notes.append("The model has no trainable variables: there are no gradients to look at.")
    if diagnosis.data_loss is None:
        notes.append("No data loss: no labels, or no loss compiled; so no ratios and no cosines.")
    elif diagnosis.gradients.variables and diagnosis.data_grad_norm is None:
        notes.append("The data loss has no gradient; so there are no ratios and no cosines.")
    if any(len(row.biases) > 1 for row in diagnosis.terms):
        notes.append("bias/sd is that of the component in brackets, where it is the largest.")
    if any(row.val_network is not None for row in diagnosis.terms):
        notes.append(
            "val network is the loss of the network's own held-out predictions in place of the "
            "term's output: where val floor is lower, the physics knows those labels better."
        )
    if diagnosis.unlabelled_rows:
        share = diagnosis.unlabelled_share
        mean = "means over labelled and unlabelled rows"
        if share is not None:
            mean = (
                f"{1 - share:g} times the mean over labelled rows plus {share:g} times that over "
                "unlabelled ones"
            )
        notes.append(f"Gradients of terms that need no label are {mean}.")
    return notes + _notes_on_constants(diagnosis)


def _notes_on_constants(diagnosis: DiagnosisData) -> list[str]:
    sizes = {row.constant.rpartition("_")[0]: row.size for row in diagnosis.constants}
    notes = [
        f"{name}: {size} elements are too many for the table, and their sensitivities were not "
        "looked at; the values and gradients are in `constants`."
        for name, size in sizes.items()
        if size > MAX_LOGGED_ELEMENTS
    ]
    unknown = [
        row.constant
        for row in diagnosis.constants
        if row.size <= MAX_LOGGED_ELEMENTS
        and row.sensitivity is not None
        and math.isnan(row.sensitivity)
    ]
    if unknown:
        notes.append(
            f"{', '.join(unknown)}: the sensitivity is not known, as an operation has no second "
            "derivative, or no number came out; so nothing is said about whether it can be "
            "identified."
        )
    return notes


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
