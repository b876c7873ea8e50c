"""Words for what sealing, assembling and sending an image can fail with."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

WORDS: Mapping[str, Words] = {}
