"""A commit's tree on disk, written by our own hand: no checkout, no archive, no filter, no hook (contracts/git.md B12).

Rules of this file
1. Names are judged before they are used, links last: while files are written there is no link to follow.
2. No blob is ever whole in memory. Big ones are written once into the blob store and linked from there.
3. One child reads all objects; questions go in batches that fit its pipe, so that neither side waits for the other.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gitserver.errors import Problem
from gitserver.remote.catfile import CatFile, read_object
from gitserver.remote.ingest import show_bytes
from gitserver.remote.native import git_argv, git_env, start_git
from gitserver.remote.objects import DIRECTORY_MODE, GITLINK_MODE, SYMLINK_MODE, TreeEntry, parse_tree_entries
from gitserver.remote.quarantine import Quarantine
from gitserver.remote.treenames import check_links, check_name

BIG_BYTES = 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_MAX_TREE_BYTES = 64 * 1024**2  # one directory object; 200,000 files of 255 bytes fit
_MAX_LINK_BYTES = 4096
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\nsize (\d{1,19})\n"
)
_POINTER_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """What one pushed tree may take (contracts/security.md, limits)."""

    depth: int = 1280
    path_bytes: int = 4096
    files: int = 200_000
    size_bytes: int = 20 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class BigBlob:
    """A file of BIG_BYTES or more: the tree holds a hard link of host_path, which is read-only and named by content."""

    git_oid: str
    host_path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LfsPointer:
    """A file that only says where its content is: sha256 and size of what is missing here."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What was written. files counts regular files and links; big_files by path in the tree."""

    root: Path
    files: int
    size_bytes: int
    big_files: Mapping[str, BigBlob]
    lfs_pointers: tuple[LfsPointer, ...]


DEFAULT_LIMITS = TreeLimits()


