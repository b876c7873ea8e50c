"""Pushes after the first: what an Aptfile brought is used again, and is there for a release that is forked."""

from __future__ import annotations

import pytest

from tests.services.client import Repo
from tests.services.server import Server

pytestmark = pytest.mark.e2e

PREDICT = """
import ctypes
import shutil

sodium = ctypes.CDLL("libsodium.so.23")


def predict(x=0):
    places = [line.split()[-1] for line in open("/proc/self/maps") if "libsodium" in line]
    return {"push": NUMBER, "tree": shutil.which("tree") is not None, "machine": places[0].startswith("/usr/")}
"""


def test_a_code_only_push_keeps_the_debian_packages_of_the_release_before(repo: Repo, server: Server) -> None:
    aptfile = "tree\nlibsodium23\n"
    repo.commit({"predict.py": PREDICT.replace("NUMBER", "1"), "Aptfile": aptfile})
    first = repo.push()
    assert first.line_with("Aptfile: unpacked 2 packages")
    for number in (2, 3):
        repo.commit({"predict.py": PREDICT.replace("NUMBER", str(number)), "Aptfile": aptfile})
        result = repo.push()
        assert result.line_with("Aptfile: reused, unchanged")
        assert server.answer(repo.app, {}) == {"push": number, "tree": True, "machine": False}
    repo.commit({"predict.py": PREDICT.replace("NUMBER", "4"), "Aptfile": f"{aptfile}# and words\n"})
    assert repo.push().line_with("Aptfile: reused, unchanged")
