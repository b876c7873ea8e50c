"""What a run image offers: its interpreters, its C library, its distribution, read from its unpacked files.

An interpreter of the image runs on this machine through the image's own loader and libraries, so no engine is needed
and the machine's own C library does not matter.

Source  ld.so(8); os-release(5); ELF specification 1.2, program header PT_INTERP
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildpacks.order import BuildFailed
from buildpacks.stack.retar import parse_os_release
from buildpacks.stack.store import StackStore
from buildpacks.stack.unpack import resolve
from buildpacks.stack.values import BaseImage, Stack, StackPython
from buildpacks.toolchain import host_arch

_BIN_FOLDERS = ("usr/bin", "usr/local/bin")
_PYTHON = re.compile(r"python3\.(\d+)")
_VERSION = re.compile(r"3\.\d+\.\d+\S*")
_GLIBC = re.compile(rb"GNU C Library[^\n]{0,80} version (\d+\.\d+)")
_MUSL = re.compile(r"^P:musl\nV:(\d+(?:\.\d+)+)", re.MULTILINE)
_PT_INTERP = 3
_ASK_LIMIT_S = 60
_NOBODY = 65534
_MAX_TEXT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """How this machine runs an interpreter of a stack: argv, to which its arguments are added, and its environment.

    A process that it starts through sys.executable does not get the loader: it runs on the machine's own libraries.
    """

    argv: Sequence[str]
    env: Mapping[str, str]


def describe(name: str, run: BaseImage, build: BaseImage | None, store: StackStore) -> Stack:
    """Look at the images' files and say what the server has to know of them.

    Raises  BuildFailed('stack-wrong-arch'), BuildFailed('stack-python-broken') for an interpreter that does not answer
    """
    for image in (run, build):
        if image is not None:
            _check_arch(image)
    rootfs = store.rootfs(run)
    release = parse_os_release(_text(rootfs, "etc/os-release"))
    return Stack(
        name=name,
        run=run,
        build=build,
        pythons=_find_pythons(rootfs),
        libc=_libc(rootfs),
        arch=str(run.config["architecture"]),
        distro=release.get("ID", ""),
        distro_version=release.get("VERSION_ID", ""),
    )


def stack_python(rootfs: Path, python: StackPython) -> Interpreter:
    """The way to run a stack's interpreter from its unpacked files; rootfs is all that it reads.

    Raises  BuildFailed('stack-python-broken') when the file is no program for this machine
    """
    binary = resolve(rootfs, python.path)
    return _interpreter(rootfs, binary, prefix=binary.parent.parent)


def _check_arch(image: BaseImage) -> None:
    found, system = image.config.get("architecture"), image.config.get("os")
    if found != host_arch() or system != "linux":
        raise BuildFailed(
            "stack-wrong-arch", reference=image.reference, found=f"{system}/{found}", expected=f"linux/{host_arch()}"
        )


def _find_pythons(rootfs: Path) -> tuple[StackPython, ...]:
    found: dict[Path, StackPython] = {}
    for folder in _BIN_FOLDERS:
        here = resolve(rootfs, folder)
        for path in sorted(here.glob("python3.*")) if here.is_dir() else ():
            if _PYTHON.fullmatch(path.name) is None or path.is_symlink() or not os.access(path, os.X_OK):
                continue
            found[path] = StackPython(version=_ask_version(rootfs, path), path=f"/{path.relative_to(rootfs)}")
    return tuple(sorted(found.values(), key=lambda python: _order(python.version), reverse=True))


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _ask_version(rootfs: Path, binary: Path) -> str:
    # An image that was pulled is not ours: it may say its version, and as nobody, for that is all that we want of it.
    # Paths are relative to its folder, because nobody may not walk the server's own folders down to it.
    interpreter = _interpreter(rootfs, binary, prefix=binary.parent.parent)
    there = str(rootfs)
    nobody = _NOBODY if os.geteuid() == 0 else None
    try:
        answer = subprocess.run(
            [part.replace(there, ".") for part in interpreter.argv] + ["-V"],
            cwd=rootfs,
            env={key: value.replace(there, ".") for key, value in interpreter.env.items()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_LIMIT_S,
            check=False,
            user=nobody,
            group=nobody,
            extra_groups=[] if nobody is not None else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed("stack-python-broken", python=str(binary.relative_to(rootfs)), output=str(error)) from error
    match = _VERSION.search(answer.stdout)
    if answer.returncode != 0 or match is None:
        output = (answer.stderr or answer.stdout).strip()[-400:] or f"status {answer.returncode}"
        raise BuildFailed("stack-python-broken", python=str(binary.relative_to(rootfs)), output=output)
    return match[0]


def _interpreter(rootfs: Path, binary: Path, *, prefix: Path) -> Interpreter:
    # HOME: without it site.py looks the user up, and the machine's nsswitch.conf then loads the machine's libraries.
    env = {"PYTHONHOME": str(prefix), "PYTHONNOUSERSITE": "1", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    loader = _loader_of(binary)
    if loader is None:  # linked statically: it needs nobody
        return Interpreter(argv=(str(binary),), env=env)
    path = resolve(rootfs, loader)
    if not path.is_file():
        raise BuildFailed("stack-python-broken", python=str(binary.relative_to(rootfs)), output=f"no loader {loader}")
    libraries = ":".join(str(folder) for folder in _library_folders(rootfs))
    # The machine's cache of libraries would be asked for what the image has not got; musl has no such cache.
    no_cache = () if "musl" in path.name else ("--inhibit-cache",)
    return Interpreter(argv=(str(path), *no_cache, "--library-path", libraries, str(binary)), env=env)


def _loader_of(binary: Path) -> str | None:
    """PT_INTERP of a 64-bit little-endian ELF file; None when it has none."""
    try:
        with binary.open("rb") as file:
            head = file.read(64)
            if head[:4] != b"\x7fELF" or head[4:6] != b"\x02\x01":
                raise BuildFailed("stack-python-broken", python=binary.name, output="not a program for this machine")
            offset, size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
            for number in range(count):
                file.seek(offset + number * size)
                entry = file.read(56)
                if struct.unpack_from("<I", entry)[0] == _PT_INTERP:
                    start, length = struct.unpack_from("<Q", entry, 8)[0], struct.unpack_from("<Q", entry, 32)[0]
                    file.seek(start)
                    return file.read(min(length, 4096)).rstrip(b"\0").decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise BuildFailed("stack-python-broken", python=binary.name, output=str(error)) from error
    return None


def _library_folders(rootfs: Path) -> list[Path]:
    """Where the image's loader looks: what ld.so.conf says, then the usual folders."""
    named = _read_ld_conf(rootfs, "etc/ld.so.conf", depth=0)
    usual = ["/usr/local/lib", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    found = [resolve(rootfs, folder) for folder in [*named, *usual]]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _read_ld_conf(rootfs: Path, path: str, *, depth: int) -> list[str]:
    found: list[str] = []
    for line in _text(rootfs, path).splitlines():
        word = line.partition("#")[0].strip()
        if word.startswith("include ") and depth < 4:  # a file that includes itself ends somewhere
            pattern = Path(word.removeprefix("include ").strip())
            folder = resolve(rootfs, str(pattern.parent))
            for file in sorted(folder.glob(pattern.name)) if pattern.name and folder.is_dir() else ():
                found += _read_ld_conf(rootfs, str(file.relative_to(rootfs)), depth=depth + 1)
        elif word.startswith("/"):
            found.append(word)
    return found


def _libc(rootfs: Path) -> str:
    """From the banner that every glibc carries, or from Alpine's list of packages; nothing of the image runs."""
    for folder in _library_folders(rootfs):
        path = resolve(rootfs, f"{folder.relative_to(rootfs)}/libc.so.6")
        if path.is_file() and (match := _GLIBC.search(path.read_bytes())):
            return f"glibc {match[1].decode()}"
    found = _MUSL.search(_text(rootfs, "lib/apk/db/installed"))
    return f"musl {found[1]}" if found else ""


def _text(rootfs: Path, path: str) -> str:
    """A small text file of the image; '' when there is none."""
    here = resolve(rootfs, path)
    if not here.is_file():
        return ""
    with here.open("rb") as file:
        return file.read(_MAX_TEXT).decode("utf-8", "replace")
