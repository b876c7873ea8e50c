"""Hands a pushed tree to the buildpacks and gets an image back: where gitserver's records meet the kitchen's order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from buildpacks.build import build as run_build
from buildpacks.choosing.bring import own_versions, pins_of
from buildpacks.choosing.descriptor import read_descriptor
from buildpacks.choosing.values import STORE_FOLDER, Terms
from buildpacks.ground import Ground, stack_ground
from buildpacks.image.document import parse_layers
from buildpacks.image.oci import document_digest
from buildpacks.image.rebase import stack_name as stack_of
from buildpacks.image.registry import RegistryOptions, transport
from buildpacks.image.variants import documents, variant_names
from buildpacks.order import BigFile, BuildFailed, BuildOrder, BuiltImage, Json, Runner
from buildpacks.stack.store import StackStore
from buildpacks.toolchain import find_toolchain
from gitserver.errors import Problem
from gitserver.images import rebased
from gitserver.job import Job
from gitserver.ledger.records import ConfigVersion, Environment, Image
from gitserver.ledger.store import Ledger
from gitserver.plan import platform_env
from gitserver.remote.packfetch import PackRepositories
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

        Raises  BuildFailed, with the cause; what publishing raises
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
        _tell_variants(job, image)
        if self._publish is not None:
            self._publish(job, image)
        return image

    def build_again(self, job: Job, tree: Tree, config: ConfigVersion, scratch: Path) -> Image:
        """The job's commit with an empty store and empty caches, both made in scratch. Raises as build."""
        expected = self._ledger.image(job.build.options.get("image", ""))
        pinned = {} if expected is None else expected.config
        return _image(job, self._by_buildpacks(job, tree, config, None, scratch, pinned=pinned))

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
        _tell_variants(job, moved)
        if self._publish is not None:
            self._publish(job, moved)
        return moved

    def _by_buildpacks(
        self,
        job: Job,
        tree: Tree,
        config: ConfigVersion,
        previous: Mapping[str, Json] | None,
        state: Path,
        *,
        pinned: Mapping[str, Json] | None = None,
    ) -> BuiltImage:
        """state: the folder of caches and store, the server's own but for a second build beside it.

        pinned  the image whose buildpacks are used again, commit for commit; None: the previous one's
        """
        app_key = str(job.app.id)
        work_dir = self._settings.state / "builds" / str(job.build.id) / "work"
        shutil.rmtree(work_dir, ignore_errors=True)
        work_dir.mkdir(parents=True)
        project_env = platform_env(read_descriptor(tree.root, own_versions()).env)
        order = BuildOrder(
            app_key=app_key,
            app_dir=tree.root,
            work_dir=work_dir,
            cache_dir=_made(state / "cache" / "apps" / app_key),
            wheel_dir=_made(state / "cache" / "wheels"),
            store_dir=state,
            previous=previous,
            platform_env={**project_env, **platform_env(config.values)},
            install_env=self._settings.build_env,
            runtime_dir=RUNTIME_DIR,
            big_files={
                path: BigFile(git_oid=file.git_oid, host_path=file.host_path, size_bytes=file.size_bytes)
                for path, file in tree.big_files.items()
            },
            timeout_s=self._settings.build_timeout_s,
            ground=self._ground(),
            upgrade="upgrade" in job.build.options,
            terms=self._terms(job, config, pins_of(previous if pinned is None else pinned), work_dir),
        )
        return run_build(order, self._runner(job), job.log.line)

    def _terms(self, job: Job, config: ConfigVersion, pins: Mapping[str, str], work_dir: Path) -> Terms:
        """What an app may choose, and the way to it. Fetched buildpacks are the server's, whoever asked for them."""
        settings = self._settings
        named = [name.strip() for name in config.values.get("BP_CLASSIC_ENV", "").split(",")]
        ca_bundle, proxies = transport(settings.build_env)
        own_registry = settings.registry.partition("/")[0]
        plain = frozenset({own_registry}) if settings.registry_plain_http else frozenset[str]()
        return Terms(
            allowed=settings.buildpacks,
            store_dir=settings.state / STORE_FOLDER,
            git=PackRepositories(settings.build_env, work_dir / "git"),
            registry=RegistryOptions(plain_http=plain, ca_bundle=ca_bundle, proxies=proxies),
            pins=pins,
            commit=job.build.commit,
            request_id=f"build-{job.build.id}",
            config_env={name: config.values[name] for name in named if name in config.values},
        )

    def _previous(self, job: Job, environment: Environment) -> Mapping[str, Json] | None:
        """What this environment serves now; else the app's newest image, so that a preview starts from production's."""
        release = None if environment.release_id is None else self._ledger.release(environment.release_id)
        if release is not None:
            image = self._ledger.image(release.image_digest)
            if image is not None:
                return image.config
        known = self._ledger.images(job.app.id)
        return known[0].config if known else None


def _tell_variants(job: Job, image: Image) -> None:
    """The digests of an image and of its variants, and what each adds; nothing for an image without any."""
    layers = set(parse_layers(image.config))
    for number, (name, doc) in enumerate(documents(image.config).items()):
        if number:
            more = sum(layer.size_bytes for layer in parse_layers(doc) if layer not in layers)
            job.log.detail(f"Variant {name}: {document_digest(doc)}, {more / 1e6:.1f} MB in layers of its own")
        elif variant_names(image.config):
            job.log.step(f"Image: {image.digest}")


def _image(job: Job, built: BuiltImage) -> Image:
    return Image(
        digest=built.digest, app_id=job.app.id, commit=job.build.commit, config=built.config,
        created_at=job.build.created_at,
    )  # fmt: skip


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


__all__ = ["BuildFailed", "PackKitchen"]
