"""Which blobs a registry is known to have: what was pushed once is not asked for again.

    known/<registry>/<repository, its slashes as +>    one digest a line

Only a hint: a registry may have lost them. It says so when it gets a manifest, and then the hint is forgotten.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from buildpacks.image.reference import is_registry, is_repository

_MAX_DIGESTS = 4096  # a hint that grows without end would cost more than it saves


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBlobs:
    """What one registry has, by repository. root: the folder `known`."""

    root: Path
    registry: str

    def digests(self, repository: str) -> frozenset[str]:
        """Digests that the repository had when we last looked."""
        return _read(self._path(repository))

    def elsewhere(self, repository: str) -> dict[str, str]:
        """digest -> another repository of the same registry that has it, from where it can be mounted."""
        found: dict[str, str] = {}
        own = self._path(repository)
        for path in sorted(own.parent.glob("*")):
            if path != own and not path.name.startswith("."):
                found |= dict.fromkeys(_read(path), path.name.replace("+", "/"))
        return found

    def add(self, repository: str, digests: Iterable[str]) -> None:
        """Remember more. Two pushes at once may lose one's digests: they are asked for again, no more."""
        path = self._path(repository)
        before = _read(path)
        now = before | set(digests)
        if now == before:
            return
        if len(now) > _MAX_DIGESTS:
            now = frozenset(digests)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{secrets.token_hex(8)}")
        draft.write_text("".join(f"{digest}\n" for digest in sorted(now)), encoding="ascii")
        draft.rename(path)

    def forget(self, repository: str) -> None:
        """The registry said that it does not have them."""
        self._path(repository).unlink(missing_ok=True)

    def _path(self, repository: str) -> Path:
        if not is_registry(self.registry) or not is_repository(repository):
            raise ValueError(f"no name for a file: {self.registry}/{repository}")
        return self.root / self.registry / repository.replace("/", "+")


def _read(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text(encoding="ascii").split())
    except FileNotFoundError:
        return frozenset()
