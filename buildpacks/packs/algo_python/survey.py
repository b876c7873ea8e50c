"""Pins that no wheel fits, all at once: a resolver stops at the first, and that is often not the cause.

uv is asked without dependencies, once for each pin that fails, and once more for the wheels that those pins had. It
knows the operator's indexes, certificates and proxies, so nothing else has to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.manager import Manager
from buildpacks.packs.algo_python.markers import holds, marker_env
from buildpacks.packs.algo_python.names import HEAVY
from buildpacks.packs.cnb import Context

_EXACT = re.compile(r"===?\s*(\d[^\s,;*]*)$")
_NO_WHEEL = re.compile(r"([A-Za-z0-9._-]+?)==\S+ has no (?:usable wheels|wheels with a matching)")
_NEEDS_PYTHON = re.compile(r"([A-Za-z0-9._-]+?)==\S+ depends on Python\s*(\S+?),?\s")
_NOT_FOUND = re.compile(r"Because (\S+) was not found in the (?:package registry|provided package locations)")
_NO_VERSION = re.compile(r"there is no version of ([A-Za-z0-9._-]+)==")
_WHEEL = re.compile(r"-(cp\d[\d.cp]*|py[\d.py]+)-([a-z0-9_.]+)-([A-Za-z0-9_.]+)\.whl$")
_OLDEST = "3.6"
_NEWEST_MINOR = 20
_MAX_ASKED = 60
_TIMEOUT_S = 120


class DeadPin(NamedTuple):
    """A pin without a wheel for the Python in question.

    pythons     minor versions that it had wheels for here, oldest first; empty: none that is known
    has_source  building it may work
    """

    pin: str
    where: str
    pythons: Sequence[str]
    has_source: bool

    def sentence(self) -> str:
        """`numpy==1.16.4 (requirements.txt line 3): wheels for Python 3.6, 3.7`."""
        had = f"wheels for Python {', '.join(self.pythons)}" if self.pythons else "no wheel for this system"
        return f"{self.pin} ({self.where}): {had}" if self.where else f"{self.pin}: {had}"


class Survey(NamedTuple):
    """dead: without a wheel; missing: names that no index knows; gone: pins of versions that do not exist."""

    dead: Sequence[DeadPin]
    missing: Sequence[str]
    gone: Sequence[str]

    @property
    def is_hopeless(self) -> bool:
        """Building would take minutes and fail, or there is nothing to build."""
        return any(not pin.has_source or pin.pin.partition("==")[0] in HEAVY for pin in self.dead)

    def fits(self, minor: str) -> bool:
        """All dead pins had wheels for this Python."""
        return all(minor in pin.pythons for pin in self.dead)


def survey_pins(context: Context, manager: Manager, python: Interpreter) -> Survey:
    """What is wrong with each exact pin, for this Python. Measured: 0.1 s of processor time for each that fails."""
    import os

    variables = marker_env(python, context.env, os.uname().machine)
    pins = {}
    for name, spec in manager.named.items():
        exact = _EXACT.match(spec)
        marker = manager.lines[name][2].partition(";")[2].split("#")[0] if name in manager.lines else ""
        if exact is not None and holds(marker.split("--hash")[0].strip(" \\"), variables):
            pins[name] = exact[1]
    wheelless: list[str] = []
    missing: list[str] = []
    gone: list[str] = []
    sourceless: set[str] = set()
    for _ in range(_MAX_ASKED):
        text = _ask(context, python, {name: f"{name}=={version}" for name, version in pins.items()})
        kind, name = _first_cause(text)
        if name not in pins:
            break
        pin = f"{name}=={pins.pop(name)}"
        {"wheel": wheelless, "missing": missing, "gone": gone}[kind].append(pin)
        if f"{pin} has no wheels with a matching" in text:  # with a source archive, uv says `no usable wheels`
            sourceless.add(pin)
    wheels = _wheels(context, python, wheelless) if wheelless else {}
    dead = [
        DeadPin(pin, _where(manager, pin), wheels[pin], pin not in sourceless) for pin in wheelless if pin in wheels
    ]  # fmt: skip
    return Survey(dead, missing, gone)


def _first_cause(text: str) -> tuple[str, str]:
    for kind, pattern in (
        ("wheel", _NO_WHEEL),
        ("wheel", _NEEDS_PYTHON),
        ("missing", _NOT_FOUND),
        ("gone", _NO_VERSION),
    ):
        match = pattern.search(text)
        if match is not None:
            return kind, re.split(r"[=<>!~]", match[1])[0]
    return "", ""


def _wheels(context: Context, python: Interpreter, pins: Sequence[str]) -> dict[str, list[str]]:
    """Pin -> minor versions with a wheel here. A pin that never had one is left out: it was source from the start."""
    import tomllib

    asked = {pin.partition("==")[0]: pin for pin in pins}
    specs = dict(asked)
    for _ in range(_MAX_ASKED):
        text = _ask(context, python, specs, listing=True)
        name, needs = _refused(text)
        if name not in specs:
            break
        if needs and ";" not in specs[name]:
            specs[name] = f"{asked[name]} ; {_as_marker(needs)}"
        else:
            del specs[name]
    try:
        with open(f"{context.layers}/scratch/pylock.survey.toml", "rb") as file:
            packages = tomllib.load(file).get("packages", [])
    except FileNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for package in packages:
        pin = asked.get(str(package["name"]), "")
        names = [str(wheel.get("url", wheel.get("name", ""))) for wheel in package.get("wheels", [])]
        if pin and names:
            found[pin] = _minors(names, context.env)
    return found


def _refused(text: str) -> tuple[str, str]:
    match = _NEEDS_PYTHON.search(text)
    if match is not None:
        return match[1], match[2]
    match = _NO_WHEEL.search(text)
    return (match[1], "") if match is not None else ("", "")


def _as_marker(needs: str) -> str:
    clauses = re.findall(r"(>=|<=|==|!=|~=|>|<)(\d[\d.]*)(?:\.\*)?", needs)
    return " and ".join(f"python_version {operator} '{version}'" for operator, version in clauses)


def _minors(names: Sequence[str], env: Mapping[str, str]) -> list[str]:
    import os

    machine = env.get("ALGO_PLATFORM", "").partition("-")[0] or os.uname().machine
    found = set()
    for name in names:
        match = _WHEEL.search(name.partition("#")[0])
        if match is None or not (match[3] == "any" or ("linux" in match[3] and match[3].endswith(machine))):
            continue
        for tag in match[1].split("."):
            minor = re.fullmatch(r"cp3(\d+)", tag)
            if minor is not None:
                last = _NEWEST_MINOR if "abi3" in match[2] else int(minor[1])
                found |= set(range(int(minor[1]), last + 1))
            elif tag == "py3":
                found |= set(range(6, _NEWEST_MINOR + 1))
    return [f"3.{minor}" for minor in sorted(found)]


def _ask(context: Context, python: Interpreter, specs: Mapping[str, str], *, listing: bool = False) -> str:
    """uv's complaint about these requirements, without their dependencies; '' for none."""
    from buildpacks.packs.algo_python.install import for_platform
    from buildpacks.packs.algo_python.uv import ask_uv

    path = f"{context.layers}/scratch/survey.txt"
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{spec}\n" for spec in specs.values()))
    command = ["pip", "compile", path, "--no-deps", "--no-build", "--no-annotate", "--no-header", "--quiet"]
    command += ["--python", python.path]
    if listing:
        output = f"{context.layers}/scratch/pylock.survey.toml"
        command += ["--universal", "--python-version", _OLDEST, "--format", "pylock.toml", "--output-file", output]
    else:
        command += [*for_platform(context.env, python), "--output-file", f"{context.layers}/scratch/survey.lock.txt"]
    done = ask_uv(command, context.env, cwd=context.app, timeout_s=_TIMEOUT_S)
    return "" if done.returncode == 0 else f"{' '.join(done.stderr.split())} "


def _where(manager: Manager, pin: str) -> str:
    file, line, _ = manager.lines.get(pin.partition("==")[0], ("", 0, ""))
    return f"{file} line {line}" if line else file
