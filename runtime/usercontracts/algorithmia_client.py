"""Algorithmia.client() without Algorithmia: files of its data service are files of the repository, all else says no.

Source  algorithmia 1.23 (the public interface): client.file("data://...") with exists, getFile, getBytes, getString,
        getJson, getName
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

FindFile = Callable[[str], Path | None]


class LocalClient:
    """Made freely, with any key. find: a file of the repository by its name."""

    def __init__(self, find: FindFile, refuse: Callable[[str], Exception]) -> None:
        self._find, self._refuse = find, refuse

    def file(self, uri: str) -> LocalFile:
        """The file of the repository that is called like the last part of uri."""
        return LocalFile(uri, self._find, self._refuse)

    def __getattr__(self, name: str) -> Any:
        raise self._refuse(f"client().{name}: there is no Algorithmia cluster here; keep files in the repository")


class LocalFile:
    """One file of the data service, as it lies in the repository."""

    def __init__(self, uri: str, find: FindFile, refuse: Callable[[str], Exception]) -> None:
        self._uri, self._find, self._refuse = uri, find, refuse

    def exists(self) -> bool:
        """Whether the repository has it."""
        return self._find(self.getName()) is not None

    def getName(self) -> str:  # noqa: N802 -- the client's own names, here and below
        """The last part of the address."""
        return PurePosixPath(self._uri).name

    def getFile(self) -> Any:  # noqa: N802
        """An open file; its `name` is the path."""
        return self._path().open("rb")

    def getBytes(self) -> bytes:  # noqa: N802
        """The content."""
        return self._path().read_bytes()

    def getString(self) -> str:  # noqa: N802
        """The content as text."""
        return self._path().read_text(encoding="utf-8")

    def getJson(self) -> Any:  # noqa: N802
        """The content as a value."""
        return json.loads(self.getBytes())

    def _path(self) -> Path:
        path = self._find(self.getName())
        if path is None:
            raise self._refuse(
                f"{self._uri}: there is no Algorithmia cluster here, and {self.getName()} is not in the repository"
            )
        return path

    def __getattr__(self, name: str) -> Any:
        raise self._refuse(f"{self._uri}: {name} is not possible; files of a release do not change")
