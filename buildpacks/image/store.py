"""The layer store: sealed folders named by their content, and images composed of them.

    layers/sha256/<hex>/     one unpacked layer, read-only, owned by the server
    layers/by-blob/<hex>     diff id and size of a one-file slice whose git object is known
    images/sha256/<hex>/     app/, layers/<buildpack>/<layer> (links into layers/), config.json

Rules of this file
1. A folder appears under its final name complete or not at all: it is made elsewhere on the same disk and renamed.
2. A sealed file shares no inode with anything that a build could write: a file with other links is copied first,
   unless it is a link of a blob that the server owns.
"""

# Paths below a layer are bytes: a file name need not be text, and pathlib knows only text.
# ruff: noqa: PTH101, PTH104, PTH115

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildpacks.image.config import hex_of, image_digest, render_config
from buildpacks.image.tar import Digest, diff_id, refuse_special, walk
from buildpacks.lifecycle.toml_writer import render_toml
from buildpacks.order import BigFile, Json

APP_PATH = "workspace"
LAYERS_PATH = "layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStore:
    """Sealed layers and images below one root."""

    root: Path

    def layer_path(self, diff_id: str) -> Path:
        """Where a layer lies, whether it is there or not. Raises ValueError for a name that is no digest."""
        return self.root / "layers" / "sha256" / hex_of(diff_id)

    def image_path(self, digest: str) -> Path:
        """Where an image lies, whether it is there or not."""
        return self.root / "images" / "sha256" / hex_of(digest)

    def has_layer(self, diff_id: str) -> bool:
        """The layer is sealed here."""
        return self.layer_path(diff_id).is_dir()

    def seal(self, source: Path, image_path: str) -> Digest:
        """Take a folder in: fix owner and modes, compute its diff id, move it to its name. source is gone after.

        image_path  where its contents lie in the image
        Raises      BuildFailed('layer-refused') for devices, pipes, sockets and setuid files
        """
        _freeze(source)
        digest = diff_id(source, image_path)
        self._move_in(source, self.layer_path(digest.diff_id))
        return digest

    def seal_blob(self, file: BigFile, repo_path: str) -> Digest:
        """A slice of one big file: a hard link of the blob; bytes are hashed at most once per blob, path and mode."""
        mode = file.host_path.stat().st_mode
        executable = "x" if mode & stat.S_IXUSR else "-"
        key = hashlib.sha256(f"{file.git_oid}\0{repo_path}\0{executable}".encode()).hexdigest()
        note = self.root / "layers" / "by-blob" / key
        known = _read_note(note)
        if known is not None and self.has_layer(known.diff_id):
            return known
        folder = self._new_folder()
        target = folder / repo_path
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(file.host_path, target)
        for parent in (folder, *(path for path in target.parents if folder in path.parents)):
            parent.chmod(0o755)
        digest = diff_id(folder, APP_PATH)
        self._move_in(folder, self.layer_path(digest.diff_id))
        note.parent.mkdir(parents=True, exist_ok=True)
        draft = note.with_name(f".{key}-{secrets.token_hex(4)}")
        draft.write_text(f"{digest.diff_id} {digest.size_bytes}\n")
        draft.rename(note)
        return digest

    def compose(self, config: Mapping[str, Json]) -> tuple[str, Path]:
        """The digest of a config and the image's folder, made when it is not there yet.

        Raises  FileNotFoundError when a layer of it is not in the store
        """
        digest = image_digest(config)
        final = self.image_path(digest)
        if final.is_dir():
            return digest, final
        draft = self._new_folder()
        app_dir = draft / "app"
        app_dir.mkdir()
        layers = config["layers"]
        assert isinstance(layers, list)
        for layer in layers:
            assert isinstance(layer, dict)
            source = self.layer_path(str(layer["diff_id"]))
            if layer["kind"] == "layer":
                link = draft / "layers" / str(layer["path"])
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path("../../../../..") / "layers" / "sha256" / source.name)
                source.stat()
            else:
                _link_tree(source, app_dir)
        (draft / "layers" / "config").mkdir(parents=True, exist_ok=True)
        (draft / "layers" / "config" / "metadata.toml").write_text(render_toml(_metadata(config)))
        (draft / "config.json").write_bytes(render_config(config))
        for folder, _, _ in os.walk(draft):
            Path(folder).chmod(0o755)
        self._move_in(draft, final)
        return digest, final

    def _new_folder(self) -> Path:
        folder = self.root / "layers" / "drafts" / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o755)
        return folder

    def _move_in(self, source: Path, final: Path) -> None:
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(final)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:  # the same content is there already
                shutil.rmtree(source)
            elif error.errno == errno.EXDEV:
                draft = self._new_folder()
                shutil.copytree(source, draft, symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(source)
                self._move_in(draft, final)
            else:
                raise


def _freeze(root: Path) -> None:
    """Server's ownership, 0755 folders, 0444 or 0555 files."""
    uid, gid = os.geteuid(), os.getegid()
    root.chmod(0o755)
    os.chown(root, uid, gid)
    for path, name, status in walk(os.fsencode(root)):
        refuse_special(name, status.st_mode)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_uid != uid:
            _break_link(path)
        if (status.st_uid, status.st_gid) != (uid, gid):
            os.chown(path, uid, gid, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            mode = 0o555 if status.st_mode & stat.S_IXUSR else 0o444
        elif stat.S_ISDIR(status.st_mode):
            mode = 0o755
        else:
            continue
        if stat.S_IMODE(status.st_mode) != mode:
            os.chmod(path, mode)


def _break_link(path: bytes) -> None:
    draft = path + b".unlinked"
    shutil.copyfile(path, draft, follow_symlinks=False)
    shutil.copymode(path, draft)
    os.rename(draft, path)


def _link_tree(source: Path, target: Path) -> None:
    for path, name, status in walk(os.fsencode(source)):
        here = target / os.fsdecode(name)
        if stat.S_ISDIR(status.st_mode):
            here.mkdir(exist_ok=True)
        elif stat.S_ISLNK(status.st_mode):
            here.symlink_to(os.fsdecode(os.readlink(path)))
        else:
            _link_or_copy(Path(os.fsdecode(path)), here)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
            raise
        shutil.copy2(source, target)


def _read_note(path: Path) -> Digest | None:
    try:
        name, size = path.read_text().split()
        hex_of(name)
        return Digest(diff_id=name, size_bytes=int(size))
    except (FileNotFoundError, ValueError):
        return None


def _metadata(config: Mapping[str, Json]) -> dict[str, object]:
    """<layers>/config/metadata.toml of the specification, as far as a launcher reads it."""
    processes = config.get("processes")
    assert isinstance(processes, list)
    default = next((item["type"] for item in processes if isinstance(item, dict) and item.get("default")), "")
    return {
        "buildpack-default-process-type": default,
        "buildpacks": config["buildpacks"],
        "processes": [
            {key: value for key, value in item.items() if key != "default"}
            for item in processes
            if isinstance(item, dict)
        ],
    }
