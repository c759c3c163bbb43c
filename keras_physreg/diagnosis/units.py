"""Factors and offsets between units that are mixed up."""

from __future__ import annotations

import math

FACTORS = (
    (1e3, "kW and W, m and mm, or kPa and Pa"),
    (1e6, "MW and W, or MPa and Pa"),
    (1e2, "a share and per cent, or m and cm"),
    (1e5, "bar and Pa"),
    (60.0, "minutes and seconds"),
    (3600.0, "hours and seconds"),
    (86400.0, "days and seconds"),
    (24.0, "days and hours"),
    (3.6, "km/h and m/s, or kWh and MJ"),
    (180 / math.pi, "degrees and radians"),
    (2 * math.pi, "turns and radians, or frequency and angular frequency"),
    (1.8, "degrees Celsius and Fahrenheit"),
    (4.1868, "calories and joules"),
    (9.80665, "kilogram-force and newtons"),
    (0.3048, "feet and metres"),
    (0.0254, "inches and metres"),
    (0.45359237, "pounds and kilograms"),
    (1.609344, "miles and kilometres"),
    (6894.757, "psi and Pa"),
    (101325.0, "atmospheres and Pa"),
    (133.3224, "mmHg and Pa"),
    (1055.056, "BTU and joules"),
    (2.302585, "natural and decimal logarithms"),
)
OFFSETS = (
    (273.15, "kelvin and degrees Celsius"),
    (32.0, "degrees Fahrenheit and Celsius"),
)
NEAR = 0.02


def near(a: float, b: float) -> bool:
    """Returns whether two factors are the same but for 2 %."""
    return a * b > 0 and abs(math.log(a / b)) <= NEAR


def known_factor(factor: float, low: float, high: float) -> tuple[float, str] | None:
    """Returns a factor between units that may be this one, with the units in words, or `None`.

    Where none is near, the interval must hold one alone: in a wide one there is always some.

    Args:
        factor: The factor, above 0.
        low: The least that it may be.
        high: The most that it may be.

    Example:
    >>> known_factor(1001.0, 990.0, 1012.0)
    (1000.0, 'kW and W, m and mm, or kPa and Pa')
    """
    if not 0 < low <= high < 1.5 * low:
        return None
    both = [*FACTORS, *((1 / known, words) for known, words in FACTORS)]
    nearest = min(both, key=lambda each: abs(math.log(each[0] / factor)))
    possible = [each for each in both if low <= each[0] <= high]
    return nearest if near(nearest[0], factor) or possible == [nearest] else None


def name_of_offset(offset: float, error: float) -> str | None:
    """Returns units that differ by about this offset, in words, or `None`.

    Args:
        offset: The offset.
        error: By how much it may be off.

    Example:
    >>> name_of_offset(-273.0, 0.5)
    'kelvin and degrees Celsius'
    """
    for known, words in OFFSETS:
        if abs(abs(offset) - known) <= max(error, NEAR * known) and error < 0.1 * known:
            return words
    return None
