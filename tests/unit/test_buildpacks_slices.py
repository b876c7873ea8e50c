"""Slices: Go's filepath.Match on the path below the application."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.order import BuildFailed
from buildpacks.slices import match_slice

FILES = ("a.md", "ab.md", "b/a.md", "b/c/d.txt", "bc/x", "[x].md", ".hidden")


@pytest.mark.conformance("1.7-slices")
@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("*.md", ["[x].md", "a.md", "ab.md"]), ("?.md", ["a.md"]), ("b", ["b/a.md", "b/c/d.txt"]),
        ("b/*", ["b/a.md", "b/c/d.txt"]),
        ("b/*.md", ["b/a.md"]), ("**/a.md", ["b/a.md"]), ("[a-b].md", ["a.md"]), ("[^b].md", ["a.md"]), ("[!b].md", []),
        ("\\[x\\].md", ["[x].md"]), ("./a.md", ["a.md"]), ("none/*", []), ("*", sorted(FILES)), ("b[/]a.md", []),
    ],
)  # fmt: skip
def test_a_glob_takes_what_gos_match_takes(tmp_path: Path, glob: str, found: list[str]) -> None:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert match_slice(tmp_path, [glob]) == found


@pytest.mark.parametrize("glob", ["[", "a[b", "[z-a]"])
def test_what_is_no_pattern_is_refused(tmp_path: Path, glob: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        match_slice(tmp_path, [glob])
    assert (caught.value.code, caught.value.fields) == ("slice-bad", {"glob": glob})
