"""The YAML that bin/release writes, as far as the classic API gives it a meaning.  Pure.

    ---
    addons: []
    config_vars:
      PYTHONUNBUFFERED: true
    default_process_types:
      web: gunicorn app:app

A reader of YAML is not in the standard library, and the API knows two mappings of plain values: those are read, a
value of another form is refused with its line.

Source  https://devcenter.heroku.com/articles/buildpack-api#bin-release; YAML 1.2 for quoted scalars
"""

from __future__ import annotations

import json
import re

from buildpacks.packs.cnb import PackFailed

TYPE_CHECKING = False  # typing takes longer to import than a script takes
if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"""( *)(?:"([^"]+)"|'([^']+)'|([A-Za-z0-9_.-]+)) *:(?: +(.*))?""")
_READ = ("default_process_types", "config_vars")
_EMPTY = frozenset({"", "{}", "[]", "~", "null"})


def parse_release(text: str, buildpack: str) -> dict[str, dict[str, str]]:
    """`default_process_types` and `config_vars`, each name -> text; other sections are left out.

    buildpack  its name, for the refusal
    Raises     PackFailed('classic-release-bad') with the line that cannot be read
    """
    found: dict[str, dict[str, str]] = {name: {} for name in _READ}
    section, indent = "", 0
    for line in text.splitlines():
        plain = line.rstrip()
        if not plain.strip() or plain.lstrip().startswith("#") or plain in {"---", "--- {}", "{}", "...", "--- ~"}:
            continue
        match = _KEY.fullmatch(plain.removeprefix("--- "))
        if match is None:
            if section in _READ:
                raise PackFailed("classic-release-bad", buildpack=buildpack, line=plain.strip()[:200])
            continue  # a list of add-ons
        depth, name, value = len(match[1]), match[2] or match[3] or match[4], _scalar(match[5] or "")
        if depth == 0:
            section, indent = name.lstrip(":"), 0
            if section in _READ and value not in _EMPTY:
                raise PackFailed("classic-release-bad", buildpack=buildpack, line=plain[:200])
        elif section in _READ:
            indent = indent or depth
            if depth != indent or (match[5] or "").startswith(("|", ">", "&", "*", "[", "{")):
                raise PackFailed("classic-release-bad", buildpack=buildpack, line=plain.strip()[:200])
            found[section][name] = value
    return found


def merge_types(released: Mapping[str, str], procfile: Mapping[str, str]) -> dict[str, str]:
    """Type -> command line: the Procfile's where both have one."""
    return {**released, **procfile}


def _scalar(text: str) -> str:
    """A plain or quoted value of one line."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    return re.sub(r"\s+#.*$", "", text)
