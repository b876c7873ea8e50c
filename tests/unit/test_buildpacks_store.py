"""The layer store: sealed by content, composed by links, nothing shared with what a build can write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from buildpacks.image.config import image_digest, render_config
from buildpacks.image.store import LayerStore
from buildpacks.order import BigFile, Json


def folder(path: Path, **files: bytes) -> Path:
    path.mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def test_a_sealed_layer_is_read_only_and_named_by_its_content(tmp_path: Path) -> None:
    store = LayerStore(root=tmp_path / "store")
    digest = store.seal(folder(tmp_path / "a", one=b"1"), "layers/p/a")
    path = store.layer_path(digest.diff_id)
    assert (path / "one").read_bytes() == b"1"
    assert stat.S_IMODE((path / "one").stat().st_mode) == 0o444
    assert digest.size_bytes == 1
    assert not (tmp_path / "a").exists()


def test_sealing_the_same_content_again_keeps_the_first(tmp_path: Path) -> None:
    store = LayerStore(root=tmp_path / "store")
    first = store.seal(folder(tmp_path / "a", one=b"1"), "layers/p/a")
    inode = (store.layer_path(first.diff_id) / "one").stat().st_ino
    assert store.seal(folder(tmp_path / "b", one=b"1"), "layers/p/a") == first
    assert (store.layer_path(first.diff_id) / "one").stat().st_ino == inode
    assert not (tmp_path / "b").exists()


def test_a_sealed_file_shares_no_inode_with_a_foreign_one(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # without rights every file is the server's own
    cache = folder(tmp_path / "cache", wheel=b"w")
    os.chown(cache / "wheel", 12345, 12345)
    layer = folder(tmp_path / "a")
    (layer / "wheel").hardlink_to(cache / "wheel")
    store = LayerStore(root=tmp_path / "store")
    path = store.layer_path(store.seal(layer, "layers/p/a").diff_id)
    (cache / "wheel").write_bytes(b"changed")
    assert (path / "wheel").read_bytes() == b"w"


def test_a_big_file_is_linked_and_hashed_once(tmp_path: Path) -> None:
    blob = folder(tmp_path / "blobs", blob=b"model") / "blob"
    big = BigFile(git_oid="0" * 40, host_path=blob, size_bytes=5)
    store = LayerStore(root=tmp_path / "store")
    digest = store.seal_blob(big, "model/m.joblib")
    linked = store.layer_path(digest.diff_id) / "model" / "m.joblib"
    assert linked.stat().st_ino == blob.stat().st_ino
    blob.write_bytes(b"other")  # nobody does that to a blob: it shows that the second answer comes from the note
    assert store.seal_blob(big, "model/m.joblib") == digest


def test_an_image_is_app_files_links_to_layers_and_its_config(tmp_path: Path) -> None:
    store = LayerStore(root=tmp_path / "store")
    layer = store.seal(folder(tmp_path / "l", lib=b"L"), "layers/algo_p/deps")
    app = store.seal(folder(tmp_path / "app", **{"predict.py": b"P"}), "workspace")
    config: dict[str, Json] = {
        "layers": [
            {"diff_id": layer.diff_id, "kind": "layer", "path": "algo_p/deps", "size_bytes": 1},
            {"diff_id": app.diff_id, "kind": "app", "path": "", "size_bytes": 1},
        ],
        "processes": [{"type": "web", "command": ["x"], "default": True}],
        "buildpacks": [{"id": "algo/p", "version": "1"}],
    }
    digest = image_digest(config)
    path = store.compose(config, digest)
    assert path == store.image_path(digest)
    assert (path / "app" / "predict.py").read_bytes() == b"P"
    assert (path / "layers" / "algo_p" / "deps" / "lib").read_bytes() == b"L"
    assert not (path / "layers" / "algo_p" / "deps").readlink().is_absolute()
    assert (path / "config.json").read_bytes() == render_config(config)
    assert 'buildpack-default-process-type = "web"' in (path / "layers" / "config" / "metadata.toml").read_text()
    assert store.compose(config, digest) == path


def test_canonical_json_has_one_form() -> None:
    assert render_config({"b": 1, "a": ["ü"]}) == '{"a":["ü"],"b":1}'.encode()


def test_a_virtual_environment_is_seen_with_this_machines_interpreter(tmp_path: Path) -> None:
    store = LayerStore(root=tmp_path / "store")
    draft = folder(tmp_path / "deps", **{"pyvenv.cfg": b"home = /usr/bin\n"})
    (draft / "bin").mkdir()
    (draft / "bin" / "tool").write_text("#!/bin/sh\n")
    (draft / "bin" / "python").symlink_to("/usr/bin/python3.99")
    (draft / "bin" / "python3").symlink_to("python")
    folder(draft / "lib", module=b"M")
    layer = store.seal(draft, "layers/algo_p/deps")
    config: dict[str, Json] = {
        "layers": [{"diff_id": layer.diff_id, "kind": "layer", "path": "algo_p/deps", "size_bytes": 1}],
        "processes": [],
        "buildpacks": [],
    }
    interpreter = folder(tmp_path / "pythons" / "bin", **{"python3.99": b""}) / "python3.99"
    seen = store.compose(config, image_digest(config), interpreter) / "layers" / "algo_p" / "deps"
    assert (seen / "bin" / "python").readlink() == interpreter
    assert (seen / "bin" / "python3").resolve() == interpreter
    assert (seen / "bin" / "tool").read_text() == "#!/bin/sh\n"
    assert (seen / "lib" / "module").read_bytes() == b"M"
    assert f"home = {interpreter.parent}" in (seen / "pyvenv.cfg").read_text()
    assert (store.layer_path(layer.diff_id) / "bin" / "python").readlink() == Path("/usr/bin/python3.99")
    moved = folder(tmp_path / "newer" / "bin", **{"python3.99": b""}) / "python3.99"
    interpreter.unlink()
    store.compose(config, image_digest(config), moved)
    assert (seen / "bin" / "python").readlink() == moved
