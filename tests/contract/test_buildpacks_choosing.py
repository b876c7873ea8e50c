"""Apps that choose their buildpacks, through the real lifecycle: classic ones, folders, inline scripts, packages."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from buildpacks.build import build
from buildpacks.choosing.bring import pins_of
from buildpacks.choosing.values import Source, Terms
from buildpacks.ground import HOST
from buildpacks.image.config import render_config
from buildpacks.image.registry import RegistryOptions
from buildpacks.image.store import LayerStore
from buildpacks.order import BuildFailed, BuildOrder, BuiltImage
from tests.contract.kitchen_house import INSTALL_ENV, RUNTIME, Kitchen, run_plain
from tests.contract.registry_house import image_of, layer_of, plain, push
from tests.services.registry import RealRegistry

PACKS = Path(__file__).parents[1] / "packs"


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(state=tmp_path)


def pack_files(name: str) -> dict[str, bytes | str]:
    """A buildpack of tests/packs as files of a repository."""
    return {
        f"buildpacks/{path.relative_to(PACKS).as_posix()}": path.read_bytes()
        for path in sorted((PACKS / name).rglob("*"))
        if path.is_file()
    }


CLASSIC: Mapping[str, bytes | str] = {
    **pack_files("classic-tool"),
    **pack_files("classic-web"),
    "tool.txt": "",
    ".buildpacks": "./buildpacks/classic-tool\n# the server\n./buildpacks/classic-web\n",
}


def commands(built: BuiltImage) -> dict[str, object]:
    found = built.config["processes"]
    assert isinstance(found, list)
    return {str(item["type"]): item["command"] for item in found if isinstance(item, dict)}


def layer(kitchen: Kitchen, built: BuiltImage, kind: str, path: str = "") -> Path:
    """The sealed folder of one layer."""
    for item in built.config["layers"]:  # type: ignore[union-attr]  # a list in every document
        if (item["kind"], item["path"]) == (kind, path):  # type: ignore[index,call-overload]  # of tables
            return LayerStore(root=kitchen.state).layer_path(str(item["diff_id"]))  # type: ignore[index,call-overload]  # of tables
    raise AssertionError(f"no layer {path}")


@pytest.mark.conformance("2-detect", "2-compile", "2-export", "2-report", "2-settings", "2-folder", "2-list")
def test_classic_buildpacks_build_one_after_the_other_and_the_second_sees_what_the_first_exports(
    kitchen: Kitchen,
) -> None:
    built = kitchen.build(CLASSIC, platform_env={"BP_GREETING": "hello"})
    log = "\n".join(kitchen.log)
    assert "-----> Buildpacks, chosen by .buildpacks: ./buildpacks/classic-tool, ./buildpacks/classic-web" in log
    # Its working directory is its own folder, configuration is files and not variables.
    assert "-----> tool: cwd has compile, stack heroku-22, source none" in log
    assert "       env dir: BP_GREETING " in log
    assert "       exported: no, git dir: unset" in log
    assert "-----> Web, behind tool 7 app detected" in log
    assert "-----> web: tool version 7, on PATH: yes" in log
    assert "       classic-tool: tool.version: 7" in log
    assert commands(built) == {"web": ["python3 server.py $PORT"], "worker": ["echo it's work"]}
    assert [child.trusted for child in kitchen.children] == [False]


@pytest.mark.conformance("2-compile", "2-folder")
def test_what_compile_leaves_ships_and_programs_built_below_app_find_their_interpreter(kitchen: Kitchen) -> None:
    app = layer(kitchen, kitchen.build(CLASSIC, platform_env={"BP_GREETING": "hello"}), "app")
    assert (app / "greeting.txt").read_text() == "hello"
    assert (app / ".tool/bin/tool").read_text() == "#!/usr/bin/env sh-here\necho tool\n"


@pytest.mark.conformance("2-profile", "2-settings")
def test_profile_scripts_variables_and_dyno_reach_the_launch_layer(kitchen: Kitchen) -> None:
    built = kitchen.build(CLASSIC)
    first = layer(kitchen, built, "layer", "classic_classic-tool/profile")
    second = layer(kitchen, built, "layer", "classic_classic-web/profile")
    assert sorted(path.name for path in (first / "profile.d").iterdir()) == ["000-home.sh", "tool.sh"]
    assert sorted(path.name for path in (second / "profile.d").iterdir()) == ["000-home.sh", "web.sh"]
    assert (second / "env.launch/WEB_MODE.default").read_text() == "fast one"
    assert (second / "env.launch/web/DYNO.default").read_text() == "web.1"
    shell = 'for f in "$@"; do . "$f"; done; echo "$TOOL_HOME $WEB_READY"'
    scripts = [str(path) for folder in (first, second) for path in sorted((folder / "profile.d").iterdir())]
    app = layer(kitchen, built, "app")
    done = subprocess.run(["bash", "-c", shell, "x", *scripts], cwd=app, capture_output=True, text=True, check=True)
    assert done.stdout == f"{app}/.tool yes\n"


@pytest.mark.conformance("2-compile")
def test_the_cache_folder_of_a_classic_buildpack_lasts_from_build_to_build(kitchen: Kitchen) -> None:
    first = kitchen.build(CLASSIC)
    kitchen.build(CLASSIC, previous=first)
    assert "       run number 2" in kitchen.log


def test_the_same_app_gives_the_same_image_twice(kitchen: Kitchen, tmp_path: Path) -> None:
    other = Kitchen(state=tmp_path / "other")
    web_only = {**CLASSIC, ".buildpacks": "./buildpacks/classic-web\n"}
    assert kitchen.build(web_only).digest == other.build(web_only).digest


@pytest.mark.conformance("2-release")
def test_a_procfile_overrides_what_a_release_says(kitchen: Kitchen) -> None:
    built = kitchen.build({**CLASSIC, "Procfile": "web: python3 other.py\n"})
    assert commands(built) == {"web": ["python3 other.py"], "worker": ["echo it's work"]}


@pytest.mark.conformance("2-list")
def test_slugignore_applies_before_the_first_compile(kitchen: Kitchen) -> None:
    built = kitchen.build({**CLASSIC, ".slugignore": "*.psd\n/docs\n", "a/b.psd": "x", "docs/c.md": "x"})
    app = layer(kitchen, built, "app")
    assert not (app / "docs").exists()
    assert not (app / "a/b.psd").exists()
    assert "       .slugignore leaves out 2 files and folders" in kitchen.log


@pytest.mark.conformance("2-detect")
def test_a_chosen_buildpack_that_does_not_know_the_app_ends_the_push(kitchen: Kitchen) -> None:
    files = {path: data for path, data in CLASSIC.items() if path != "tool.txt"}
    code, fields = kitchen.failed(files)
    assert (code, fields["buildpack"], fields["output"]) == ("classic-detect-failed", "classic-tool", "no tool.txt")


@pytest.mark.conformance("2-report")
def test_a_compile_that_fails_is_named_and_its_report_is_still_read(kitchen: Kitchen) -> None:
    code, fields = kitchen.failed({**CLASSIC, "fail.txt": ""})
    assert (code, fields) == ("classic-compile-failed", {"buildpack": "classic-web", "status": 7})
    assert "       this app cannot be built" in kitchen.log
    assert "       classic-web: web.report: seen" in kitchen.log


def test_a_folder_of_the_repository_is_a_buildpack(kitchen: Kitchen) -> None:
    project = '[[io.buildpacks.group]]\nuri = "buildpacks/hello"\n'
    built = kitchen.build({**pack_files("hello"), "project.toml": project})
    assert built.config["buildpacks"] == [{"id": "team/hello", "version": "1.0.0", "api": "0.10"}]
    assert kitchen.log[0] == "-----> Buildpacks, chosen by project.toml: buildpacks/hello"
    assert built.config["choice"] == {
        "by": "project.toml",
        "sources": [{"asked": "buildpacks/hello", "id": "team/hello", "version": "1.0.0", "pin": ""}],
    }


INLINE = """
[[io.buildpacks.pre.group]]
id = "team/note"
[io.buildpacks.pre.group.script]
api = "0.10"
inline = "echo noted > note.txt; echo '-----> noted'"
"""


@pytest.mark.conformance("1.9-project")
def test_a_script_in_project_toml_runs_before_what_is_detected(kitchen: Kitchen) -> None:
    built = kitchen.build({"project.toml": INLINE, "Procfile": "web: python3 -m http.server $PORT\n"})
    assert (layer(kitchen, built, "app") / "note.txt").read_text() == "noted\n"
    assert kitchen.log[0] == "-----> Buildpacks, chosen by project.toml: team/note, what is detected"
    packs = built.config["buildpacks"]
    assert isinstance(packs, list)
    assert [pack["id"] for pack in packs if isinstance(pack, dict)] == [
        "team/note", "algo/python", "algo/procfile",
    ]  # fmt: skip


def test_own_buildpacks_alone_are_a_trusted_build(kitchen: Kitchen) -> None:
    built = kitchen.build({"Procfile": "web: python3 -m http.server $PORT\n", ".buildpacks": "algo/procfile\n"})
    assert [child.trusted for child in kitchen.children] == [True]
    assert built.config["buildpacks"] != []


def test_exclude_leaves_files_out_of_the_image(kitchen: Kitchen) -> None:
    project = '[io.buildpacks]\nexclude = ["*.csv"]\n'
    files = {"project.toml": project, "Procfile": "web: x\n", "data/a.csv": "1", "data/b.txt": "2"}
    app = layer(kitchen, kitchen.build(files), "app")
    assert sorted(path.name for path in (app / "data").iterdir()) == ["b.txt"]


def make_package(folder: Path, label: str | None) -> bytes:
    """A `.cnb` file of tests/packs/hello, as `pack buildpack package --format file` lays it out."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        tar.add(folder, arcname="cnb/buildpacks/team_hello/1.0.0")
    layer_tar = inner.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(layer_tar)]},
        "config": {"Labels": {} if label is None else {"io.buildpacks.buildpackage.metadata": label}},
    }).encode()  # fmt: skip
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [described(layer_tar, "application/vnd.oci.image.layer.v1.tar")],
    }).encode()  # fmt: skip
    index = json.dumps({
        "schemaVersion": 2, "manifests": [described(manifest, "application/vnd.oci.image.manifest.v1+json")],
    }).encode()  # fmt: skip
    blobs = {f"blobs/sha256/{digest(data).removeprefix('sha256:')}": data for data in (layer_tar, config, manifest)}
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w") as tar:
        for name, data in {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return outer.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def described(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


@pytest.mark.conformance("1.9-buildpackage")
def test_a_packaged_buildpack_in_the_repository_is_unpacked_and_used(kitchen: Kitchen) -> None:
    label = json.dumps({"id": "team/hello", "version": "1.0.0"})
    built = kitchen.build(
        {"tools/hello.cnb": make_package(PACKS / "hello", label), ".buildpacks": "./tools/hello.cnb\n"}
    )
    assert "-----> hello from a buildpack" in kitchen.log
    assert built.config["buildpacks"] == [{"id": "team/hello", "version": "1.0.0", "api": "0.10"}]


@pytest.mark.conformance("1.9-buildpackage")
def test_a_package_in_a_registry_is_pulled_and_stays_at_its_digest(tmp_path: Path) -> None:
    registry = RealRegistry(home=tmp_path / "registry")
    registry.start()
    try:
        publish(registry, tmp_path, "one")
        first, log = image_build(tmp_path, registry, 1, None)
        assert "-----> hello from one" in log
        publish(registry, tmp_path, "two")
        _, log = image_build(tmp_path, registry, 2, first)
        assert "-----> hello from one" in log
        _, log = image_build(tmp_path, registry, 3, None)
        assert "-----> hello from two" in log
    finally:
        registry.stop()


def publish(registry: RealRegistry, state: Path, name: str) -> None:
    """Push a package that tells its name as an image, its label included."""
    folder = state / name
    shutil.copytree(PACKS / "hello", folder)
    (folder / "name.txt").write_text(name)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        tar.add(folder, arcname="cnb/buildpacks/team_hello/1.0.0")
    image = image_of(layer_of(inner.getvalue()))
    config = json.loads(image.config)
    config["config"] = {"Labels": {"io.buildpacks.buildpackage.metadata": '{"id": "team/hello", "version": "1.0.0"}'}}
    labelled = replace(image, config=render_config(config))
    push(labelled, plain(registry.name), state / "blobs", repository="packs/hello", tags=["v1"])


def image_build(
    state: Path, registry: RealRegistry, number: int, previous: BuiltImage | None
) -> tuple[BuiltImage, list[str]]:
    source = f"docker://{registry.name}/packs/hello:v1"
    terms = Terms(
        allowed=f"docker://{registry.name}/", store_dir=state / "buildpacks",
        registry=RegistryOptions(plain_http=frozenset({registry.name})),
        pins=pins_of(previous.config if previous else None),
    )  # fmt: skip
    return plain_build(state, number, source, terms)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no tar", "not a tar|file could not be opened|truncated|invalid"),
        (make_package(PACKS / "hello", None), "no label"),
        (make_package(PACKS / "hello", '{"id": "team/other", "version": "1"}'), "does not hold it"),
    ],
)
def test_a_package_that_is_none_is_refused(kitchen: Kitchen, data: bytes, reason: str) -> None:
    code, fields = kitchen.failed({"x.cnb": data, ".buildpacks": "./x.cnb\n"})
    assert code == "buildpack-package-bad"
    assert any(part in str(fields["reason"]) for part in reason.split("|")), fields


