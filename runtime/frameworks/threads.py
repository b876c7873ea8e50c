"""How many native threads a framework may use for one call: the budget that was set before anything was imported."""

from __future__ import annotations

import os


def threads_per_call() -> int:
    """OMP_NUM_THREADS, which the shim's start has set (budget.py); libraries with own pools are told the same."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else 1
