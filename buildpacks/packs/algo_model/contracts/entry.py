"""How user code is called, as the build has found it."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One way to call a repository's code.

    kind      function, class, algorithmia, cog, sagemaker, huggingface, azure
    file      in the repository
    name      of the function or class in file that the kind calls first
    why       `predict.py line 3: def predict`: what was seen, and where
    packages  (requirement, file that names it), of contracts that have their own place for them
    notes     what the contract's file asks for and this server does not do, a sentence each
    """

    kind: str
    file: str
    name: str
    why: str = ""
    packages: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
