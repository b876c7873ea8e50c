"""Requests with known answers, asked before a release serves: a wrong answer never rolls out.

Two forms of file
    TEST_CASES.json     Algorithmia's: a list of {"case_name", "input", "expected_output", "type", "tree"}; type is
                        EXACT_MATCH (the default), GREATER_OR_EQUAL, LESS_OR_EQUAL, EXCEPTION or NO_EXCEPTION; tree:
                        keys that lead from the answer to what is compared. Ours beside them: "timeout" (seconds),
                        "tolerance" (absolute or relative, of every number)
    sample_input.json   {"input": ..., "output": ...} or a list of them; "expected_output" is the same as "output". A
                        document of another form is one request that must not raise
What is compared is what POST /predict answers. Numbers may differ by 1e-6 of their size, as other machines round.
Source  github.com/algorithmiaio/algorithmia-ci-action, README (version 1.2.3): the words and their meaning
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .failure import BootFailed, describe, render_trace
from .jsontext import parse_json, plain
from .model import Model
from .refusal import Refused, pointer
from .user_model import settled

RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-9
TYPES = ("EXACT_MATCH", "GREATER_OR_EQUAL", "LESS_OR_EQUAL", "EXCEPTION", "NO_EXCEPTION")
_SHOWN_CHARS = 300
_NAME_CHARS = 70
_SHOWN_CASES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and what must come of it. tolerance, timeout_s: None when the file does not say."""

    name: str
    body: Any
    type: str
    expected: Any
    tree: tuple[str | int, ...]
    tolerance: float | None
    timeout_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    case: str
    expected: str
    got: str
    log: tuple[str, ...] = ()


def run_cases(model: Model, app_dir: Path, file: str) -> int:
    """Ask every case of a file; returns how many there were.

    Raises  BootFailed: test-cases-bad (the file is not one), test-case-failed (case, expected, got of the first)
    """
    cases = read_cases(app_dir, file)
    failures = [failure for failure in (_try(model, case, app_dir) for case in cases) if failure is not None]
    if failures:
        first = failures[0]
        log = [*first.log, *(f"{one.case}: expected {one.expected}, got {one.got}" for one in failures[1:])]
        raise BootFailed(
            "test-case-failed",
            log=tuple(log[:_SHOWN_CASES]),
            tests=file,
            case=first.case,
            expected=first.expected,
            got=first.got,
            count=f"{len(failures)} of {len(cases)}",
        )
    return len(cases)


def read_cases(app_dir: Path, file: str) -> list[Case]:
    """The cases of a file. Raises BootFailed('test-cases-bad', tests, message)."""
    try:
        document = parse_json((app_dir / file).read_bytes())
    except Refused as exc:
        raise BootFailed("test-cases-bad", tests=file, message=exc.sentence()) from exc
    except OSError as exc:
        raise BootFailed("test-cases-bad", tests=file, message=exc.strerror or str(exc)) from exc
    listed = document if isinstance(document, list) else [document]
    if not any(_is_case(item) for item in listed):
        return [_case(file, 1, {"case_name": file, "input": document, "type": "NO_EXCEPTION"})]
    return [_case(file, index, item) for index, item in enumerate(listed, start=1)]


def _is_case(item: Any) -> bool:
    return isinstance(item, Mapping) and "input" in item and bool({"expected_output", "output", "type"} & set(item))


def _case(file: str, index: int, item: Any) -> Case:
    if not _is_case(item):
        raise BootFailed(
            "test-cases-bad", tests=file, message=f'case {index} has no "input" and "expected_output" (or "type")'
        )
    kind, tree = item.get("type", "EXACT_MATCH"), item.get("tree") or []
    has_answer = "expected_output" in item or "output" in item
    if kind not in TYPES or not (has_answer or kind in ("EXCEPTION", "NO_EXCEPTION")):
        why = f'no "expected_output" for {kind}' if kind in TYPES else f"type {kind!r}; known are {', '.join(TYPES)}"
        raise BootFailed("test-cases-bad", tests=file, message=f"case {index} has {why}")
    if not isinstance(tree, list):
        raise BootFailed("test-cases-bad", tests=file, message=f'case {index}: "tree" is not a list of keys')
    return Case(
        name=str(item.get("case_name") or item.get("name") or f"case {index}")[:_NAME_CHARS],
        body=item["input"],
        type=kind,
        expected=item.get("expected_output", item.get("output")),
        tree=tuple(tree),
        tolerance=_number(file, index, item, "tolerance"),
        timeout_s=_number(file, index, item, "timeout"),
    )


