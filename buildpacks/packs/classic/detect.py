"""Always passes: a classic buildpack that was chosen detects when its turn comes, behind what the earlier ones made.

Why  the classic API runs detect and compile of one buildpack before the next begins; the specification's detection
     runs all at once, and a later buildpack would not see an earlier one's files and variables
"""

from __future__ import annotations

from buildpacks.packs.cnb import PASS, Context


def detect(_context: Context) -> int:
    """Nothing is provided, nothing required."""
    return PASS
