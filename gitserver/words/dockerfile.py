"""Words for dockerfile."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.words.entry import Words

WORDS: Mapping[str, Words] = {}
