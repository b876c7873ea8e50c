"""Apps that are built and served by buildpacks of others alone: those of tests/packs, in shell, pushed with git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.services.client import Repo
from tests.services.server import Server

pytestmark = pytest.mark.e2e

PACKS = Path(__file__).parents[1] / "packs"
GROUP = "[_]\nschema-version = '0.2'\n" + "".join(
    f"[[io.buildpacks.group]]\nuri = './buildpacks/{name}'\n" for name in ("tools", "server", "shell")
)

ONE = "[_]\nschema-version = '0.2'\n[[io.buildpacks.group]]\nuri = './buildpacks/shell'\n"


def put(repo: Repo, folder: Path, target: str) -> None:
    """Copy a buildpack into the repository, its modes included."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = f"{target}/{path.relative_to(folder)}"
        repo.write({name: path.read_bytes()})
        (repo.path / name).chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def test_an_app_is_built_and_served_by_buildpacks_of_others(repo: Repo, server: Server) -> None:
    for name in ("tools", "server", "shell"):
        put(repo, PACKS / name, f"buildpacks/{name}")
    repo.commit({"project.toml": GROUP, "plain.txt": "plain", "shell.txt": "", "sub/x": ""})

    first = repo.push()

    first.line_with("tools: tool made")
    first.line_with("server: hello server, building, words one")
    page = server.request("GET", f"/alice/{repo.app}/").text
    greeting, phase, kind, words, typed, args = page.strip().split("|")
    assert (greeting, phase, kind, words, args) == ("hello web", "launching", "web", "one", "always by-default")
    # Programs in exec.d ran in the application's folder, one behind the other.
    assert typed.startswith("after /")

    repo.commit({"plain.txt": "changed"})
    second = repo.push()

    second.line_with("tools: build number 2")
    second.line_with("tools: tool restored")
    second.line_with("tools: data made")
    assert server.request("GET", f"/alice/{repo.app}/plain.txt").text == "changed"


def test_a_buildpack_that_writes_without_end_is_named_and_the_old_release_serves(repo: Repo, server: Server) -> None:
    repo.commit({"predict.py": "def predict(x=0):\n    return 1\n"})
    repo.push()
    put(repo, PACKS / "shell", "buildpacks/shell")
    repo.write({"buildpacks/shell/bin/build": "#!/bin/sh\nyes\n"})
    (repo.path / "buildpacks/shell/bin/build").chmod(0o755)
    repo.commit({"project.toml": ONE, "shell.txt": ""})
    result = repo.push(check=False)
    assert "demo/shell wrote without end" in result.verdicts["main"], result.text
    assert server.request("POST", f"/alice/{repo.app}/predict", json={}).status_code == 200
