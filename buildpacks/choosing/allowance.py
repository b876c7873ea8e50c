"""Which sources the operator allows: one setting, read and applied.  Pure.

    builtin      only the buildpacks that come with this server
    repository   also those that lie in the pushed repository (the default)
    any          also every git repository over https and every image
    a prefix     `https://github.com/heroku/`, `docker://registry.example/packs/`: what begins so

Entries are joined by commas; builtin is always in.

Why `repository` is safe as the default: such a buildpack is code of whoever pushes, and a push can make the same build
execute its code already (a package that is built from source). It runs where that runs, and reaches what that reaches.
Code of a third party, fetched by the server, is the operator's decision.
"""

from __future__ import annotations

from dataclasses import dataclass

from buildpacks.choosing.values import OF_REPOSITORY, Source, SourceKind
from buildpacks.order import BuildFailed

_WORDS = frozenset({"builtin", "repository", "any"})
_SCHEMES = ("https://", "http://", "ssh://", "file://", "docker://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """text is the operator's setting, for refusals; prefixes in lower case up to the host."""

    text: str
    repository: bool
    any: bool
    prefixes: tuple[str, ...]

    def allows(self, source: Source) -> bool:
        """Whether a build may use it."""
        if source.kind is SourceKind.BUILTIN:
            return True
        if source.kind in OF_REPOSITORY:
            return self.repository or self.any
        name = source.location if source.kind is SourceKind.GIT else f"docker://{source.location}"
        # Plain http can be changed on its way, ssh and file:// speak with the server's own rights: by name only.
        if self.any and name.startswith(("https://", "docker://")):
            return True
        return any(_begins(name, prefix) for prefix in self.prefixes)

    def check(self, source: Source) -> None:
        """Raises BuildFailed('buildpack-not-allowed') that names the source, who asked, and the setting."""
        if not self.allows(source):
            raise BuildFailed(
                "buildpack-not-allowed", buildpack=source.text[:120], asked_by=source.asked_by, setting=self.text
            )


def parse_allowance(text: str) -> Allowance:
    """The setting `--buildpacks`. Raises ValueError that says what was expected."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    prefixes = [word for word in words if word not in _WORDS]
    for prefix in prefixes:
        scheme = next((known for known in _SCHEMES if prefix.lower().startswith(known)), None)
        if scheme is None or not prefix[len(scheme) :].strip("/") or "*" in prefix:
            raise ValueError("builtin, repository, any, or the beginning of a URL: https://github.com/heroku/")
    if not words:
        raise ValueError("builtin, repository, any, or the beginning of a URL")
    return Allowance(
        text=",".join(words), repository="repository" in words, any="any" in words, prefixes=tuple(prefixes)
    )


def _begins(name: str, prefix: str) -> bool:
    """With a border behind it: https://host/team is no beginning of https://host/teammate."""
    head, separator, rest = prefix.partition("://")
    host, slash, path = rest.partition("/")
    wanted = f"{head.lower()}{separator}{host.lower()}{slash}{path}"
    if not name.startswith(wanted):
        return False
    left = name[len(wanted) :]
    if not left or wanted.endswith("/") or left.startswith("/"):
        return True
    if not path:  # the host itself goes on: https://github.com.git.example is somebody else's
        return False
    return left == ".git" or (head.lower() == "docker" and left.startswith((":", "@")))
