"""The stack store: base images by content, and the names that operators give to pairs of them.

    blobs/sha256/<hex>   layers, configurations and manifests, as they came
    images/<hex>.json    one base image that was ever added, by image id
    stacks/<name>.json   a stack; current: the name of the one that new builds lie on
    rootfs/<hex>/        a base image unpacked, by image id

Rules of this file
1. A file or folder appears under its final name complete or not at all.
2. An image stays when the stack that brought it is replaced or removed, for releases lie on it: only forget() ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from buildpacks.image.config import hex_of
from buildpacks.image.values import LAYER, Blob
from buildpacks.order import BuildFailed
from buildpacks.stack.reading import read_blob
from buildpacks.stack.records import images_of, parse_image, parse_stack, render_image, render_stack
from buildpacks.stack.unpack import unpack_layer
from buildpacks.stack.values import BaseImage, Stack

_NAME = re.compile(r"[a-z0-9](?:[._-]?[a-z0-9])*")
_MAX_NAME = 40
_DRAFT_S = 86400


def parse_stack_name(text: str) -> str:
    """The name, when it is one. Raises BuildFailed('stack-name-bad'): it becomes a file name."""
    if len(text) > _MAX_NAME or _NAME.fullmatch(text) is None:
        raise BuildFailed("stack-name-bad", found=text[:80])
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStore:
    """Stacks below one root. Processes and threads may share it."""

    root: Path

    # -- stacks
    def names(self) -> tuple[str, ...]:
        """Every stack, by name."""
        return tuple(sorted(path.stem for path in (self.root / "stacks").glob("*.json")))

    def find(self, name: str) -> Stack | None:
        """A stack by name; None when there is none. Raises BuildFailed('stack-record-damaged')."""
        path = self._stack_path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            images = {image_id: self.image(image_id) for image_id in images_of(data) if image_id is not None}
            return parse_stack(data, {key: image for key, image in images.items() if image is not None})
        except (KeyError, TypeError, ValueError) as error:
            raise BuildFailed("stack-record-damaged", path=str(path)) from error

    def current(self) -> Stack | None:
        """The stack that new builds lie on; None while there is no stack."""
        name = self.current_name()
        return self.find(name) if name is not None else None

    def current_name(self) -> str | None:
        """Its name, without reading it."""
        try:
            return parse_stack_name((self.root / "current").read_text(encoding="ascii").strip())
        except FileNotFoundError:
            return None

    def add(self, stack: Stack) -> None:
        """Remember a stack whose blobs are here; one of the same name is replaced. The first becomes the current one.

        Raises  BuildFailed('stack-name-bad'), BuildFailed('stack-blob-missing') when a layer of it is not in the store
        """
        path = self._stack_path(stack.name)
        self._sweep_drafts()
        self.add_image(stack.run)
        if stack.build is not None:
            self.add_image(stack.build)
        self._write(path, render_stack(stack))
        if self.current_name() is None:
            self.select(stack.name)

    def select(self, name: str) -> None:
        """New builds lie on this stack from now on. Raises BuildFailed('stack-unknown')."""
        if not self._stack_path(name).is_file():
            raise BuildFailed("stack-unknown", name=name, names=list(self.names()))
        self._write(self.root / "current", f"{name}\n".encode())

    def remove(self, name: str) -> None:
        """Forget a name; its images stay. Raises BuildFailed('stack-unknown' | 'stack-in-use')."""
        if self.current_name() == name:
            raise BuildFailed("stack-in-use", name=name)
        try:
            self._stack_path(name).unlink()
        except FileNotFoundError as error:
            raise BuildFailed("stack-unknown", name=name, names=list(self.names())) from error

    # -- images
    def images(self) -> tuple[BaseImage, ...]:
        """Every base image that was ever added, whether a stack still names it or not."""
        found = (self.image(f"sha256:{path.stem}") for path in sorted((self.root / "images").glob("*.json")))
        return tuple(image for image in found if image is not None)

    def image(self, image_id: str) -> BaseImage | None:
        """A base image that was ever added. Raises BuildFailed('stack-record-damaged')."""
        path = self._image_path(image_id)
        try:
            return parse_image(path.read_bytes())
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise BuildFailed("stack-record-damaged", path=str(path)) from error

    def add_image(self, image: BaseImage) -> None:
        """Remember a base image whose blobs are here. Raises BuildFailed('stack-blob-missing')."""
        needed = [image.image_id, image.manifest_digest, *(layer.blob.digest for layer in image.layers)]
        for digest in needed:
            if not self.blob_path(digest).is_file():
                raise BuildFailed("stack-blob-missing", reference=image.reference, digest=digest)
        self._write(self._image_path(image.image_id), render_image(image))

    def forget(self, image_id: str) -> int:
        """Remove an image that no stack names, with what only it needs; returns the bytes of its blobs.

        Raises  BuildFailed('stack-in-use') while a stack names it
        """
        for name in self.names():
            if image_id in images_of(self._stack_path(name).read_bytes()):
                raise BuildFailed("stack-in-use", name=name)
        image = self.image(image_id)
        if image is None:
            return 0
        self._image_path(image_id).unlink(missing_ok=True)
        needed = {digest for other in self.images() for digest in _digests(other)}
        freed = 0
        for digest in _digests(image) - needed:
            path = self.blob_path(digest)
            with contextlib.suppress(FileNotFoundError):  # another collection was quicker
                freed += path.stat().st_size
                path.unlink()
        with self._lock(image_id):
            shutil.rmtree(self._rootfs_path(image_id), ignore_errors=True)
        return freed

    # -- blobs
    def blob_path(self, digest: str) -> Path:
        """Where a blob lies, whether it is there or not. Raises ValueError for a name that is no digest."""
        return self.root / "blobs" / "sha256" / hex_of(digest)

    def put_blob(self, chunks: Iterable[bytes], *, media_type: str = LAYER, expected: str = "") -> Blob:
        """Take a blob in as it streams by.

        expected  its digest, where the sender said one
        Raises    BuildFailed('stack-blob-damaged') when the bytes are others; then nothing is kept
        """
        digest, size_bytes = hashlib.sha256(), 0
        with self._draft() as draft:
            with draft.open("xb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            found = f"sha256:{digest.hexdigest()}"
            if expected and found != expected:
                raise BuildFailed("stack-blob-damaged", expected=expected, found=found)
            final = self.blob_path(found)
            final.parent.mkdir(parents=True, exist_ok=True)
            draft.rename(final)
        return Blob(digest=found, size_bytes=size_bytes, media_type=media_type)

    # -- unpacked
    def rootfs(self, image: BaseImage) -> Path:
        """The image's files as a folder that every user can read, unpacked at the first call.

        Owner is the server; modes are 0755 and 0644; devices and setuid bits are left out.
        Raises  BuildFailed('stack-blob-missing' | 'stack-blob-damaged' | 'stack-layer-refused' | 'stack-layer-zstd')
        """
        final = self._rootfs_path(image.image_id)
        if final.is_dir():
            return final
        with self._lock(image.image_id):
            if final.is_dir():
                return final
            draft = self.root / "drafts" / f"rootfs-{hex_of(image.image_id)}"
            shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed: we hold its lock
            draft.mkdir(parents=True)
            draft.chmod(0o755)
            try:
                for layer in image.layers:
                    path = self.blob_path(layer.blob.digest)
                    if not path.is_file():
                        raise BuildFailed("stack-blob-missing", reference=image.reference, digest=layer.blob.digest)
                    unpack_layer(read_blob(path, layer.blob.media_type), layer.diff_id, draft)
                final.parent.mkdir(parents=True, exist_ok=True)
                final.parent.chmod(0o755)
                draft.rename(final)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return final

    # -- inside
    def _stack_path(self, name: str) -> Path:
        return self.root / "stacks" / f"{parse_stack_name(name)}.json"

    def _image_path(self, image_id: str) -> Path:
        return self.root / "images" / f"{hex_of(image_id)}.json"

    def _rootfs_path(self, image_id: str) -> Path:
        return self.root / "rootfs" / hex_of(image_id)

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._draft() as draft:
            draft.write_bytes(data)
            draft.rename(path)

    def _sweep_drafts(self) -> None:
        """Remove what processes that were killed left half written: nothing takes a day to write."""
        for path in (self.root / "drafts").glob("*"):
            with contextlib.suppress(FileNotFoundError):  # finished in the meantime
                if time.time() - path.lstat().st_mtime < _DRAFT_S:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

    @contextlib.contextmanager
    def _draft(self) -> Iterator[Path]:
        folder = self.root / "drafts"
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / secrets.token_hex(8)
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self, image_id: str) -> Iterator[None]:
        # Unpacking takes seconds; a second caller waits for the first instead of doing it again. flock ends with its
        # process, so a killed one leaves nothing to clear.
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / hex_of(image_id)).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _digests(image: BaseImage) -> set[str]:
    return {image.image_id, image.manifest_digest, *(layer.blob.digest for layer in image.layers)}
