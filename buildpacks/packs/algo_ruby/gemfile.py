"""A Gemfile and its lock, read as far as choosing Ruby, its start and Debian's packages takes; nothing of it runs.

Source  https://bundler.io/man/gemfile.5.html; RubyGems guides, "Patterns: declaring dependencies"
"""

from __future__ import annotations

import re
from typing import NamedTuple

from buildpacks.packs.procfile import decode

MAX_BYTES = 1024 * 1024
_GEM = re.compile(r"""^\s*gem[\s(]+["']([A-Za-z0-9_.-]+)["'](.*)""")
_GROUP = re.compile(r"^\s*group\b(.*)\bdo\b")
_BLOCK = re.compile(r"\bdo\b\s*(?:\|[^|]*\|\s*)?$|^\s*(?:if|unless|case|begin|def)\b")
_END = re.compile(r"^\s*end\b")
_ASIDE = re.compile(r":(?:development|test)\b|\b(?:development|test):")
_RUBY = re.compile(r"^\s*ruby[\s(]+(.+)$", re.MULTILINE)
_PLACES = "git|github|path|source"
_SOURCE = re.compile(rf"^\s*(?:source|git_source|gemspec)\b|\b(?:{_PLACES}):|:(?:{_PLACES})\s*=>", re.MULTILINE)
_LOCKED = re.compile(r"^    ([A-Za-z0-9_.-]+) \(([^)]+)\)$", re.MULTILINE)
_BOUND = re.compile(r"(=|!=|>=|<=|>|<|~>)?\s*(\d+(?:\.\d+)*)")


class Gemfile(NamedTuple):
    """gems: those of the app itself; aside: those of development and test. ruby: what it asks for, [] for any.

    ruby_file  what .ruby-version says, '' without one
    locked     gem -> version of Gemfile.lock; {} without one
    sources    whether gems come from somewhere else than what is installed
    """

    gems: list[str]
    aside: list[str]
    ruby: list[str]
    ruby_file: str
    locked: dict[str, str]
    sources: bool

    def has(self, name: str) -> bool:
        """Whether a gem is asked for, by itself or by another one."""
        return name in self.gems or name in self.locked


def read_gemfile(app: str) -> Gemfile:
    """Read Gemfile, Gemfile.lock and .ruby-version at the top of an app."""
    text = re.sub(r"^\s*#.*$|\s#[^\"']*$", "", _text(f"{app}/Gemfile"), flags=re.MULTILINE)
    asked, from_file = _RUBY.search(text), _text(f"{app}/.ruby-version").strip().removeprefix("ruby-")
    ruby = re.findall(r"""["']([^"']+)["']""", asked[1].split("engine")[0]) if asked is not None else []
    if asked is not None and re.search(r"\bfile:|:file\b", asked[1]):
        ruby = [from_file] if from_file else []
    gems, aside = _gems(text)
    return Gemfile(
        gems=gems, aside=aside, ruby=ruby, ruby_file=from_file, sources=_SOURCE.search(text) is not None,
        locked={match[1]: match[2] for match in _LOCKED.finditer(_text(f"{app}/Gemfile.lock"))},
    )  # fmt: skip


def accepts(bounds: list[str], version: tuple[int, ...]) -> bool:
    """Whether a version fits every bound, `>= 3.0`, `~> 3.1`; what is no bound of numbers fits nothing."""
    for text in (part for bound in bounds for part in bound.split(",")):
        match = _BOUND.fullmatch(text.strip())
        if match is None or not _fits(match[1] or "=", tuple(map(int, match[2].split("."))), version):
            return False
    return True


def _fits(sign: str, bound: tuple[int, ...], version: tuple[int, ...]) -> bool:
    if sign == "~>":
        return version[: len(bound)] >= bound and version[: max(len(bound) - 1, 1)] == bound[: max(len(bound) - 1, 1)]
    length = max(len(bound), len(version))
    have, want = (numbers + (0,) * (length - len(numbers)) for numbers in (version, bound))
    return {
        "=": have == want, "!=": have != want, ">=": have >= want, "<=": have <= want, ">": have > want,
        "<": have < want,
    }[sign]  # fmt: skip


def _gems(text: str) -> tuple[list[str], list[str]]:
    """Gems outside of the groups development and test, and those inside, each in order."""
    found, aside, blocks = dict[str, None](), dict[str, None](), list[bool]()
    for line in text.splitlines():
        gem = _GEM.match(line)
        if gem is not None:
            (aside if any(blocks) or _ASIDE.search(gem[2]) else found)[gem[1]] = None
        group = _GROUP.match(line)
        if group is not None:
            blocks.append(_is_aside(group[1]))
        elif _END.match(line):
            blocks = blocks[:-1]
        elif gem is None and _BLOCK.search(line):
            blocks.append(False)
    return list(found), [name for name in aside if name not in found]


def _is_aside(groups: str) -> bool:
    """Whether a block's groups are all left out of an app that serves."""
    names = re.findall(r":(\w+)|[\"'](\w+)[\"']", groups)
    return bool(names) and all((first or second) in ("development", "test") for first, second in names)


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return decode(file.read(MAX_BYTES))
    except FileNotFoundError:
        return ""
