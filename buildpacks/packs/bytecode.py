"""Gives a folder of Python sources their .pyc files, the same bytes in every build. Run by path:

    python -s -S -W ignore bytecode.py FOLDER IMAGE_PATH CACHE        with PYTHONHASHSEED=0

CACHE ('' for none) keeps the byte-code of each distribution that was compiled before, for whoever installs it next:

    CACHE/<key>     SHA-256 of key and rest; for each source a length (4 bytes, little-endian; 0: does not compile);
                    the .pyc files, one after the other

Rules of this file
1. unchecked-hash: an image's times are normalised, and a timestamp would be stale at every start (contracts 3).
2. marshal writes a reference flag by how many users an object happens to have in the process
   (https://github.com/python/cpython/issues/78274), names that any code made before included. So sources are compiled
   in chunks, a chunk never holds files of two distributions, and each is compiled in a fork of one process that does
   nothing but pass on bytes: what lies in the cache, in the folder or in a RECORD leaves no trace in it.
3. A key is all that decides the bytes: every source with its path, the image path, this very interpreter, this very
   file. RECORD only says which sources belong together. Its hashes are its author's word: a wheel that copies numpy's
   RECORD would else be everybody's numpy.
4. What is kept was compiled here, from the sources in its key. A .pyc that a wheel brought along is replaced or
   removed, so that it does not enter the cache beside sources of others. Nothing that an entry says becomes a path. A
   damaged entry counts as missing, and is made again.
5. Files are written, never linked: a layer shares no inode with what other builds read.
6. `tests` folders stay source: nobody imports them in production, and they are half of scipy's files.
7. It is run by the app's interpreter, which may be older than ours: no syntax above Python 3.8. Paths are bytes.

Source  PEP 552, layout of a .pyc; PEP 3147, its name; PEP 376, RECORD
"""

# No pathlib, which each installation would import.
# ruff: noqa: PTH103, PTH104, PTH108, PTH120
from __future__ import annotations

import errno
import gc
import hashlib
import importlib.util
import marshal
import os
import struct
import sys

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CHUNK = 64
MAX_CACHE_BYTES = 2 << 30  # scikit-learn with all that it needs: 30 MB. What was not used for the longest time goes.
_SKIPPED = frozenset({b"tests", b"test", b"__pycache__"})
_ENDING = b".%s.pyc" % (sys.implementation.cache_tag or "none").encode()
_HEAD = importlib.util.MAGIC_NUMBER + (0b01).to_bytes(4, "little")  # unchecked-hash
_DIGEST_BYTES = 32


def main(folder: bytes, image_path: bytes, cache: bytes) -> int:
    """Byte-code for all below folder; returns 0, or 1 when a worker ended badly. What does not compile has none."""
    gc.disable()  # a chunk is small, and when garbage goes is one thing less to depend on
    reader, writer = os.pipe()
    _fork(_look, folder, image_path, cache, writer)
    os.close(writer)
    with open(reader, "rb") as answer:
        missing = [group.split(b"\0") for group in answer.read().split(b"\0\0") if group]
    if not _ended_well(1):
        return 1
    chunks = [
        (sources[start : start + CHUNK], folder, image_path)
        for _, *sources in missing
        for start in range(0, len(sources), CHUNK)
    ]
    if not _in_forks(_compile, chunks):
        return 1
    if cache and missing:
        _fork(_keep, missing, cache)
        return 0 if _ended_well(1) else 1
    return 0


# Looking ------------------------------------------------------------------------------------------------------------
def _look(folder: bytes, image_path: bytes, cache: bytes, answer: int) -> None:
    """Write files of groups that the cache has; answer with key and sources of the others, NUL between, two after."""
    groups = find_groups(folder)
    missing = dict.fromkeys(range(len(groups)), b"-")
    if cache and groups:
        reader, writer = os.pipe()
        shares = _shares(groups, len(os.sched_getaffinity(0)))
        ground = _ground(image_path)
        for share in shares:
            _fork(_restore, [groups[number] for number in share], share, folder, ground, cache, writer)
        os.close(writer)
        with open(reader, "rb") as lines:
            missing = {int(number): key for number, key in map(bytes.split, lines)}
        if not _ended_well(len(shares)):
            raise ChildProcessError("a worker that looks into the cache ended badly")
    with open(answer, "wb") as file:
        file.writelines(b"\0".join([key, *groups[number]]) + b"\0\0" for number, key in sorted(missing.items()))


