"""The conformance table in docs: every row of the checklist has tests that name it, and the table says which.

Update  make golden   (then read the diff before you commit it)
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CHECKLIST = TESTS / "packs" / "checklist.toml"
TABLE = TESTS.parent / "docs" / "buildpacks" / "conformance.md"
HEAD = """# Conformance with Cloud Native Buildpacks

What the contract of Buildpack API 0.7 to 0.12 and of its platform asks, then the classic API, and which tests hold it
here. (Q) is behaviour of the reference lifecycle on which published buildpacks rely. Made by
`tests/golden/test_conformance.py` from `tests/packs/checklist.toml` and the tests' marks; edit those, then
`make golden`.
"""


def marks_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(row, test) of each conformance mark."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.conformance":
                yield from ((str(ast.literal_eval(row)), node.name) for row in mark.args)


def rows_to_tests() -> dict[str, list[str]]:
    """Row -> `file::test`, sorted."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.conformance" in text:
            for row, name in marks_of(ast.parse(text)):
                found.setdefault(row, []).append(f"{path.relative_to(TESTS)}::{name}")
    return found


def checklist() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Titles of the sections, and the rows."""
    document = tomllib.loads(CHECKLIST.read_text(encoding="utf-8"))
    return document["sections"], document["rows"]


def notes_of(row: dict[str, str]) -> list[str]:
    """What is said beside a yes."""
    return [row["note"]] if "note" in row else []


def render() -> str:
    """The page."""
    sections, rows = checklist()
    tests = rows_to_tests()
    held = sum(1 for row in rows.values() if "differs" not in row)
    out = [
        HEAD,
        f"{len(rows)} rows: {held} as the contract says, {len(rows) - held} with a difference that is told.",
        "",
    ]
    for number, title in sections.items():
        out += [f"## {number} {title}", "", "| row | the contract | here | tests |", "|---|---|---|---|"]
        for name, row in rows.items():
            if name.partition("-")[0] == number:
                cell = "<br>".join(f"`{test.partition('::')[2]}`" for test in tests.get(name, ()))
                here = f"differs: {row['differs']}" if "differs" in row else "; ".join(["yes", *notes_of(row)])
                out.append(f"| {name} | {row['text']} | {here} | {cell} |")
        out.append("")
    return "\n".join(out)


def test_every_row_is_named_by_a_test_and_every_mark_names_a_row() -> None:
    _, rows = checklist()
    assert set(rows_to_tests()) == set(rows)


def test_the_table_in_docs_is_what_the_tests_say(pytestconfig: pytest.Config) -> None:
    made = render()
    if pytestconfig.getoption("--update-golden"):
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(made, encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == made
