"""Buildpacks out of git repositories elsewhere: one commit, without history, submodules, hooks or credentials.

Rules of this file
1. The only address that is spoken to is the one that the operator allowed: redirects are not followed.
2. What another server sends is bounded while it arrives, in bytes and in seconds; then it is judged as any pushed tree.
3. Nothing of this server's users goes along: no configuration, no cookie, no password. For ssh, which the operator
   has to allow by name, the server's own keys and known hosts are used.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildpacks.choosing.values import Source
from buildpacks.order import BuildFailed
from gitserver.errors import Problem
from gitserver.remote.native import git_argv, git_env, last_words, limit_child
from gitserver.remote.refs import create_repository
from gitserver.remote.tree import TreeLimits, extract

MAX_BYTES = 256 << 20  # of a fetched pack, and of its files
MAX_FILES = 20_000
RESOLVE_S, FETCH_S = 60.0, 300.0
_MAX_ANSWER_BYTES = 1 << 20
_LOOK_S = 0.05
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_CA_FILES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


class PackRepositories:
    """buildpacks.choosing.values.GitDoor over native git.

    environment  proxies and certificates, as the operator set them for builds
    work_dir     for repositories that live as long as one fetch
    max_bytes    of what is sent, and of the files in it
    """

    def __init__(self, environment: Mapping[str, str], work_dir: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._environment, self._work_dir, self._max_bytes = environment, work_dir, max_bytes

    def resolve(self, source: Source) -> str:
        """The commit that a source's ref is now: a branch before a tag, as git clone has it; '' is the default branch.

        Raises  BuildFailed: buildpack-unreachable, buildpack-ref-missing
        """
        if _COMMIT.fullmatch(source.ref):
            return source.ref
        names = [f"refs/heads/{source.ref}", f"refs/tags/{source.ref}^{{}}", f"refs/tags/{source.ref}"]
        wanted = names if source.ref else ["HEAD"]
        with tempfile.TemporaryDirectory(dir=self._made_work_dir()) as folder:
            repo_path = Path(folder) / "pack.git"
            create_repository(repo_path)
            answer = self._run(repo_path, source, ["ls-remote", "--", source.location, *wanted], RESOLVE_S)
        found = {name: commit for commit, _, name in (line.partition("\t") for line in answer.splitlines())}
        for name in wanted:
            if _COMMIT.fullmatch(found.get(name, "")):
                return found[name]
        raise BuildFailed("buildpack-ref-missing", buildpack=source.text, ref=source.ref or "HEAD")

    def fetch(self, source: Source, commit: str, into: Path) -> None:
        """Lay a commit's files into a folder that does not exist yet.

        Raises  BuildFailed: buildpack-unreachable, buildpack-too-big, buildpack-refused
        """
        with tempfile.TemporaryDirectory(dir=self._made_work_dir()) as folder:
            repo_path = Path(folder) / "pack.git"
            create_repository(repo_path)
            options = ["--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
            self._run(repo_path, source, ["fetch", *options, "--", source.location, commit], FETCH_S)
            try:
                limits = TreeLimits(files=MAX_FILES, size_bytes=self._max_bytes)
                extract(
                    repo_path, commit, quarantine_id=None, into=into, blobs_dir=Path(folder) / "blobs", limits=limits
                )
            except Problem as problem:
                shutil.rmtree(into, ignore_errors=True)
                if problem.failure.code == "tree-too-big":
                    raise self._too_big(source) from problem
                raise BuildFailed("buildpack-refused", buildpack=source.text, reason=_reason(problem)) from problem

    def _run(self, repo_path: Path, source: Source, arguments: Sequence[str], limit_s: float) -> str:
        """Standard output of a git command that speaks to a stranger. Raises BuildFailed."""
        scheme = source.location.partition(":")[0]
        argv = git_argv(
            "-c", "protocol.allow=never", "-c", f"protocol.{scheme}.allow=always", "-c", "http.followRedirects=false",
            "-c", "credential.helper=", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30",
            "-c", "submodule.recurse=false", *arguments,
        )  # fmt: skip
        told, answer = repo_path.with_name("told"), repo_path.with_name("answer")
        with told.open("wb") as errors, answer.open("wb") as output:
            child = subprocess.Popen(
                argv, env=git_env(repo_path, self._env()), cwd="/", stdin=subprocess.DEVNULL, stdout=output,
                stderr=errors, start_new_session=True,
            )  # fmt: skip
            try:
                limit_child(child.pid)  # its helpers inherit it: a stranger's pack is unpacked by one of them
                self._watch(child, repo_path.parent, source, limit_s)
            finally:
                _end(child)
        if answer.stat().st_size > _MAX_ANSWER_BYTES:
            raise self._too_big(source)
        if child.returncode != 0:
            with told.open("rb") as file:
                words = last_words(file.read(_MAX_ANSWER_BYTES))
            raise BuildFailed("buildpack-unreachable", buildpack=source.text, cause=words)
        return answer.read_text(encoding="utf-8", errors="replace")

    def _watch(self, child: subprocess.Popen[bytes], folder: Path, source: Source, limit_s: float) -> None:
        """Until the child ends by itself. Raises BuildFailed when it takes too long or brings too much."""
        deadline_at = time.monotonic() + limit_s
        while child.poll() is None:
            if time.monotonic() > deadline_at:
                raise BuildFailed("buildpack-unreachable", buildpack=source.text, cause=f"no end after {limit_s:.0f} s")
            if _size_of(folder) > self._max_bytes:
                raise self._too_big(source)
            time.sleep(_LOOK_S)
        if _size_of(folder) > self._max_bytes:
            raise self._too_big(source)

    def _too_big(self, source: Source) -> BuildFailed:
        return BuildFailed("buildpack-too-big", buildpack=source.text, limit_mib=self._max_bytes >> 20)

    def _env(self) -> dict[str, str]:
        found = {name: self._environment[name] for name in _PROXIES if name in self._environment}
        ca_file = next((self._environment[name] for name in _CA_FILES if self._environment.get(name)), "")
        return {**found, **({"GIT_SSL_CAINFO": ca_file} if ca_file else {}), "GIT_ASKPASS": "", "SSH_ASKPASS": ""}

    def _made_work_dir(self) -> Path:
        self._work_dir.mkdir(parents=True, exist_ok=True)
        return self._work_dir


def _end(child: subprocess.Popen[bytes]) -> None:
    """With its helpers, which speak to the network: they are of its session."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _size_of(folder: Path) -> int:
    total = 0
    for here, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(here, name)).st_size
            except FileNotFoundError:
                continue  # git renames what it has finished
    return total


def _reason(problem: Problem) -> str:
    fields = problem.failure.fields
    told = fields.get("detail") or fields.get("reason") or fields.get("path") or ""
    return f"{problem.failure.code} {told}".strip()[:200]