def find_groups(folder: bytes) -> list[list[bytes]]:
    """Sources by the distribution whose RECORD names them, sorted; those that none names are one group more."""
    sources: list[bytes] = []
    owners: dict[bytes, int] = {}
    count = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        sources += [here + b"/" + name for name in names if name.endswith(b".py") and name != b".py"]
        if here.endswith(b".dist-info") and b"RECORD" in names:
            count += 1
            for source in _recorded(here):
                owners.setdefault(source, count)
    groups: list[list[bytes]] = [[] for _ in range(count + 1)]
    for source in sorted(sources):
        groups[owners.get(source, 0)].append(source)
    return [group for group in groups if group]


def _recorded(dist_info: bytes) -> Iterator[bytes]:
    # A path with a comma is quoted and so matches no file: it counts as named by nobody.
    site = os.path.dirname(dist_info)
    with open(dist_info + b"/RECORD", "rb") as file:
        for line in file:
            name = line.partition(b",")[0]
            if name.endswith(b".py"):
                yield site + b"/" + name


def _shares(groups: Sequence[Sequence[bytes]], count: int) -> list[list[int]]:
    """Numbers of groups for each of at most count workers, about as many files for each."""
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for number in sorted(range(len(groups)), key=lambda number: -len(groups[number])):
        lightest = loads.index(min(loads))
        shares[lightest].append(number)
        loads[lightest] += len(groups[number])
    return [share for share in shares if share]


def _ground(image_path: bytes) -> bytes:
    """What decides the bytes beside the sources."""
    with open(__file__, "rb") as file:
        own = hashlib.sha256(file.read()).hexdigest()  # this code's own names are in the process that compiles: rule 2
    facts = (own, sys.version, importlib.util.MAGIC_NUMBER, os.uname().machine, image_path)
    return repr(facts).encode("utf-8", "surrogateescape")


def _restore(
    groups: Sequence[Sequence[bytes]], numbers: Sequence[int], folder: bytes, ground: bytes, cache: bytes, answer: int
) -> None:
    """Write the files of groups that the cache has; one line of number and key for each that it lacks."""
    for number, sources in zip(numbers, groups):  # noqa: B905 -- strict: Python 3.10
        key = _key(sources, folder, ground)
        parts = read_entry(cache, key, len(sources))
        if parts is None:
            os.write(answer, b"%d %b\n" % (number, key))  # short enough to arrive in one piece: pipe(7), PIPE_BUF
            continue
        for source, data in zip(sources, parts):  # noqa: B905 -- as above; read_entry has counted
            _write(source, data)


def _key(sources: Sequence[bytes], folder: bytes, ground: bytes) -> bytes:
    digest = hashlib.sha256(ground)
    for source in sources:
        data = _read(source)
        name = source[len(folder) :]
        digest.update(b"\0%d %d %b\0" % (len(name), -1 if data is None else len(data), name))
        digest.update(data or b"")
    return digest.hexdigest().encode()


def read_entry(cache: bytes, key: bytes, count: int) -> list[memoryview] | None:
    """The .pyc files of a key in the order of its sources; None when there is no such entry, or none that is whole."""
    path = cache + b"/" + key
    try:
        with open(path, "rb", buffering=0) as file:
            entry = memoryview(file.readall())
        os.utime(path)  # how trim knows what is in use
    except OSError:
        return None  # not there, gone in this moment, or not ours to use: all the same, it is compiled
    if _digest(key, entry[_DIGEST_BYTES:]) != entry[:_DIGEST_BYTES]:
        return None
    start = _DIGEST_BYTES + 4 * count
    parts = []
    for length in struct.unpack_from("<%dI" % count, entry, _DIGEST_BYTES):  # noqa: UP031 -- a format's own repeat count
        parts.append(entry[start : start + length])
        start += length
    return parts