@dataclass
class Remote:
    """A repository elsewhere whose branch moves: the state that matters is where it is now, and who asked."""

    commit: str = "1" * 40
    asked: list[str] = field(default_factory=list)

    def resolve(self, source: Source) -> str:
        self.asked.append(f"resolve {source.location}")
        return self.commit

    def fetch(self, source: Source, commit: str, into: Path) -> None:
        self.asked.append(f"fetch {commit[:1]}")
        (into / "bin").mkdir(parents=True)
        for path in (PACKS / "hello").rglob("*"):
            if path.is_file():
                target = into / path.relative_to(PACKS / "hello")
                target.write_bytes(path.read_bytes())
                target.chmod(0o755 if path.parent.name == "bin" else 0o644)
        (into / "name.txt").write_text(f"{source.location} at {commit[:1]}")


def remote_build(
    state: Path, remote: Remote, number: int, *, allowed: str, previous: BuiltImage | None = None, upgrade: bool = False
) -> tuple[BuiltImage, list[str]]:
    pins = pins_of(previous.config if previous else None)
    terms = Terms(allowed=allowed, store_dir=state / "buildpacks", git=remote, pins=pins)
    return plain_build(state, number, "https://example.com/team/hello#main", terms, upgrade=upgrade)


def plain_build(
    state: Path, number: int, source: str, terms: Terms, *, upgrade: bool = False
) -> tuple[BuiltImage, list[str]]:
    """One build of an app that names one source; image and log."""
    app, work, log = state / f"app{number}", state / f"work{number}", list[str]()
    app.mkdir(parents=True)
    work.mkdir()
    (app / ".buildpacks").write_text(f"{source}\n")
    for name in ("cache", "wheels"):
        (state / name).mkdir(exist_ok=True)
    order = BuildOrder(
        app_key="1", app_dir=app, work_dir=work, cache_dir=state / "cache", wheel_dir=state / "wheels", store_dir=state,
        previous=None, platform_env={}, install_env=INSTALL_ENV, runtime_dir=RUNTIME, big_files={}, timeout_s=60,
        ground=HOST, upgrade=upgrade, terms=terms,
    )  # fmt: skip
    return build(order, run_plain, log.append), log


