"""An app case: a directory with a tiny repository and what must come of pushing it.

expect.toml
    title     one sentence; it becomes the test's id
    [server]  settings of a server of its own (ready_timeout_s, ...); without it the shared server is used
    [files]   repository path -> text. `{python}`, `{sklearn}` and `{app}` are filled in. Broken programs stand
              here and not in repo/, so that tools which read this project never see them
    [models]  repository path -> joblib, joblib-zlib, joblib-cut or pickle: an iris model, trained at test time
    [encoded] repository path -> {encoding, text}: text in another encoding, with line ends as they are written here
    [names]   path with %XX for bytes -> text: names that are no text
    [copies]  path with {n} -> how many: one-line files, for trees of thousands
    [config]  NAME -> value: `algo config set`, before the push
    [links]   repository path -> target of a symbolic link
    [gitlinks] repository path -> commit of a submodule
    targets   where the case holds, of process and docker; without it, on both
    once      true: what runs releases makes no difference, so `make test` pushes it on the first target only
    lock      versions that `uv lock` is told to prefer; it is run in the repository first
    says      lines that the push must show, each as a part of one line
    [[calls]] path, body (JSON text), status (200), answer (JSON text): what the endpoint must do;
              contains: a part of an answer that is no JSON
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
from urllib.parse import unquote_to_bytes

from tests.services.client import Repo
from tests.services.models import installed_version, iris_bytes
from tests.services.targets import TARGET

APPS = Path(__file__).resolve().parent.parent / "apps"
_KNOWN = {"title", "server", "files", "models", "links", "gitlinks", "lock", "says", "calls", "refused"} | {
    "encoded", "names", "copies", "config", "targets", "once",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request and its answer; answer None: any."""

    path: str
    method: str
    body: Any
    status: int
    answer: Any
    contains: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One directory below tests/apps."""

    name: str
    title: str
    folder: Path
    server: Mapping[str, str]
    files: Mapping[str, str]
    encoded: Mapping[str, Mapping[str, str]]
    names: Mapping[str, str]
    copies: Mapping[str, int]
    config: Mapping[str, str]
    models: Mapping[str, str]
    links: Mapping[str, str]
    gitlinks: Mapping[str, str]
    targets: tuple[str, ...]
    once: bool
    lock: tuple[str, ...]
    says: tuple[str, ...]
    calls: tuple[Call, ...]
    refused: str | None

    def configure(self, repo: Repo, *, is_new: bool) -> None:
        """Set what the case sets, in an app that is made for it when it is not there yet."""
        if not self.config:
            return
        repo.user.login()
        name = f"{repo.user.name}/{repo.app}"
        if is_new:
            repo.user.algo("create", name)
        repo.user.algo("config", "set", *(f"{key}={value}" for key, value in self.config.items()), "--app", name)

    def fill(self, repo: Repo) -> str:
        """Make the repository's one commit; returns it."""
        if (self.folder / "repo").is_dir():
            shutil.copytree(self.folder / "repo", repo.path, dirs_exist_ok=True)
        for path, text in self.files.items():
            repo.write({path: fill_in(text, app=repo.app)})
        for path, parts in self.encoded.items():
            repo.write({path: parts["text"].encode(parts["encoding"])})
        for path, text in self.names.items():
            repo.write({os.fsdecode(unquote_to_bytes(path)): text})
        for pattern, count in self.copies.items():
            repo.write({pattern.replace("{n}", str(number)): f"n = {number}\n" for number in range(count)})
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
    """All cases of this target that must be served, or all that must be refused, by name."""
    cases = [_read(path.parent) for path in sorted(APPS.glob("*/expect.toml"))]
    return [case for case in cases if (case.refused is not None) is refused and TARGET in case.targets]


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
        encoded=raw.get("encoded", {}),
        names=raw.get("names", {}),
        copies=raw.get("copies", {}),
        config=raw.get("config", {}),
        models=raw.get("models", {}),
        links=raw.get("links", {}),
        gitlinks=raw.get("gitlinks", {}),
        targets=tuple(raw.get("targets", ("process", "docker"))),
        once=raw.get("once", False),
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
        contains=raw.get("contains", ""),
    )


def _lock(folder: Path, versions: Sequence[str]) -> None:
    uv = Path(sys.executable).parent / "uv"
    kept = ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
    env = {name: value for name, value in os.environ.items() if name in kept or name.startswith("UV_")}
    wanted = [word for version in versions for word in ("--upgrade-package", version)]
    command = [str(uv), "lock", "-q", "--python", sys.executable, "--directory", str(folder), *wanted]
    subprocess.run(command, env=env, check=True, timeout=120)
