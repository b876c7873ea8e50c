"""Package indexes that an app brings itself, with what opens them: build secrets, never in a layer or in a sentence.

algo config set BP_INDEX_URL=https://NAME:PASSWORD@HOST/simple
algo config set BP_EXTRA_INDEX_URL="https://TOKEN@HOST/simple https://OTHER/simple"
algo config set BP_NETRC="machine HOST login NAME password PASSWORD"
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from buildpacks.packs.algo_python.manager import hide_secrets

INDEX_NAMES = (
    "BP_INDEX_URL", "BP_EXTRA_INDEX_URL", "BP_TORCH_INDEX", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
)  # fmt: skip
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(?:([^/\s]*)@)?([^/\s,@]+)([^\s,]*)", re.IGNORECASE)
_PASSWORD = re.compile(r"\b(?:password|account)\s+(\S+)")
_MIN_SECRET = 4


class Opened(NamedTuple):
    """The environment for uv with the app's own indexes, and the file to remove afterwards; '' for none."""

    env: dict[str, str]
    netrc: str


def open_indexes(env: Mapping[str, str], folder: str) -> Opened:
    """BP_INDEX_URL in place of the operator's default index, BP_EXTRA_INDEX_URL before all others, BP_NETRC as a file.

    folder  where the netrc file may lie for the length of a build; nobody else may read it
    """
    opened = dict(env)
    if env.get("BP_INDEX_URL"):
        for name in ("UV_INDEX_URL", "PIP_INDEX_URL", "UV_NO_INDEX", "PIP_NO_INDEX"):
            opened.pop(name, None)
        opened["UV_DEFAULT_INDEX"] = env["BP_INDEX_URL"].strip()
    if env.get("BP_EXTRA_INDEX_URL"):
        before = env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL") or env.get("PIP_EXTRA_INDEX_URL") or ""
        opened["UV_INDEX"] = " ".join([*env["BP_EXTRA_INDEX_URL"].split(), *before.split()])
    if not env.get("BP_NETRC"):
        return Opened(opened, "")
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103 -- no pathlib in buildpacks
    path = f"{folder}/netrc"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_netrc(env).rstrip() + "\n")
    opened["NETRC"] = path
    return Opened(opened, path)


def hide(text: str, env: Mapping[str, str]) -> str:
    """Text without accounts in URLs, without any password of these settings, without a path that is itself a token."""
    for secret, shown in _secrets(env):
        text = text.replace(secret, shown)
    return hide_secrets(text)


def _netrc(env: Mapping[str, str]) -> str:
    return env.get("BP_NETRC", "").replace("\\n", "\n")  # a shell without $'...' cannot write a line end


def _secrets(env: Mapping[str, str]) -> list[tuple[str, str]]:
    from urllib.parse import unquote

    found: dict[str, str] = {}
    for name in INDEX_NAMES:
        for match in _URL.finditer(env.get(name, "")):
            account, host, path = match[2] or "", match[3], match[4]
            if account:
                for secret in (account, account.partition(":")[2] or account):
                    found |= dict.fromkeys((secret, unquote(secret)), "***")
            if name.startswith("BP_") and name != "BP_TORCH_INDEX" and path.strip("/") not in {"", "simple"}:
                found[f"{host}{path.rstrip('/')}"] = f"{host}/[{name}]"
    for secret in _PASSWORD.findall(_netrc(env)):
        found[secret] = "***"
    return sorted(((s, shown) for s, shown in found.items() if len(s) >= _MIN_SECRET), key=lambda pair: -len(pair[0]))
