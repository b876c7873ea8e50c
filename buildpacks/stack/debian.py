"""A stack made from Debian packages: on a network where no image can be pulled, packages can still be had.

The run image holds Python and what wheels commonly link to; the build image is the run image with a layer of compilers
on it. The same package versions make the same image ids, on any machine.

Source  mmdebstrap(1); Cloud Native Buildpacks platform.md for labels and CNB_* variables
"""

from __future__ import annotations

import platform
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from buildpacks.image.config import render_config
from buildpacks.image.tar import OWNER
from buildpacks.image.values import CONFIG, MANIFEST
from buildpacks.order import BuildFailed
from buildpacks.stack.documents import base_config, base_manifest
from buildpacks.stack.mmdebstrap import Bootstrap, Running, bootstrap
from buildpacks.stack.probe import describe
from buildpacks.stack.retar import Seen, difference_layer, parse_os_release, whole_layer
from buildpacks.stack.store import StackStore, parse_stack_name
from buildpacks.stack.values import BaseImage, BaseLayer, Stack

# libgomp1 and libstdc++6: scikit-learn, xgboost and most compiled wheels. ca-certificates: a model that calls out.
# python3 brings OpenSSL and SQLite.
RUN_PACKAGES = ("ca-certificates", "libgomp1", "libstdc++6", "python3", "zlib1g")
# No git: sources of a repository arrive with the push, and requirements from git are refused without it anyway.
BUILD_PACKAGES = ("build-essential", "python3-dev", "python3-venv")
# Upstream's Python has distutils until 3.12, and older packages import it; in Debian it is a package of its own.
_DISTUTILS_SUITES = ("bullseye", "bookworm")
PATH_ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHES = {"x86_64": ("amd64", "amd64"), "aarch64": ("arm64", "arm64"), "ppc64le": ("ppc64el", "ppc64le")}
_SUITE = re.compile(r"[a-z][a-z0-9-]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # Debian policy 5.6.1
_MIRROR = re.compile(r"(?:https?|file)://[^\s]+|deb(?: \[[^\]]+\])? (?:https?|file)://[^\s]+(?: [\w./-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What an operator may decide about a stack of Debian packages.

    suite      `bookworm`
    mirrors    URLs or whole `deb ...` lines; empty: Debian's own, with its updates and security fixes
    packages   that both images get beside ours
    """

    suite: str = "bookworm"
    mirrors: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def build_stack(
    name: str, options: StackOptions, store: StackStore, environ: Mapping[str, str], log: Callable[[str], None]
) -> Stack:
    """Make a run and a build image, add them as a stack under name, and return it.

    environ  where proxies, certificates and TMPDIR of mmdebstrap come from
    log      one line for each step
    Raises   BuildFailed: stack-name-bad, stack-option-bad, stack-arch-unknown, stack-tool-missing, stack-needs-root,
             stack-mirror-unreachable, stack-suite-unknown, stack-package-unknown, stack-no-space, stack-build-failed,
             stack-build-timeout, stack-without-python; nothing of the stack is there then
    """
    parse_stack_name(name)
    _check(options)
    debian_arch, arch = _arch()
    run_packages = _run_packages(options)
    plan = Bootstrap(suite=options.suite, mirrors=options.mirrors, arch=debian_arch, packages=run_packages)
    build_plan = Bootstrap(
        suite=options.suite, mirrors=options.mirrors, arch=debian_arch, packages=(*run_packages, *BUILD_PACKAGES)
    )
    seen = Seen()
    # Both are installed at once, for installing is a chain of small programs that leaves one core idle.
    with bootstrap(plan, environ, log) as run_tar, bootstrap(build_plan, environ, _silent) as build_tar:
        run_layer = _keep(store, _complete(run_tar, whole_layer(run_tar.stream, seen)))
        log(f"The run image holds {run_layer.blob.size_bytes / 1e6:.0f} MB; adding compilers for the build image")
        build_layer = _keep(store, _complete(build_tar, difference_layer(build_tar.stream, seen)))
    labels = _labels(name, seen)
    run = _image(store, f"algo/{name}-run", arch, (run_layer,), labels)
    build = _image(store, f"algo/{name}-build", arch, (run_layer, build_layer), labels)
    stack = describe(name, run, build, store)
    store.add(stack)
    log(f"The stack {name} is made: build image {build_layer.blob.size_bytes / 1e6:.0f} MB more than the run image")
    return stack


def _run_packages(options: StackOptions) -> tuple[str, ...]:
    more = ("python3-distutils",) if options.suite in _DISTUTILS_SUITES else ()
    return tuple(sorted({*RUN_PACKAGES, *more, *options.packages}))


def _check(options: StackOptions) -> None:
    # They become arguments of mmdebstrap, which reads a file where a mirror names one.
    checks = [("suite", options.suite, _SUITE), *(("package", item, _PACKAGE) for item in options.packages)]
    checks += [("mirror", item, _MIRROR) for item in options.mirrors]
    for option, value, pattern in checks:
        if pattern.fullmatch(value) is None:
            raise BuildFailed("stack-option-bad", option=option, found=value[:200])


def _arch() -> tuple[str, str]:
    """Debian's and OCI's word for this machine."""
    machine = platform.machine()
    if machine not in _ARCHES:
        raise BuildFailed("stack-arch-unknown", found=machine, known=", ".join(sorted(_ARCHES)))
    return _ARCHES[machine]


def _complete(running: Running, chunks: Iterator[bytes]) -> Iterator[bytes]:
    # Raised within the stream, so that the store keeps nothing. A failed run leaves a tar that is cut off, and why it
    # failed is in its words, not in the cut.
    try:
        yield from chunks
    except tarfile.TarError as error:
        running.finish()
        raise BuildFailed("stack-build-failed", status=0, log=(str(error),)) from error
    running.finish()


def _keep(store: StackStore, chunks: Iterator[bytes]) -> BaseLayer:
    # Uncompressed: another zlib writes other bytes, and the manifest must be the same wherever it is made.
    blob = store.put_blob(chunks)
    return BaseLayer(diff_id=blob.digest, blob=blob)


def _labels(name: str, seen: Seen) -> dict[str, str]:
    release = parse_os_release(seen.texts.get("usr/lib/os-release", ""))
    distro, version = release.get("ID", ""), release.get("VERSION_ID", "")
    return {
        "io.buildpacks.base.id": f"algo.{name}",
        "io.buildpacks.base.distro.name": distro,
        "io.buildpacks.base.distro.version": version,
        "io.buildpacks.stack.id": f"algo.{name}",
        "io.buildpacks.base.maintainer": "algo",
        "io.buildpacks.base.description": f"{release.get('PRETTY_NAME', distro)} with Python",
        "org.opencontainers.image.title": f"algo {name}",
        "org.opencontainers.image.version": version,
    }


def _image(
    store: StackStore, reference: str, arch: str, layers: tuple[BaseLayer, ...], labels: Mapping[str, str]
) -> BaseImage:
    is_build = len(layers) > 1
    env = [PATH_ENV, "LANG=C.UTF-8"]
    if is_build:
        env += [f"CNB_USER_ID={OWNER}", f"CNB_GROUP_ID={OWNER}", f"CNB_STACK_ID={labels['io.buildpacks.stack.id']}"]
    config = base_config(
        arch=arch, layers=layers, env=env, labels=labels, user=f"{OWNER}:{OWNER}", made_by="algo stack build"
    )
    config_blob = store.put_blob([render_config(config)], media_type=CONFIG)
    manifest = store.put_blob([base_manifest(config_blob, layers)], media_type=MANIFEST)
    return BaseImage(
        reference=reference,
        image_id=config_blob.digest,
        manifest_digest=manifest.digest,
        config=config,
        layers=layers,
    )


def _silent(line: str) -> None:
    """The build image's steps are the run image's over again: not told twice."""
