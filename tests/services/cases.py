"""An app case: a directory with a tiny repository and what must come of pushing it.

expect.toml
    title     one sentence; it becomes the test's id
    [server]  settings of a server of its own (ready_timeout_s, ...); without it the shared server is used
    [files]   repository path -> text. `{python}`, `{sklearn}` and `{app}` are filled in. Broken programs stand
              here and not in repo/, so that tools which read this project never see them
    [models]  repository path -> joblib, joblib-zlib, joblib-cut or pickle: an iris model, trained at test time
    [links]   repository path -> target of a symbolic link
    [gitlinks] repository path -> commit of a submodule
    lock      versions that `uv lock` is told to prefer; it is run in the repository first
    says      lines that the push must show, each as a part of one line
    [[calls]] path, body (JSON text), status (200), answer (JSON text): what the endpoint must do
    [refused] title: the exact words in `! [remote rejected] main -> main (...)`; says: as above
repo/         more files of the repository, copied as they are
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.client import Repo
from tests.services.models import installed_version, iris_bytes

APPS = Path(__file__).resolve().parent.parent / "apps"
_KNOWN = {"title", "server", "files", "models", "links", "gitlinks", "lock", "says", "calls", "refused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request and its answer; answer None: any."""

    path: str
    method: str
    body: Any
    status: int
    answer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One directory below tests/apps."""

    name: str
    title: str
    folder: Path
    server: Mapping[str, str]
    files: Mapping[str, str]
    models: Mapping[str, str]
    links: Mapping[str, str]
    gitlinks: Mapping[str, str]
    lock: tuple[str, ...]
    says: tuple[str, ...]
    calls: tuple[Call, ...]
    refused: str | None

    def fill(self, repo: Repo) -> str:
        """Make the repository's one commit; returns it."""
        if (self.folder / "repo").is_dir():
            shutil.copytree(self.folder / "repo", repo.path, dirs_exist_ok=True)
        for path, text in self.files.items():
            repo.write({path: fill_in(text, app=repo.app)})
        for path, form in self.models.items():
            repo.write({path: iris_bytes(form)})
        for path, target in self.links.items():
            (repo.path / path).symlink_to(target)
        if self.lock:
            _lock(repo.path, self.lock)
        repo.git("add", "-A")
        for path, commit in self.gitlinks.items():
            repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        repo.git("commit", "-q", "--allow-empty", "-m", self.title)
        return repo.head


def read_cases(*, refused: bool) -> list[Case]:
    """All cases that must be served, or all that must be refused, by name."""
    cases = [_read(path.parent) for path in sorted(APPS.glob("*/expect.toml"))]
    return [case for case in cases if (case.refused is not None) is refused]


def fill_in(text: str, *, app: str) -> str:
    """`{python}`, `{sklearn}` and `{app}` with what they are today."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for word, value in {"python": python, "sklearn": installed_version("scikit-learn"), "app": app}.items():
        text = text.replace(f"{{{word}}}", value)
    return text


def _read(folder: Path) -> Case:
    raw = tomllib.loads((folder / "expect.toml").read_text(encoding="utf-8"))
    unknown = set(raw) - _KNOWN
    assert not unknown, f"{folder.name}/expect.toml: unknown {unknown}"
    refused = raw.get("refused", {})
    says = (*raw.get("says", []), *refused.get("says", []))
    return Case(
        name=folder.name,
        title=raw["title"],
        folder=folder,
        server={name: str(value) for name, value in raw.get("server", {}).items()},
        files=raw.get("files", {}),
        models=raw.get("models", {}),
        links=raw.get("links", {}),
        gitlinks=raw.get("gitlinks", {}),
        lock=tuple(raw.get("lock", ())),
        says=says,
        calls=tuple(_read_call(call) for call in raw.get("calls", [])),
        refused=refused.get("title"),
    )


def _read_call(raw: Mapping[str, Any]) -> Call:
    body = json.loads(raw["body"]) if "body" in raw else None
    return Call(
        path=raw["path"],
        method="POST" if "body" in raw else "GET",
        body=body,
        status=raw.get("status", 200),
        answer=json.loads(fill_in(raw["answer"], app="")) if "answer" in raw else None,
    )


def _lock(folder: Path, versions: Sequence[str]) -> None:
    uv = Path(sys.executable).parent / "uv"
    kept = ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
    env = {name: value for name, value in os.environ.items() if name in kept or name.startswith("UV_")}
    wanted = [word for version in versions for word in ("--upgrade-package", version)]
    command = [str(uv), "lock", "-q", "--python", sys.executable, "--directory", str(folder), *wanted]
    subprocess.run(command, env=env, check=True, timeout=120)
