"""The text that names a buildpack, read into a source, or refused.  Pure.

    algo/python, algo/python@0.1.0, urn:cnb:builder:algo/python   one of this server's own
    ./buildpacks/lint, buildpacks/lint, file:buildpacks/lint      a folder of the repository
    ./tools.cnb                                                   a packaged buildpack in the repository
    https://host/team/pack#v3, git@host:team/pack, org/name       a git repository
    docker://host/team/pack:1.2                                   an image

Rules of this file
1. A name is refused, never mended.
2. `org/name` is the short form of other platforms for a repository on GitHub; this server's own ids come first.

Source  buildpacks/spec extensions/project-descriptor.md 0.2, "uri"; contracts buildpacks.md 1.9 and 2
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from buildpacks.choosing.values import Source, SourceKind
from buildpacks.image.reference import parse_reference
from buildpacks.order import BuildFailed

MAX_TEXT = 500
_SHORT_HOST = "https://github.com"
_ID = re.compile(r"([A-Za-z0-9-]+(?:[./-][A-Za-z0-9-]+)*)(?:@([A-Za-z0-9.+-]{1,60}))?")
_SHORT = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,38})/([A-Za-z0-9][A-Za-z0-9._-]{0,99})")
_SCP = re.compile(r"git@([A-Za-z0-9.-]+):([A-Za-z0-9._~/-]+)")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[A-Za-z0-9._~/+-]*")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")
_GIT_SCHEMES = frozenset({"https", "http", "ssh", "file"})
_BUILDER = ("urn:cnb:builder:", "from=builder:")


def parse_source(text: str, asked_by: str, own_ids: Collection[str]) -> Source:
    """What one entry of a list means.

    own_ids  ids of the buildpacks that come with this server
    Raises   BuildFailed: buildpack-source-bad, buildpack-source-secret, buildpack-unknown
    """
    if len(text) > MAX_TEXT or not text.isprintable() or not text.strip():
        raise BuildFailed("buildpack-source-bad", found=_shown(text), asked_by=asked_by)
    for prefix in _BUILDER:
        if text.startswith(prefix):
            return _own(text, text.removeprefix(prefix), asked_by, own_ids)
    if text.startswith(("docker://", "docker:/")):
        return _image(text, asked_by)
    if (scp := _SCP.fullmatch(text.partition("#")[0])) is not None:
        return _git(text, f"ssh://git@{scp[1]}/{scp[2]}", asked_by)
    scheme, colon, _ = text.partition("://")
    if colon:
        if scheme.lower() not in _GIT_SCHEMES:
            raise BuildFailed("buildpack-source-bad", found=_shown(text), asked_by=asked_by)
        return _git(text, text.partition("#")[0], asked_by)
    if text.startswith(("./", "file:")):
        return _in_repository(text, text.removeprefix("file:"), asked_by)
    match = _ID.fullmatch(text)
    if match is not None and match[1] in own_ids:
        return _own(text, text, asked_by, own_ids)
    name, _, _ = text.partition("#")
    if (short := _SHORT.fullmatch(name)) is not None:
        return _git(text, f"{_SHORT_HOST}/{short[1]}/{_repository_name(short[1], short[2])}", asked_by)
    raise BuildFailed("buildpack-source-bad", found=_shown(text), asked_by=asked_by)


def parse_uri(text: str, asked_by: str, own_ids: Collection[str]) -> Source:
    """An `uri` of project.toml: as parse_source, but what is no URL is a path in the repository."""
    has_scheme = ":" in text.partition("/")[0] or text.startswith(_BUILDER)
    if has_scheme or text.startswith("./"):
        return parse_source(text, asked_by, own_ids)
    return _in_repository(text, text, asked_by)


def own_source(pack_id: str, version: str, asked_by: str, own_ids: Collection[str]) -> Source:
    """`id` and `version` of project.toml. Raises BuildFailed('buildpack-unknown')."""
    return _own(f"{pack_id}@{version}" if version else pack_id, "", asked_by, own_ids, (pack_id, version))


def _own(text: str, name: str, asked_by: str, own_ids: Collection[str], parts: tuple[str, str] | None = None) -> Source:
    if parts is None:
        pack_id, _, version = name.partition("@")
        parts = (pack_id, version)
    if parts[0] not in own_ids:
        raise BuildFailed("buildpack-unknown", buildpack=text[:80], asked_by=asked_by, known=[*sorted(own_ids)])
    return Source(kind=SourceKind.BUILTIN, text=text, location=parts[0], ref=parts[1], asked_by=asked_by)


def _image(text: str, asked_by: str) -> Source:
    name = re.sub(r"docker:/{1,2}", "", text, count=1)
    try:
        reference = parse_reference(name)
    except BuildFailed as failed:
        raise BuildFailed("buildpack-source-bad", found=_shown(text), asked_by=asked_by) from failed
    return Source(kind=SourceKind.IMAGE, text=text, location=str(reference), ref="", asked_by=asked_by)


def _git(text: str, url: str, asked_by: str) -> Source:
    _, hash_mark, ref = text.partition("#")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BuildFailed("buildpack-source-bad", found=_shown(text), asked_by=asked_by) from error
    user, at, host = parts.netloc.rpartition("@")
    if at and not (parts.scheme == "ssh" and user == "git"):
        raise BuildFailed("buildpack-source-secret", asked_by=asked_by)
    is_file = parts.scheme == "file"
    is_good = (
        (not host if is_file else _HOST.fullmatch(host) is not None)
        and _PATH.fullmatch(parts.path) is not None
        and len(parts.path.strip("/")) > 0
        and not {"..", "."} & set(parts.path.split("/"))
        and not parts.query
        and (not hash_mark or (_REF.fullmatch(ref) is not None and ".." not in ref))
    )
    if not is_good:
        raise BuildFailed("buildpack-source-bad", found=_shown(text), asked_by=asked_by)
    netloc = f"{user}@{host.lower()}" if at else host.lower()
    location = f"{parts.scheme.lower()}://{netloc}{parts.path}"
    return Source(kind=SourceKind.GIT, text=text, location=location, ref=ref, asked_by=asked_by)


def _in_repository(text: str, path: str, asked_by: str) -> Source:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/") or ".." in parts or "\\" in path or not parts:
        raise BuildFailed("buildpack-source-bad", found=_shown(text), asked_by=asked_by)
    kind = SourceKind.PACKAGE if parts[-1].endswith(".cnb") else SourceKind.FOLDER
    return Source(kind=kind, text=text, location="/".join(parts), ref="", asked_by=asked_by)


def _repository_name(organisation: str, name: str) -> str:
    # Heroku's own short names leave out what all of their repositories begin with.
    if organisation == "heroku" and not name.startswith(("heroku-", "buildpack")):
        return f"heroku-buildpack-{name}"
    return name


def _shown(text: str) -> str:
    """Never a password: what stands before an @, or in a query, is left out."""
    return re.sub(r"//.*@", "//", text.partition("?")[0], flags=re.DOTALL)[:80]
