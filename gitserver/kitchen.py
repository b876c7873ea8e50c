"""Hands a pushed tree to the buildpacks and gets an image back: where gitserver's records meet the kitchen's order."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from buildpacks.build import build as run_build
from buildpacks.ground import Ground, stack_ground
from buildpacks.image.rebase import stack_name as stack_of
from buildpacks.order import BigFile, BuildFailed, BuildOrder, BuiltImage, Json, Runner
from buildpacks.stack.store import StackStore
from buildpacks.toolchain import find_toolchain
from gitserver.errors import Problem
from gitserver.images import rebased
from gitserver.job import Job
from gitserver.ledger.records import ConfigVersion, Environment, Image
from gitserver.ledger.store import Ledger
from gitserver.plan import platform_env
from gitserver.remote.tree import Tree
from gitserver.settings import Settings
from gitserver.targets.dockerfile import find_dockerfile, refusal

_NOTHING_FOUND = frozenset({"none-detected", "nothing-to-serve"})
RUNTIME_DIR = Path(__file__).resolve().parent.parent / "runtime"


class StackGround:
    """The current stack as the ground of builds; its run image is unpacked once."""

    def __init__(self, stacks: StackStore) -> None:
        self._stacks = stacks

    def __call__(self) -> Ground:
        """Raises BuildFailed('no-stack' | 'stack-image-gone')."""
        stack = self._stacks.current()
        if stack is None:
            raise BuildFailed("no-stack")
        return stack_ground(stack, self._stacks.rootfs(stack.run), find_toolchain())


class PackKitchen:
    """Builds images with buildpacks; a Dockerfile is the engine's to build, where the operator allows it.

    ground      what layers are made for, asked before every build: an operator may change the stack meanwhile
    dockerfile  builds a tree that has a Dockerfile; None: a Dockerfile is a file like any other
    publish     an image that was just built, on its way to the registry. Raises Problem
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        runner: Callable[[Job], Runner],
        *,
        ground: Callable[[], Ground],
        dockerfile: Callable[[Job, Tree], BuiltImage] | None = None,
        publish: Callable[[Job, Image], None] | None = None,
    ) -> None:
        self._settings, self._ledger, self._runner, self._ground = settings, ledger, runner, ground
        self._dockerfile, self._publish = dockerfile, publish

    def build(self, job: Job, environment: Environment, tree: Tree, config: ConfigVersion) -> Image:
        """The image of the job's commit, in the registry too when there is one.

        Raises  BuildFailed, with the cause; Problem('bad-project-toml'), what publishing raises
        """
        dockerfile = find_dockerfile(tree.root)
        if dockerfile is not None and self._dockerfile is not None:
            built = self._dockerfile(job, tree)
        else:
            try:
                built = self._by_buildpacks(job, tree, config, self._previous(job, environment), self._settings.state)
            except BuildFailed as failed:
                # A Dockerfile beside a model is a file like any other; alone it is what its owner meant.
                if dockerfile is None or failed.code not in _NOTHING_FOUND:
                    raise
                raise refusal(has_engine=self._settings.target == "docker") from failed
        image = _image(job, built)
        if self._publish is not None:
            self._publish(job, image)
        return image

    def build_again(self, job: Job, tree: Tree, config: ConfigVersion, scratch: Path) -> Image:
        """The job's commit with an empty store and empty caches, both made in scratch. Raises as build."""
        return _image(job, self._by_buildpacks(job, tree, config, None, scratch))

    def name_version(self, job: Job, image: Image) -> None:
        """A version of an image that was built before: its tag goes to the registry, where there is one."""
        if self._publish is not None:
            self._publish(job, image)

    def publish(self, job: Job, image: Image) -> None:
        """Send an image to the registry, once more. Raises Problem('no-registry'), what publishing raises."""
        if self._publish is None:
            raise Problem("no-registry")
        self._publish(job, image)

    def rebase(self, job: Job, image: Image, stack_name: str) -> Image:
        """The same layers on the run image of another stack, in the registry too when there is one.

        Raises  BuildFailed('rebase-no-stack' | 'rebase-misfit'), Problem('no-stack-here'), what publishing raises
        """
        moved = rebased(image, StackStore(root=self._settings.state / "stacks"), stack_name)
        job.log.step(f"Stack: {stack_name}, in place of {stack_of(image.config)}; every layer stays as it is")
        if self._publish is not None:
            self._publish(job, moved)
        return moved

    def _by_buildpacks(
        self, job: Job, tree: Tree, config: ConfigVersion, previous: Mapping[str, Json] | None, state: Path
    ) -> BuiltImage:
        """state: the folder of caches and store, the server's own but for a second build beside it."""
        app_key = str(job.app.id)
        work_dir = self._settings.state / "builds" / str(job.build.id) / "work"
        shutil.rmtree(work_dir, ignore_errors=True)
        work_dir.mkdir(parents=True)
        order = BuildOrder(
            app_key=app_key,
            app_dir=tree.root,
            work_dir=work_dir,
            cache_dir=_made(state / "cache" / "apps" / app_key),
            wheel_dir=_made(state / "cache" / "wheels"),
            store_dir=state,
            previous=previous,
            platform_env={**_project_env(tree.root), **platform_env(config.values)},
            install_env=self._settings.build_env,
            runtime_dir=RUNTIME_DIR,
            big_files={
                path: BigFile(git_oid=file.git_oid, host_path=file.host_path, size_bytes=file.size_bytes)
                for path, file in tree.big_files.items()
            },
            timeout_s=self._settings.build_timeout_s,
            ground=self._ground(),
        )
        return run_build(order, self._runner(job), job.log.line)

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


def _image(job: Job, built: BuiltImage) -> Image:
    return Image(
        digest=built.digest, app_id=job.app.id, commit=job.build.commit, config=built.config,
        created_at=job.build.created_at,
    )  # fmt: skip


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


__all__ = ["BuildFailed", "PackKitchen"]