def _number(file: str, index: int, item: Mapping[str, Any], key: str) -> float | None:
    value = item.get(key)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
        raise BootFailed("test-cases-bad", tests=file, message=f'case {index}: "{key}" is not a number of at least 0')
    return float(value)


def _try(model: Model, case: Case, app_dir: Path) -> _Failed | None:
    started = time.perf_counter()
    try:
        answer = _answer(model, case.body)
    except Refused as exc:
        return None if case.type == "EXCEPTION" else _Failed(case=case.name, expected=_wanted(case), got=exc.sentence())
    except (Exception, SystemExit) as exc:  # noqa: BLE001 -- whatever the user's code raises is an answer
        if case.type == "EXCEPTION":
            return None
        facts = describe(exc, app_dir)
        got = _short(f"{facts['type']}: {facts['message']}")
        return _Failed(case=case.name, expected=_wanted(case), got=got, log=render_trace(exc, app_dir))
    elapsed_s = time.perf_counter() - started
    if case.timeout_s is not None and elapsed_s > case.timeout_s:
        return _Failed(
            case=case.name, expected=f"an answer within {case.timeout_s:g} s", got=f"one after {elapsed_s:.1f} s"
        )
    if case.type == "EXCEPTION":
        return _Failed(case=case.name, expected="an exception", got=_shown(answer))
    return None if case.type == "NO_EXCEPTION" else _compared(case, answer)


def _answer(model: Model, body: Any) -> Any:
    return plain(settled(model.native(body)))


def _compared(case: Case, answer: Any) -> _Failed | None:
    value, at = answer, ""
    for key in case.tree:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            where = pointer(*case.tree)
            return _Failed(case=case.name, expected=f"something at {where}", got=_shown(answer))
        at += pointer(key)
    if case.type == "EXACT_MATCH":
        place = find_difference(case.expected, value, case.tolerance)
        if place is None:
            return None
        where = at + place
        suffix = f" (they differ at {where})" if where else ""
        return _Failed(case=case.name, expected=_shown(case.expected), got=_shown(value) + suffix)
    if not (_is_number(value) and _is_number(case.expected)):
        return _Failed(case=case.name, expected=_wanted(case), got=_shown(value))
    slack = case.tolerance or 0.0
    is_right = value >= case.expected - slack if case.type == "GREATER_OR_EQUAL" else value <= case.expected + slack
    return None if is_right else _Failed(case=case.name, expected=_wanted(case), got=_shown(value))


def find_difference(expected: Any, found: Any, tolerance: float | None) -> str | None:
    """JSON pointer to the first place where two plain values differ, '' for the whole; None when they do not.

    tolerance  of every number, absolute or relative; None: 1e-6 of its size
    """
    if _is_number(expected) and _is_number(found):
        return None if _is_close(expected, found, tolerance) else ""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        if set(expected) != set(found):
            missing = sorted(map(str, set(expected) ^ set(found)))
            return pointer(missing[0])
        places = ((pointer(key), find_difference(expected[key], found[key], tolerance)) for key in expected)
        return next((at + place for at, place in places if place is not None), None)
    if isinstance(expected, Sequence) and isinstance(found, Sequence) and not isinstance(expected, str):
        if len(expected) != len(found) or isinstance(found, str):
            return ""
        pairs = enumerate(zip(expected, found, strict=True))
        items = ((f"/{index}", find_difference(one, other, tolerance)) for index, (one, other) in pairs)
        return next((at + place for at, place in items if place is not None), None)
    return None if type(expected) is type(found) and expected == found else ""


def _is_close(expected: float, found: float, tolerance: float | None) -> bool:
    relative = RELATIVE_TOLERANCE if tolerance is None else tolerance
    absolute = ABSOLUTE_TOLERANCE if tolerance is None else tolerance
    return expected == found or math.isclose(expected, found, rel_tol=relative, abs_tol=absolute)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wanted(case: Case) -> str:
    words = {
        "GREATER_OR_EQUAL": f"at least {_shown(case.expected)}",
        "LESS_OR_EQUAL": f"at most {_shown(case.expected)}",
        "NO_EXCEPTION": "an answer",
    }
    return words.get(case.type, _shown(case.expected))


def _shown(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