def extract(
    repo_path: Path,
    commit: str,
    *,
    quarantine_id: str | None,
    into: Path,
    blobs_dir: Path,
    limits: TreeLimits = DEFAULT_LIMITS,
) -> Tree:
    """Write a commit's tree into a folder that does not exist yet.

    quarantine_id  where its objects wait, None when they are in the repository
    blobs_dir      the store of big files, on the same file system: `<2 hex>/<oid>`, mode 0444
    returns        files 0644 or 0755, folders 0755, links that stay inside
    Raises         Problem('empty-tree' | 'submodule' | 'symlink-outside' | 'bad-path' | 'tree-too-big' | 'bad-tree' |
                   'objects-missing'); what was written until then stays for the caller to remove
    """
    extra = Quarantine(repo_path=repo_path, quarantine_id=quarantine_id).env() if quarantine_id else {}
    into.mkdir(parents=True, mode=0o755)
    root_fd = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        argv = git_argv("cat-file", "--batch")
        env = git_env(repo_path, extra)
        with start_git(argv, env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            return _Walk(CatFile(child), root_fd, into, blobs_dir, limits).run(commit)
    finally:
        os.close(root_fd)


@dataclass(slots=True)
class _Walk:
    """One extraction under way, level by level."""

    objects: CatFile
    root_fd: int
    root: Path
    blobs_dir: Path
    limits: TreeLimits
    files: int = 0
    folders: int = 0
    size_bytes: int = 0
    big: dict[str, BigBlob] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    pointers: list[LfsPointer] = field(default_factory=list)

    def run(self, commit: str) -> Tree:
        # The empty path of a commit is its root tree; `^{tree}` peels and proves the kind in one question.
        level = [("", f"{commit}^{{tree}}")]
        depth = 0
        while level:
            depth += 1
            if depth > self.limits.depth:
                raise self._too_big("depth", self.limits.depth)
            level = self._descend(level)
        links = _outside_environments(self.root, self.links)
        check_links(links)
        for path, target in links.items():
            try:
                os.symlink(target, path, dir_fd=self.root_fd)
            except FileExistsError as error:
                raise Problem("bad-tree", detail=f"{path} is there twice") from error
        if self.files == 0:
            raise Problem("empty-tree")
        return Tree(
            root=self.root, files=self.files, size_bytes=self.size_bytes, big_files=self.big,
            lfs_pointers=tuple(self.pointers),
        )  # fmt: skip

    def _descend(self, level: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Write one level's files; the folders beneath it."""
        below: list[tuple[str, str]] = []
        blobs: list[tuple[str, TreeEntry]] = []
        trees = self.objects.read_all([oid for _, oid in level], limit=_MAX_TREE_BYTES)
        for (folder, _), data in zip(level, trees, strict=True):
            self._sort_entries(folder, parse_tree_entries(data), below, blobs)
        self._link_known(blobs)
        pending = [(path, entry) for path, entry in blobs if path not in self.big]
        answers = self.objects.ask([entry.oid for _, entry in pending])
        for (path, entry), (kind, size, stream) in zip(pending, answers, strict=True):
            if kind != "blob":
                raise Problem("bad-tree", detail=f"{path} is a {kind}")
            self._count(size)
            self._write_blob(path, entry, size, stream)
        return below

    def _sort_entries(
        self,
        folder: str,
        entries: Sequence[TreeEntry],
        below: list[tuple[str, str]],
        blobs: list[tuple[str, TreeEntry]],
    ) -> None:
        seen: dict[str, bool] = {}
        for entry in entries:
            name = check_name(entry.name, folder)
            path = folder + name
            if len(path.encode()) > self.limits.path_bytes:
                raise Problem("bad-path", path=path[:300], reason=f"longer than {self.limits.path_bytes} bytes")
            is_link = stat.S_IFMT(entry.mode) == SYMLINK_MODE
            _refuse_twins(path, name.casefold(), is_link=is_link, seen=seen)
            match stat.S_IFMT(entry.mode):
                case stat.S_IFDIR:
                    self._make_folder(path)
                    self.folders += 1
                    below.append((path + "/", entry.oid))
                case stat.S_IFREG | stat.S_IFLNK:
                    self.files += 1
                    blobs.append((path, entry))
                case _ if entry.mode == GITLINK_MODE:
                    raise Problem("submodule", path=path)
                case _:
                    raise Problem("bad-tree", detail=f"{path} has mode {entry.mode:o}, not {DIRECTORY_MODE:o}")
            if (
                self.files + self.folders > self.limits.files
            ):  # folders too: one small tree can name itself a million times
                raise self._too_big("files", self.limits.files)

    def _make_folder(self, path: str) -> None:
        try:
            os.mkdir(path, 0o755, dir_fd=self.root_fd)
            # Whatever the server's umask is, the app's own user reads the tree.
            os.chmod(path, 0o755, dir_fd=self.root_fd)  # noqa: S103 -- source of an app, for that app's user
        except FileExistsError as error:
            raise Problem("bad-tree", detail=f"{path} is there twice") from error

    def _link_known(self, blobs: Sequence[tuple[str, TreeEntry]]) -> None:
        """Big files that an earlier push brought are linked without being read again."""
        for path, entry in blobs:
            if not _is_plain_file(entry):
                continue
            stored = self._stored(entry.oid)
            try:
                size = stored.stat().st_size
            except FileNotFoundError:
                continue
            self._count(size)
            self._link_big(path, entry.oid, size)

    def _write_blob(self, path: str, entry: TreeEntry, size: int, stream: IO[bytes]) -> None:
        if stat.S_ISLNK(entry.mode):
            data = read_object(stream, size, _MAX_LINK_BYTES, path)
            try:
                self.links[path] = data.decode()
            except UnicodeDecodeError:
                raise Problem("symlink-outside", path=path, target=data.decode(errors="replace")[:200]) from None
        elif size >= BIG_BYTES and _is_plain_file(entry):
            self._store(entry.oid, size, stream)
            self._link_big(path, entry.oid, size)
        else:
            self._write_file(path, entry, size, stream)

    def _write_file(self, path: str, entry: TreeEntry, size: int, stream: IO[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o644, dir_fd=self.root_fd)
        except FileExistsError as error:
            raise Problem("bad-tree", detail=f"{path} is there twice") from error
        try:
            os.fchmod(descriptor, 0o755 if entry.mode & 0o100 else 0o644)
            if size <= _POINTER_BYTES:
                data = read_object(stream, size, size, path)
                _write_all(descriptor, data)
                self._note_pointer(path, data)
            else:
                _copy(stream, descriptor, size)
        finally:
            os.close(descriptor)

    def _note_pointer(self, path: str, data: bytes) -> None:
        pointer = _POINTER.match(data)
        if pointer is not None:
            self.pointers.append(LfsPointer(path=path, sha256=pointer[1].decode(), size_bytes=int(pointer[2])))

    def _stored(self, oid: str) -> Path:
        return self.blobs_dir / oid[:2] / oid

    def _store(self, oid: str, size: int, stream: IO[bytes]) -> None:
        """Into the blob store, complete or not at all; two builds that do it at once end with one file."""
        target = self._stored(oid)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.parent / f".{oid}.{uuid.uuid4().hex}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            _copy(stream, descriptor, size)
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
            draft.rename(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _link_big(self, path: str, oid: str, size: int) -> None:
        stored = self._stored(oid)
        try:
            os.link(stored, path, dst_dir_fd=self.root_fd)
        except FileExistsError as error:
            raise Problem("bad-tree", detail=f"{path} is there twice") from error
        except OSError:  # another file system, or as many links as an inode can have: a copy serves as well
            shutil.copyfile(stored, self.root / path)
        self.big[path] = BigBlob(git_oid=oid, host_path=stored, size_bytes=size)

    def _count(self, size: int) -> None:
        self.size_bytes += size
        if self.size_bytes > self.limits.size_bytes:
            raise self._too_big("size", show_bytes(self.limits.size_bytes))

    def _too_big(self, what: str, limit: int | str) -> Problem:
        return Problem("tree-too-big", what=what, limit=limit)


def _is_plain_file(entry: TreeEntry) -> bool:
    """Not executable: a hard link shares its mode, and the store's files have one for all."""
    return stat.S_ISREG(entry.mode) and not entry.mode & 0o100


def _outside_environments(root: Path, links: Mapping[str, str]) -> dict[str, str]:
    """Links without those in committed virtual environments, which no image gets: they lead to /usr as a rule.

    Of one at the top of the repository only its own folders count (buildpacks/pruning.py leaves out the same).
    """
    known: dict[Path, bool] = {}  # a thousand links of one folder ask the disk once
    kept = {}
    for path, target in links.items():
        for folder in Path(path).parents:
            if folder not in known:
                known[folder] = _is_environment(root / folder)
            if known[folder] and (folder != Path() or Path(path).parts[0] in {"bin", "lib", "lib64"}):
                break
        else:
            kept[path] = target
    return kept


def _is_environment(folder: Path) -> bool:
    if (folder / "pyvenv.cfg").is_file():
        return True
    return (folder / "bin" / "activate").is_file() and any((folder / "lib").glob("python*"))


def _refuse_twins(path: str, folded: str, *, is_link: bool, seen: dict[str, bool]) -> None:
    """Names that differ in case only are two files here; with a link among them they aim at somebody else's disk."""
    if folded in seen and (is_link or seen[folded]):
        raise Problem("bad-path", path=path, reason="a link and another entry differ in case only")
    seen[folded] = is_link or seen.get(folded, False)


def _copy(stream: IO[bytes], descriptor: int, size: int) -> None:
    while size:
        data = stream.read(min(size, _CHUNK_BYTES))
        if not data:
            raise Problem("objects-missing", detail="a file was cut while it was read")
        _write_all(descriptor, data)
        size -= len(data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
