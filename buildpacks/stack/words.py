"""Words for what making, adding and reading a stack can fail with."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

WORDS: Mapping[str, Words] = {}
