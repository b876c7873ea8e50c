"""Names from outside: owner, app, git ref. They are refused here or they are good everywhere.  Pure.

Rules of this file
1. A name is never repaired. What does not match is a Problem that says what is allowed.
2. Nothing here reads a disk, a clock or the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from gitserver.errors import Problem

ZERO_OID = "0" * 40
PRODUCTION_BRANCH = "main"
MAX_REF_BYTES = 200  # a ref becomes a file name, a log line and a DNS label's source
MAX_NAME = 40

_NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9])*")
_APP_PATH = re.compile(r"/?(?P<owner>[^/]+)/(?P<app>[^/]+?)(?:\.git)?/?")
_OID = re.compile(r"[0-9a-f]{40}")
# git-check-ref-format(1): no control bytes, no space ~ ^ : ? * [ \, no '..', '@{', '//'. Beyond git's rules: nothing
# that a shell reads, for a branch's name is pasted into terminals as part of commands and addresses.
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\;$()`&|<>'\"]|\.\.|@\{|//")
MAGIC_WORDS = frozenset({"redeploy", "rollback", "deploy"})
RESERVED_OWNERS = frozenset({"api", "ui", "v1", "v2", "healthz", "readyz", "metrics", "static", "favicon.ico", "info"})


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AppName:
    """An app as people write it: owner/app."""

    owner: str
    app: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.app}"


class RefClass(StrEnum):
    """What a pushed ref means (design section 2)."""

    PRODUCTION = "production"
    PREVIEW = "preview"
    VERSION = "version"
    REDEPLOY = "redeploy"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefUpdate:
    """One command of a push: old and new are 40 hex digits, zeros for "absent"."""

    git_ref: str
    old: str
    new: str

    @property
    def is_delete(self) -> bool:
        """The client asks for the ref to go."""
        return self.new == ZERO_OID

    @property
    def short_name(self) -> str:
        """The branch or tag name alone."""
        return self.git_ref.split("/", 2)[2] if self.git_ref.startswith("refs/") else self.git_ref


def parse_name(text: str, *, what: str) -> str:
    """An owner's or app's name, or Problem('bad-name') that says what is allowed."""
    if len(text) > MAX_NAME or not _NAME.fullmatch(text) or (what == "owner" and text in RESERVED_OWNERS):
        raise Problem("bad-name", what=what, found=text[:80], limit=MAX_NAME)
    return text


def parse_app_path(path: str) -> AppName:
    """`/alice/iris.git`, `alice/iris` -> AppName; anything else is Problem('bad-app-path')."""
    match = _APP_PATH.fullmatch(path)
    if match is None:
        raise Problem("bad-app-path", found=path[:120])
    return AppName(owner=parse_name(match["owner"], what="owner"), app=parse_name(match["app"], what="app"))


def is_oid(text: str) -> bool:
    """40 lower-case hex digits."""
    return _OID.fullmatch(text) is not None


def check_git_ref(git_ref: str) -> str:
    """The ref itself when we store such names, else Problem('bad-ref').

    Source  git-check-ref-format(1); a leading '-' in any component is refused so that no name is ever an option
    """
    parts = git_ref.split("/")
    bad = (
        not git_ref.startswith(("refs/heads/", "refs/tags/", "refs/deploy/"))
        or len(git_ref.encode()) > MAX_REF_BYTES
        or _BAD_REF.search(git_ref) is not None
        or any(not p or p.startswith((".", "-")) or p.endswith((".", ".lock")) for p in parts)
        or parts[2:] in (["HEAD"], ["@"])
    )
    if bad:
        raise Problem("bad-ref", found=git_ref[:MAX_REF_BYTES])
    return git_ref


def classify(git_ref: str) -> RefClass:
    """What a checked ref asks for."""
    _, space, name = git_ref.split("/", 2)
    if name == "redeploy":
        return RefClass.REDEPLOY
    if name == "rollback" or (space == "tags" and name in MAGIC_WORDS):
        return RefClass.ROLLBACK
    if space == "deploy":
        raise Problem("bad-ref", found=git_ref)
    if space == "tags":
        return RefClass.VERSION
    return RefClass.PRODUCTION if name == PRODUCTION_BRANCH else RefClass.PREVIEW


def branch_slug(branch: str) -> str:
    """`feature/x` -> `feature-x`: how a branch is written in an address, where '/' would be read as a path."""
    return branch.replace("/", "-")
