"""The rule about rows that carry the loss of a term."""

from __future__ import annotations

from collections.abc import Iterator

from keras_physreg.diagnosis.few_rows import FewRows
from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis

MAX_NUMBERS = 6


def few_rows_findings(row: TermDiagnosis) -> Iterator[Finding]:
    """Yields a finding where a few rows carry the loss of a term."""
    few = row.few_rows
    if few is None:
        return
    where = "at the labels" if few.at_labels else "at the predictions"
    rows = "rows" if few.of == "x" else f"rows of `{few.of}`"
    yield Finding(
        "few-rows",
        "warning",
        row.term,
        f"{len(few.numbers)} of {few.count} {rows} ({100 * len(few.numbers) / few.count:.2g} %) "
        f"carry {100 * few.share:.3g} % of the loss of '{row.term}' {where}: rows {_listed(few)}; "
        f"the mean of the others is {few.rest:.3g}.{_traits(few)}",
        "Look at these rows. If the law does not hold there, leave them out of the term "
        "(`PhysicsTerm(where=...)`); else bound its output (`keras.ops.clip`, no division by what "
        "may be 0), or take a loss that large values do not dominate (`loss='huber'` or 'mae').",
    )


def _listed(few: FewRows) -> str:
    more = ", ..." if len(few.numbers) > MAX_NUMBERS else ""
    return ", ".join(map(str, few.numbers[:MAX_NUMBERS])) + more


def _traits(few: FewRows) -> str:
    if not few.traits:
        return " No column of the inputs sets them apart."
    return f" {'; '.join(few.traits)}."
