"""Narrow floats to JSON: the shortest decimal that reads back as the same float of its own width.

A float32 of 0.1 is 0.10000000149011612 as a double. Its own shortest text is 0.1, and that is what the model meant.
Why     texts made one by one cost a microsecond a number; arrays of thousands are scaled and rounded all at once
"""

from __future__ import annotations

from typing import Any

# Below this many numbers the texts are quicker than a dozen passes over an array.
FEW = 64
# Ten to this power and all below are exact doubles: a product or quotient with them is rounded once.
EXACT_POWER = 22


def shortest_doubles(array: Any) -> Any:
    """An array of float16 or float32 as doubles whose shortest texts are those of the narrow floats; same shape."""
    import numpy as np

    if array.size < FEW or array.dtype != np.float32:
        return _by_text(array)
    wide = array.astype(np.float64)
    made = wide.copy()
    size = np.abs(wide)
    left = np.isfinite(wide) & (size > 1e-12) & (size < 1e14)
    by_text = np.isfinite(wide) & ~left & (size != 0)
    magnitude = np.floor(np.log10(np.where(left, size, 1.0))).astype(np.int64)
    for digits in (6, 7, 8, 9):  # nine always suffice for a float32, and six or fewer that are enough end at six
        power = digits - 1 - magnitude
        up = np.power(10.0, np.clip(power, 0, EXACT_POWER))
        down = np.power(10.0, np.clip(-power, 0, EXACT_POWER))
        near = np.rint(wide * up / down) * down / up
        with np.errstate(over="ignore"):
            fits = left & (near.astype(np.float32) == array)
        made[fits] = near[fits]
        left &= ~fits
    by_text |= left
    if by_text.any():
        made[by_text] = _by_text(array[by_text])
    return made


def _by_text(array: Any) -> Any:
    return array.astype("U32").astype("f8")
