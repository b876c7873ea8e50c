"""What users read and what clients rely on, held in files: a change of a word or of the API shows as a diff.

Update  make golden   (then read the diff before you commit it)
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest

from buildpacks.image.config import render_config
from gitserver import explain
from gitserver.errors import Failure, Json
from gitserver.web.api import all_routes
from gitserver.web.api.openapi import render_openapi

FILES = Path(__file__).with_name("files")


def all_words() -> str:
    """Every failure as a pusher reads it, fields shown as their names."""
    pages = []
    for code in sorted(explain.known_codes()):
        entry = explain.words(Failure(code=code))
        text = f"{entry.title}{entry.body}{entry.next}"
        fields = {name: f"<{name}>" for _, name, _, _ in string.Formatter().parse(text) if name}
        failure = Failure(code=code, fields=fields)
        pages.append("\n".join([f"{code} ({entry.move.value}): {explain.title(failure)}", *explain.lines(failure)]))
    return "\n\n".join(pages) + "\n"


def openapi() -> str:
    """The management API's own description."""
    return json.dumps(render_openapi(all_routes()), indent=1, sort_keys=True) + "\n"


def image_config() -> str:
    """The bytes whose digest names an image: key order, separators and escapes decide it."""
    document: dict[str, Json] = {
        "base": "host", "layers": [{"diff_id": "sha256:00", "kind": "app", "path": "workspace", "size_bytes": 10}],
        "processes": [{"type": "web", "command": ["python"], "args": [], "default": True, "working-dir": ""}],
        "buildpacks": [{"id": "algo/python", "version": "0.1.0"}], "labels": {"ü": "\n"}, "model": None,
    }  # fmt: skip
    return render_config(document).decode() + "\n"


@pytest.mark.parametrize(
    ("name", "make"), [("words.txt", all_words), ("openapi.json", openapi), ("image-config.json", image_config)]
)
def test_what_is_promised_is_what_is_made(name: str, make: object, pytestconfig: pytest.Config) -> None:
    assert callable(make)
    made, path = make(), FILES / name
    if pytestconfig.getoption("--update-golden"):
        path.write_text(made, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == made
