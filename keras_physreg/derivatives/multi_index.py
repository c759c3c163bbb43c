"""Multi-indices of partial derivatives, written as letters of inputs: "xxt"."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from keras_physreg._utils.errors import received, sequence
from keras_physreg._utils.names import PATTERN, duplicates

MAX_ORDER = 4


def canonical(index: str) -> str:
    """Returns the letters of a multi-index in alphabetical order: derivatives commute."""
    return "".join(sorted(index))


def with_lower(indices: Sequence[str]) -> list[str]:
    """Returns multi-indices with all that divide them, in canonical form, by rising order.

    Example:
    >>> with_lower(["xxt"])
    ['', 't', 'x', 'tx', 'xx', 'txx']
    """
    found = {
        "".join(letters)
        for index in indices
        for order in range(len(index) + 1)
        for letters in combinations(canonical(index), order)
    }
    return sorted(found, key=lambda index: (len(index), index))


def factorial(index: str) -> int:
    """Returns the ratio of a derivative to its Taylor coefficient: 2! 1! for "xxt"."""
    return math.prod(math.factorial(count) for count in Counter(index).values())


def check_inputs(inputs: Any) -> list[str]:
    """Returns the names of the inputs; raises unless they are different single letters."""
    names = sequence("`Derivatives`", "inputs", inputs)
    for name in names:
        if not isinstance(name, str) or len(name) != 1 or not name.isalpha():
            raise ValueError(
                "`Derivatives`: `inputs` must be single letters, one per input, because "
                f"`derivatives` are written in them: 'xxt'. {received('inputs', names)}"
            )
    if twice := duplicates(names):
        raise ValueError(
            f"`Derivatives`: `inputs` has {twice} more than once. {received('inputs', names)}"
        )
    return names


def check_derivatives(derivatives: Any, inputs: Sequence[str]) -> list[str]:
    """Returns the multi-indices; raises unless they are different and of order 1 to 4.

    Args:
        derivatives: What the user gave.
        inputs: Names of the inputs.
    """
    indices = sequence("`Derivatives`", "derivatives", derivatives)
    for index in indices:
        if not isinstance(index, str) or not index:
            raise ValueError(
                "`Derivatives`: `derivatives` must be strings of input names, such as 'x' or "
                f"'xx'. {received('derivatives', indices)}"
            )
        unknown = sorted(set(index) - set(inputs))
        if unknown:
            raise ValueError(
                f"`Derivatives`: the derivative '{index}' has {unknown}, not in `inputs` "
                f"{list(inputs)}. {received('derivatives', indices)}"
            )
        if len(index) > MAX_ORDER:
            raise ValueError(
                f"`Derivatives`: the derivative '{index}' has order {len(index)}; the maximum is "
                f"{MAX_ORDER}. For a higher order, make a lower derivative an output of the "
                f"network. {received('derivatives', indices)}"
            )
    same = duplicates([canonical(index) for index in indices])
    if same:
        twice = [index for index in indices if canonical(index) in same]
        raise ValueError(
            f"`Derivatives`: {twice} are the same derivative, since the order of differentiation "
            f"does not matter. {received('derivatives', indices)}"
        )
    return indices


def check_output(output: Any) -> str:
    """Returns the name of the output; raises unless it can begin the name of a derivative."""
    if not isinstance(output, str) or not re.fullmatch(PATTERN, output):
        raise ValueError(
            "`Derivatives`: `output` must be a name of letters, digits, '_', '-' and '.', such as "
            f"'u'. {received('output', output)}"
        )
    return output
