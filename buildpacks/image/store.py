"""The layer store: sealed folders named by their content, and images composed of them.

    layers/sha256/<hex>/     one unpacked layer, read-only, owned by the server
    layers/by-blob/<hex>     diff id and sizes of a one-file slice whose git object is known
    layers/by-key/<hex>      the same of a dependency layer (known_layers.py)
    views/<hex>/             a layer that holds a virtual environment, with this machine's interpreter in it
    images/sha256/<hex>/     for the process target: app/, layers/<buildpack>/<layer> (links into layers/ and views/)

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

from buildpacks.image.config import check_format, hex_of, render_config
from buildpacks.image.lease import renew
from buildpacks.image.tar import Digest, diff_id, walk
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
        """The layer is sealed here, and stays for the build that asks (lease.py)."""
        return renew(self.root, self.layer_path(diff_id))

    def seal(self, source: Path, image_path: str) -> Digest:
        """Take a folder in: fix owner and modes, compute its diff id, move it to its name. source is gone after.

        image_path  where its contents lie in the image
        Raises      BuildFailed('layer-refused') for devices, pipes, sockets and setuid files
        """
        source.chmod(0o755)
        os.chown(source, os.geteuid(), os.getegid())
        digest = diff_id(source, image_path, _freeze)
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
        draft.write_text(f"{digest.diff_id} {digest.size_bytes} {digest.tar_bytes}\n")
        draft.rename(note)
        return digest

    def compose(self, config: Mapping[str, Json], digest: str, interpreter: Path | None = None) -> Path:
        """The folder in which an image runs as a process of this machine, made when it is not there yet.

        digest       its name
        interpreter  this machine's Python for its virtual environments; None: they have their own
        Raises       FileNotFoundError when a layer of it is not in the store, BuildFailed('image-format')
        """
        check_format(config)
        layers = [layer for layer in _list(config, "layers") if isinstance(layer, dict)]
        places = {
            str(layer["diff_id"]): self._shown(str(layer["diff_id"]), interpreter)
            for layer in layers
            if layer["kind"] == "layer"
        }
        final = self.image_path(digest)
        if renew(self.root, final):
            return final
        draft = self._new_folder()
        app_dir = draft / "app"
        app_dir.mkdir()
        for layer in layers:
            diff_id = str(layer["diff_id"])
            if layer["kind"] == "layer":
                link = draft / "layers" / str(layer["path"])
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path("../../../../..") / places[diff_id])
            else:
                _link_tree(self.layer_path(diff_id), app_dir)
        (draft / "layers" / "config").mkdir(parents=True, exist_ok=True)
        (draft / "layers" / "config" / "metadata.toml").write_text(render_toml(launch_metadata(config)))
        (draft / "config.json").write_bytes(render_config(config))
        for folder, _, _ in os.walk(draft):
            Path(folder).chmod(0o755)
        self._move_in(draft, final)
        return final

    def discard(self, diff_id: str) -> None:
        """Take a layer out, and its view: it was found to be damaged. Not there: no-op."""
        for path in (self.layer_path(diff_id), self.view_path(diff_id)):
            away = self._new_folder() / "discarded"
            try:
                path.rename(away)
            except FileNotFoundError:
                pass
            shutil.rmtree(away.parent)

    def view_path(self, diff_id: str) -> Path:
        """Where a layer's view lies, whether it is there or not."""
        return self.root / "views" / hex_of(diff_id)

    def _shown(self, diff_id: str, interpreter: Path | None) -> Path:
        """Where a process of this machine finds a layer, below the root: itself, or its view."""
        layer = self.layer_path(diff_id)
        layer.stat()
        if interpreter is None or not (layer / "pyvenv.cfg").is_file():
            return layer.relative_to(self.root)
        view = self.view_path(diff_id)
        # Its interpreter may have been removed since; and what a start is about to use must not be old (lease.py)
        if not renew(self.root, view) or not (view / "bin" / "python").exists():
            self._make_view(layer, view, interpreter)
        return view.relative_to(self.root)

    def _make_view(self, layer: Path, view: Path, interpreter: Path) -> None:
        draft = self._new_folder()
        for entry in layer.iterdir():
            if entry.name not in {"bin", "pyvenv.cfg"}:
                (draft / entry.name).symlink_to(Path("../..") / layer.relative_to(self.root) / entry.name)
        (draft / "bin").mkdir()
        for script in (layer / "bin").iterdir():
            if not script.name.startswith("python"):
                _link_or_copy(script, draft / "bin" / script.name, follow=False)
            elif script.name != "python" and script.is_symlink():
                (draft / "bin" / script.name).symlink_to("python")
        (draft / "bin" / "python").symlink_to(interpreter)
        (draft / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
        for path in (draft, draft / "bin"):
            path.chmod(0o755)
        (draft / "pyvenv.cfg").chmod(0o444)
        shutil.rmtree(view, ignore_errors=True)
        self._move_in(draft, view)

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
        renew(self.root, final)  # what was there before may be as old as the collector likes them


def _freeze(path: bytes, status: os.stat_result) -> None:
    """Server's ownership, 0755 folders, 0444 or 0555 files."""
    uid, gid = os.geteuid(), os.getegid()
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_uid != uid:
        _break_link(path)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.chown(path, uid, gid, follow_symlinks=False)
    if stat.S_ISREG(status.st_mode):
        mode = 0o555 if status.st_mode & stat.S_IXUSR else 0o444
    elif stat.S_ISDIR(status.st_mode):
        mode = 0o755
    else:
        return
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


def _link_or_copy(source: Path, target: Path, *, follow: bool = True) -> None:
    try:
        os.link(source, target, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
            raise
        shutil.copy2(source, target, follow_symlinks=follow)


def _read_note(path: Path) -> Digest | None:
    try:
        name, size, tar = path.read_text().split()
        hex_of(name)
        return Digest(diff_id=name, size_bytes=int(size), tar_bytes=int(tar))
    except (FileNotFoundError, ValueError):
        return None


def launch_metadata(config: Mapping[str, Json]) -> dict[str, object]:
    """<layers>/config/metadata.toml of the specification, as far as a launcher reads it."""
    processes = [item for item in _list(config, "processes") if isinstance(item, dict)]
    return {
        "buildpack-default-process-type": next((item["type"] for item in processes if item.get("default")), ""),
        "buildpacks": config["buildpacks"],
        "processes": [{key: value for key, value in item.items() if key != "default"} for item in processes],
        **({"slices": [{"paths": paths} for paths in slices]} if (slices := _list(config, "slices")) else {}),
    }


def _list(config: Mapping[str, Json], name: str) -> list[Json]:
    value = config.get(name)
    return value if isinstance(value, list) else []
