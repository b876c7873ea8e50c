"""Which variables of a process are the platform's and which an app's owner may set.  Pure; one rule for API and target.

Why     PORT and friends lead calls astray; LD_* and PYTHONHOME load foreign code into a process before the app's own,
        where no error message could say so; CNB_* is the buildpack specification's
"""

from __future__ import annotations

_NAMES = frozenset({"PORT", "HOST", "PATH", "HOME", "TMPDIR", "USER", "SHELL", "PWD", "PYTHONHOME"})
_PREFIXES = ("LD_", "CNB_", "ALGO_")
# Of ALGO_* these are the owner's to set: how the runtime works, not where.
KNOBS = frozenset({"ALGO_WORKERS", "ALGO_THREADS", "ALGO_QUEUE", "ALGO_DEADLINE_S", "ALGO_DEBUG"})


def is_reserved(name: str) -> bool:
    """Whether a configuration may not set this variable."""
    return name in _NAMES or (name.startswith(_PREFIXES) and name not in KNOBS)