def test_a_repository_elsewhere_stays_at_its_commit_until_an_upgrade(tmp_path: Path) -> None:
    remote = Remote()
    first, log = remote_build(tmp_path, remote, 1, allowed="https://example.com/team/")
    assert log[0] == ("-----> Buildpacks, chosen by .buildpacks: https://example.com/team/hello#main at 111111111111")
    assert "-----> hello from https://example.com/team/hello at 1" in log
    remote.commit = "2" * 40
    second, log = remote_build(tmp_path, remote, 2, allowed="any", previous=first)
    assert "-----> hello from https://example.com/team/hello at 1" in log
    assert remote.asked == ["resolve https://example.com/team/hello", "fetch 1"]
    third, log = remote_build(tmp_path, remote, 3, allowed="any", previous=second, upgrade=True)
    assert "-----> hello from https://example.com/team/hello at 2" in log
    assert first.config["choice"] == second.config["choice"] != third.config["choice"]


def test_nothing_is_fetched_that_the_operator_does_not_allow(tmp_path: Path) -> None:
    remote = Remote()
    with pytest.raises(BuildFailed) as caught:
        remote_build(tmp_path, remote, 1, allowed="repository")
    assert caught.value.code == "buildpack-not-allowed"
    assert caught.value.fields == {
        "buildpack": "https://example.com/team/hello#main", "asked_by": ".buildpacks line 1", "setting": "repository",
    }  # fmt: skip
    assert remote.asked == []


def test_passwords_of_indexes_are_not_for_buildpacks_of_strangers(kitchen: Kitchen) -> None:
    script = INLINE.replace("echo noted > note.txt", "env | grep -e INDEX -e PROXY > note.txt")
    files = {"project.toml": script, "Procfile": "web: x\n"}
    env = {"UV_INDEX_URL": "https://me:p@hunter2@index.example/simple", "HTTP_PROXY": "me:hunter2@proxy.example:1"}
    built = kitchen.build(files, install_env=env)
    seen = (layer(kitchen, built, "app") / "note.txt").read_text()
    assert seen.count("=https://index.example/simple\n") == seen.count("=proxy.example:1\n") == 1
    assert "hunter2" not in seen


def test_two_different_buildpacks_of_one_name_are_refused(kitchen: Kitchen) -> None:
    second = {path.replace("hello/", "other/"): data for path, data in pack_files("hello").items()}
    code, fields = kitchen.failed(
        {**pack_files("hello"), **second, ".buildpacks": "./buildpacks/hello\n./buildpacks/other\n"}
    )
    assert (code, fields) == (
        "buildpack-twice", {"first": ".buildpacks line 1", "second": ".buildpacks line 2", "id": "team/hello"},
    )  # fmt: skip
