"""Where the newer engine of the tests comes from: the machine's own mirror, whichever way apt was told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.newer_docker import Mirror, mirror

DEFAULT_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
STANZAS = """\
Types: deb
# a comment
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys.gpg
"""


def apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        (folder / name.replace("__", "/").replace("_", ".")).write_text(text)
    return folder


def test_a_stanza_names_the_mirror_and_its_keys(tmp_path: Path) -> None:
    found = mirror(apt(tmp_path, sources_list_d__debian_sources=STANZAS))
    assert found == Mirror(uri="http://mirror.example/debian", keyring="/keys.gpg")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("deb http://m.example/debian/ bookworm main", Mirror(uri="http://m.example/debian/", keyring=DEFAULT_KEYS)),
        (
            "deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main contrib",
            Mirror(uri="http://m.example/debian", keyring="/k.gpg"),
        ),
        ("deb http://m.example/debian-security bookworm-security main", None),
        ("deb http://packages.example/apt stable main", None),
        ("# deb http://m.example/debian bookworm main", None),
    ],
)
def test_a_line_names_the_mirror_and_its_keys(line: str, found: Mirror | None, tmp_path: Path) -> None:
    assert mirror(apt(tmp_path, sources_list=f"# first\n{line}\n")) == found


def test_a_machine_without_debian_has_no_mirror(tmp_path: Path) -> None:
    assert mirror(apt(tmp_path)) is None
