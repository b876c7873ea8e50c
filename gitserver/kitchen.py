"""Hands a pushed tree to the buildpacks and gets an image back: where gitserver's records meet the kitchen's order."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from buildpacks.build import build as run_build
from buildpacks.order import BigFile, BuildFailed, BuildOrder, Json, Runner
from gitserver.errors import Problem
from gitserver.job import Job
from gitserver.ledger.records import ConfigVersion, Environment, Image
from gitserver.ledger.store import Ledger
from gitserver.plan import platform_env
from gitserver.remote.tree import Tree
from gitserver.settings import Settings

RUNTIME_DIR = Path(__file__).resolve().parent.parent / "runtime"


class ProcessKitchen:
    """Builds images for this machine: buildpacks run as children of the server, in the target's sandbox."""

    def __init__(self, settings: Settings, ledger: Ledger, runner: Callable[[Job], Runner]) -> None:
        self._settings, self._ledger, self._runner = settings, ledger, runner

    def build(self, job: Job, environment: Environment, tree: Tree, config: ConfigVersion) -> Image:
        """The image of the job's commit.

        Raises  BuildFailed, with the cause; Problem('bad-project-toml')
        """
        app_key = str(job.app.id)
        work_dir = self._settings.state / "builds" / str(job.build.id) / "work"
        shutil.rmtree(work_dir, ignore_errors=True)
        work_dir.mkdir(parents=True)
        order = BuildOrder(
            app_key=app_key,
            app_dir=tree.root,
            work_dir=work_dir,
            cache_dir=_made(self._settings.state / "cache" / "apps" / app_key),
            wheel_dir=_made(self._settings.state / "cache" / "wheels"),
            store_dir=self._settings.state,
            previous=self._previous(job, environment),
            platform_env={**_project_env(tree.root), **platform_env(config.values)},
            install_env=self._settings.build_env,
            runtime_dir=RUNTIME_DIR,
            big_files={
                path: BigFile(git_oid=file.git_oid, host_path=file.host_path, size_bytes=file.size_bytes)
                for path, file in tree.big_files.items()
            },
            timeout_s=self._settings.build_timeout_s,
        )
        built = run_build(order, self._runner(job), job.log.line)
        return Image(
            digest=built.digest, app_id=job.app.id, commit=job.build.commit, config=built.config,
            created_at=job.build.created_at,
        )  # fmt: skip

    def _previous(self, job: Job, environment: Environment) -> Mapping[str, Json] | None:
        """What this environment serves now; else the app's newest image, so that a preview starts from production's."""
        release = None if environment.release_id is None else self._ledger.release(environment.release_id)
        if release is not None:
            image = self._ledger.image(release.image_digest)
            if image is not None:
                return image.config
        known = self._ledger.images(job.app.id)
        return known[0].config if known else None


def _project_env(root: Path) -> dict[str, str]:
    """BP_* variables of project.toml, the file that users of Cloud Native Buildpacks know.

    Source  buildpacks/spec extensions/project-descriptor.md 0.2, [[io.buildpacks.build.env]]
    """
    path = root / "project.toml"
    try:
        # The tree is the pusher's: a link or a pipe of that name is not read.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        with os.fdopen(descriptor, "rb") as file:
            document = tomllib.loads(file.read(1024 * 1024).decode("utf-8"))
        entries = document.get("io", {}).get("buildpacks", {}).get("build", {}).get("env", [])
        values = {str(entry["name"]): str(entry["value"]) for entry in entries}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError, TypeError, KeyError) as error:
        raise Problem("bad-project-toml", detail=str(error)) from error
    return platform_env(values)


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


__all__ = ["BuildFailed", "ProcessKitchen"]
