"""Which buildpacks somebody asked for, before anything is fetched.  Pure.

Words  a source is where one buildpack comes from; a choice is the list of sources with who asked for it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from buildpacks.image.registry import RegistryOptions

SETTING = "BP_BUILDPACKS"
STORE_FOLDER = "buildpacks"


class SourceKind(Enum):
    """How a buildpack reaches the build."""

    BUILTIN = "builtin"
    FOLDER = "folder"
    PACKAGE = "package"
    INLINE = "inline"
    GIT = "git"
    IMAGE = "image"


# They lie in the pushed tree itself: whoever may push may change them.
OF_REPOSITORY = frozenset({SourceKind.FOLDER, SourceKind.PACKAGE, SourceKind.INLINE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A buildpack written into project.toml: API version, interpreter, the text of its bin/build."""

    api: str
    interpreter: str
    inline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One buildpack that was asked for.

    text      as it was written, for people and for the image's document
    location  id, repository path, URL or image reference, by kind
    ref       git: branch, tag or commit, '' for the default branch; builtin: a version or ''
    asked_by  file and line, `.buildpacks line 2`
    """

    kind: SourceKind
    text: str
    location: str
    ref: str
    asked_by: str
    script: Script | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an app asks for. by names the place; sources empty with pre or post: detection between them."""

    by: str
    sources: tuple[Source, ...] = ()
    pre: tuple[Source, ...] = ()
    post: tuple[Source, ...] = ()

    @property
    def every(self) -> tuple[Source, ...]:
        """All sources, in the order in which they build."""
        return (*self.pre, *self.sources, *self.post)


class GitDoor(Protocol):
    """The door to repositories elsewhere."""

    def resolve(self, source: Source) -> str:
        """The commit that a source's ref is now. Raises BuildFailed: buildpack-unreachable, buildpack-ref-missing."""
        ...

    def fetch(self, source: Source, commit: str, into: Path) -> None:
        """Lay a commit's files into a folder that does not exist yet.

        Raises  BuildFailed: buildpack-unreachable, buildpack-refused, buildpack-too-big
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator allows, and the doors to what lies elsewhere.

    allowed     the operator's setting, as allowance.parse_allowance reads it
    store_dir   fetched buildpacks by content; None: nothing can be fetched
    pins        text of a source -> commit or digest that an image of this app was made with
    commit      of the pushed tree; classic buildpacks are told
    request_id  names this build in their logs
    config_env  configuration that the app hands to classic buildpacks by name
    """

    allowed: str = "repository"
    store_dir: Path | None = None
    git: GitDoor | None = None
    registry: RegistryOptions | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    request_id: str = ""
    config_env: Mapping[str, str] = field(default_factory=dict)
