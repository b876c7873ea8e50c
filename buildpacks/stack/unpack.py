"""A base image's layers become a folder: whiteouts are obeyed, nothing leaves the folder, nothing special is made.

Rules of this file
1. A path is resolved inside the folder, as a container would: an absolute link starts at the folder, `..` stops at it.
   Only we write there, so what was resolved stays what it is until it is used.
2. Owners are ours, modes 0755 and 0644: a build sandbox of any user reads it, and no setuid bit reaches this machine.

Source  OCI image specification 1.1, layer.md "Whiteouts"; contracts security D
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from buildpacks.order import BuildFailed
from buildpacks.stack.reading import HashedReader

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MAX_LINKS = 40  # path_resolution(7)
_COPY = 1 << 20


def unpack_layer(chunks: Iterator[bytes], diff_id: str, root: Path) -> None:
    """Lay one layer over what root holds.

    Raises  BuildFailed('stack-layer-refused') for a path that no layer may have, BuildFailed('stack-blob-damaged')
            when the bytes are not those of diff_id: root is then of no use
    """
    reader = HashedReader(chunks)
    mine: set[Path] = set()  # made by this layer: an opaque mark hides only what lies below it
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", io.BufferedReader(reader, _COPY)), mode="r|", errorlevel=2) as tar:
            for member in tar:
                _place(tar, member, root, mine)
    except (FileExistsError, NotADirectoryError, ValueError) as error:
        # A file where another entry wants a folder, a name with a NUL
        raise BuildFailed("stack-layer-refused", path=diff_id, reason=str(error)) from error
    except (tarfile.TarError, EOFError) as error:
        raise BuildFailed("stack-blob-damaged", expected=diff_id, found=str(error)) from error
    found = reader.finish()
    if found != diff_id:
        raise BuildFailed("stack-blob-damaged", expected=diff_id, found=found)


def resolve(root: Path, path: str) -> Path:
    """Where a path of the image leads inside root; links in it are followed, the last part too.

    Raises  BuildFailed('stack-layer-refused') for links that go in circles
    """
    here = root
    todo = [part for part in reversed(path.split("/")) if part]
    links = 0
    while todo:
        part = todo.pop()
        if part == ".":
            continue
        if part == "..":
            here = here.parent if here != root else root
            continue
        step = here / part
        if not step.is_symlink():
            here = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise BuildFailed("stack-layer-refused", path=path, reason="its links go in circles")
        target = str(step.readlink())
        if target.startswith("/"):
            here = root
        todo += [part for part in reversed(target.split("/")) if part]
    return here


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, mine: set[Path]) -> None:
    parts = [part for part in member.name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise BuildFailed("stack-layer-refused", path=member.name, reason="it leaves the image")
    if not parts:
        return
    folder = resolve(root, "/".join(parts[:-1]))
    name = parts[-1]
    if name == _OPAQUE:
        _hide_below(folder, mine)
    elif name.startswith(_WHITEOUT):
        hidden = folder / name.removeprefix(_WHITEOUT)
        if hidden not in mine and hidden.parent == folder and hidden.name not in {"", ".", ".."}:
            _remove(hidden)
    elif not (member.isdev() or member.isfifo()):
        _make_folder(folder)
        path = folder / name
        _make(tar, member, path, root)
        while path != root and path not in mine:
            mine.add(path)
            path = path.parent


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, root: Path) -> None:
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            _remove(path)
            path.mkdir()
        path.chmod(0o755)
        return
    if member.islnk():
        source = _link_source(member, root)
        if source == path:
            return
        _remove(path)
        path.hardlink_to(source)  # of a symbolic link too: link(2) does not follow it
        return
    _remove(path)
    if member.issym():
        path.symlink_to(member.linkname)
        return
    content = tar.extractfile(member)
    if content is None:
        raise BuildFailed("stack-layer-refused", path=member.name, reason=f"its kind {member.type!r} is not known")
    with path.open("xb") as file:
        shutil.copyfileobj(content, file, _COPY)
    path.chmod(0o755 if member.mode & 0o111 else 0o644)


def _link_source(member: tarfile.TarInfo, root: Path) -> Path:
    parts = [part for part in member.linkname.split("/") if part not in {"", "."}]
    source = resolve(root, "/".join(parts[:-1])) / parts[-1] if parts and ".." not in parts else root
    if not os.path.lexists(source) or stat.S_ISDIR(source.lstat().st_mode):
        raise BuildFailed("stack-layer-refused", path=member.name, reason="it links to what is not there")
    return source


def _make_folder(folder: Path) -> None:
    # A layer may leave out the entries of folders above its files.
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o755)


def _hide_below(folder: Path, mine: set[Path]) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path not in mine:
            _remove(path)
        elif path.is_dir() and not path.is_symlink():
            _hide_below(path, mine)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
