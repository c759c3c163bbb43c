"""Finding: one thing that a diagnosis has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # The most severe first.


@dataclass(frozen=True)
class Finding:
    """One thing that a diagnosis has to say.

    Args:
        code: What it is, in a word, such as `"disconnected"`.
        severity: `"error"` (the term does not work), `"warning"` (it may harm) or `"info"`.
        term: Name of the term or of the constant; `"data"` for the data loss.
        message: One sentence, with the numbers in it.
        cure: One sentence on what to do.
    """

    code: str
    severity: Severity
    term: str
    message: str
    cure: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.code}: {self.message}\n    Cure: {self.cure}"
