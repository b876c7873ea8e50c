"""Links of a committed virtual environment: they lead to /usr, and are not a reason to refuse the push."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gitserver.errors import Problem
from gitserver.remote.tree import Tree, extract
from tests.contract.remote_house import commit, git


def take(folder: Path, files: Mapping[str, str], links: Mapping[str, str]) -> Tree:
    repo = folder / "repo"
    commit(repo, dict(files), "files")
    for path, target in links.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).symlink_to(target)
    commit(repo, {}, "links")
    head = git(["rev-parse", "HEAD"], repo)
    return extract(repo / ".git", head, quarantine_id=None, into=folder / "tree", blobs_dir=folder / "blobs")


@pytest.mark.parametrize(
    ("marks", "link"),
    [
        (["venv/pyvenv.cfg"], "venv/bin/python"),
        (["api/env/pyvenv.cfg"], "api/env/lib64"),
        (["env/bin/activate", "env/lib/python3.11/x.py"], "env/bin/python3"),
        (["pyvenv.cfg"], "bin/python"),
    ],
)
def test_a_link_of_an_environment_is_left_out(marks: list[str], link: str, tmp_path: Path) -> None:
    tree = take(tmp_path, {"app.py": "", **dict.fromkeys(marks, "x")}, {link: "/usr/bin/python3", "mine": "app.py"})
    assert not (tree.root / link).is_symlink()
    assert (tree.root / "mine").readlink() == Path("app.py")


@pytest.mark.parametrize(
    ("marks", "link"),
    [
        (["venv/bin/activate"], "venv/bin/python"),
        (["venv/pyvenv.cfg"], "venv2/bin/python"),
        (["pyvenv.cfg"], "model.joblib"),
        ([], "venv/bin/python"),
    ],
)
def test_any_other_link_that_leads_out_is_refused(marks: list[str], link: str, tmp_path: Path) -> None:
    with pytest.raises(Problem) as refused:
        take(tmp_path, {"app.py": "", **dict.fromkeys(marks, "x")}, {link: "/usr/bin/python3"})
    assert refused.value.failure.code == "symlink-outside"