def _digest(key: bytes, rest: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(rest)
    return digest.digest()


# Compiling ----------------------------------------------------------------------------------------------------------
def _compile(chunk: Sequence[bytes], folder: bytes, image_path: bytes) -> None:
    for source in chunk:
        _write(source, _byte_code(_read(source), os.fsdecode(image_path + source[len(folder) :])))


def _byte_code(source: bytes | None, shown: str) -> bytes:
    """A .pyc; nothing for what does not compile."""
    if source is None:
        return b""
    try:
        code = compile(source, shown, "exec", dont_inherit=True, optimize=0)
    except Exception:  # noqa: BLE001 -- packages ship templates and other Pythons' sources, hostile ones anything
        # Who imports it gets its own failure. It fails for everybody: a build that lacks memory is killed, and the
        # parser's MemoryError stands for too deep a nesting.
        return b""
    return _HEAD + importlib.util.source_hash(source) + marshal.dumps(code)


def _read(source: bytes) -> bytes | None:
    try:
        with open(source, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return None  # a link to nowhere: nobody can import it either


def _made_file(source: bytes) -> bytes:
    head, _, name = source.rpartition(b"/")
    return head + b"/__pycache__/" + name[: -len(b".py")] + _ENDING


def _write(source: bytes, data: bytes | memoryview) -> None:
    """The .pyc of a source in place of what lies there, which may be a wheel's own; with no data, nothing."""
    path = _made_file(source)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    if not data:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # another worker may be at it
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "no space left")
    finally:
        os.close(descriptor)


# Keeping ------------------------------------------------------------------------------------------------------------
def _keep(missing: Sequence[Sequence[bytes]], cache: bytes) -> None:
    try:
        for key, *sources in missing:
            write_entry(cache, key, [_made(source) for source in sources])
        trim(cache, MAX_CACHE_BYTES)
    except OSError as error:  # the build has what it wants; the next one compiles once more
        sys.stderr.write(f"       Byte-code was not kept for later: {error.strerror}\n")


def _made(source: bytes) -> bytes:
    try:
        with open(_made_file(source), "rb", buffering=0) as file:
            return file.readall()
    except FileNotFoundError:
        return b""  # it does not compile; anything else is a reason not to keep the distribution


def write_entry(cache: bytes, key: bytes, parts: Sequence[bytes]) -> None:
    """Appears complete or not at all, whoever writes the same at this moment."""
    rest = b"".join([struct.pack("<%dI" % len(parts), *map(len, parts)), *parts])  # noqa: UP031 -- a format's own repeat count
    draft = cache + b"/draft-" + os.urandom(8).hex().encode()
    with open(draft, "wb") as file:
        file.write(_digest(key, rest))
        file.write(rest)
    os.rename(draft, cache + b"/" + key)


def trim(cache: bytes, limit_bytes: int) -> None:
    """Remove what was not used for the longest time until the rest fits; drafts that a killed build left age, too."""
    with os.scandir(cache) as entries:
        found = sorted((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path) for entry in entries)
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= limit_bytes:
            break
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # another build trims at the same moment
        total -= size


# Forks --------------------------------------------------------------------------------------------------------------
def _in_forks(work: Callable[..., None], tasks: Sequence[Sequence[object]]) -> bool:
    """As many at a time as there are processors; whether all ended well."""
    limit = len(os.sched_getaffinity(0))
    is_well = True
    for number, task in enumerate(tasks):
        if number >= limit:
            is_well = _ended_well(1) and is_well
        _fork(work, *task)
    return _ended_well(min(limit, len(tasks))) and is_well


def _fork(work: Callable[..., None], *arguments: object) -> None:
    if os.fork():
        return
    status = 1
    try:
        work(*arguments)
        status = 0
    except BaseException as error:  # noqa: BLE001 -- a fork ends here, whatever happened in it
        sys.stderr.write(f"       Compiling byte-code: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _ended_well(count: int) -> bool:
    return sum(1 for _ in range(count) if os.wait()[1]) == 0


if __name__ == "__main__":
    sys.exit(
        main(*(os.fsencode(argument) for argument in (sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/"), sys.argv[3])))
    )
