"""Our buildpacks under the reference lifecycle, unchanged: what it builds of them serves, outside any server of ours.

And the buildpacks of tests/packs under both lifecycles: what differs stands in docs/buildpacks/reference.md.
"""

from __future__ import annotations

import json
import shutil
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.lifecycle_platform import PACKS
from tests.contract.lifecycle_platform import Platform as OurPlatform
from tests.services.models import SETOSA, VIRGINICA, installed_version, iris_bytes, iris_model
from tests.services.reference import Platform, Site, running_site

pytestmark = pytest.mark.timeout(900)  # whole installations, compressed and unpacked by others' programs

EXAMPLE = Path(__file__).parents[2] / "examples" / "iris"
ROWS = [SETOSA, VIRGINICA]
DETECT_ERROR = 21  # of the lifecycle: no group passed, and a buildpack of one ended with an error


@pytest.fixture(scope="module", name="site")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(name="ours")
def _ours(site: Site, tmp_path: Path) -> Platform:
    """A platform with our buildpacks."""
    platform = Platform(tmp_path / "ours", site)
    platform.add_ours()
    return platform


def iris(folder: Path) -> Path:
    """The example as its README has it made: the model file, its requirements, one input."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "iris.joblib").write_bytes(iris_bytes("joblib"))
    (folder / "requirements.txt").write_text(f"scikit-learn=={installed_version('scikit-learn')}\n")
    for name in ("train.py", "example.json"):
        shutil.copyfile(EXAMPLE / name, folder / name)
    return folder


def predictions(url: str) -> Any:
    request = urllib.request.Request(f"{url}/predict", json.dumps({"instances": ROWS}).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def test_the_example_app_is_built_exported_and_served_by_the_reference_lifecycle(
    ours: Platform, tmp_path: Path
) -> None:
    app = iris(tmp_path / "iris")
    first = ours.build(app)
    assert first.status == 0, first.log
    assert "algo/python 0.1.0\nalgo/model  0.1.0\n" in first.log
    assert "-----> Model: iris.joblib" in first.log
    with ours.serving(ready_path="/readyz") as url:
        assert predictions(url) == iris_model().predict(ROWS).tolist()

    shutil.copyfile(EXAMPLE / "steps" / "names" / "predict.py", app / "predict.py")
    second = ours.build(app)
    assert second.status == 0, second.log
    assert "-----> Dependencies: reused, requirements.txt unchanged" in second.log
    for layer in ("algo/python:deps", "algo/model:runtime"):
        assert f"Reusing layer '{layer}'" in second.log
    with ours.serving(ready_path="/readyz") as url:
        assert predictions(url) == ["setosa", "virginica"]


def test_a_procfile_is_started_by_the_reference_launcher(ours: Platform, tmp_path: Path) -> None:
    app = tmp_path / "site"
    app.mkdir()
    (app / "Procfile").write_text("web: python3 server.py --port=$PORT\n")
    (app / "server.py").write_text(
        "import http.server, sys\n"
        "port = int(sys.argv[1].removeprefix('--port='))\n"
        "http.server.ThreadingHTTPServer(('', port), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    (app / "index.html").write_text("by the launcher")
    built = ours.build(app)
    assert built.status == 0, built.log
    with ours.serving() as url, urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == b"by the launcher"


def test_a_refusal_is_told_in_our_words_on_a_platform_that_has_none(ours: Platform, tmp_path: Path) -> None:
    app = iris(tmp_path / "iris")
    shutil.copyfile(app / "model" / "iris.joblib", app / "model" / "other.joblib")
    refused = ours.build(app)
    assert refused.status == DETECT_ERROR, refused.log
    lines = [line for line in refused.log.splitlines() if line.startswith(" !     ")]
    assert lines[0] == " !     more than one model"
    assert "model/iris.joblib (scikit-learn Pipeline), model/other.joblib (scikit-learn Pipeline)" in lines[1]
    assert lines[2].startswith(" !     algo config set BP_MODEL_FILE=model/iris.joblib")


# -- the buildpacks of tests/packs under both lifecycles

FILES = {"plain.txt": "plain", "shell.txt": "", "static/page": "page", "sub/x": ""}


def theirs(root: Path, site: Site) -> Platform:
    """A platform with the buildpacks of tests/packs."""
    platform = Platform(root, site)
    for name in ("tools", "server", "shell", "all"):
        head = tomllib.loads((PACKS / name / "buildpack.toml").read_text())["buildpack"]
        platform.add(PACKS / name, head["id"], head["version"])
    (platform.cnb / "order.toml").write_text('[[order]]\n[[order.group]]\nid = "demo/all"\nversion = "1.0.0"\n')
    return platform


def app_of(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def said(log: str) -> list[str]:
    """What the buildpacks wrote."""
    return [line for line in log.splitlines() if line.startswith(("tools: ", "server: ", "shell: "))]


def tree(folder: Path) -> dict[str, object]:
    """Path -> contents of every file that buildpacks left: documents by value, others as bytes and mode."""
    found: dict[str, object] = {}
    for path in sorted(folder.glob("demo_*/**/*")):
        if path.is_file():
            is_document = path.suffix == ".toml"
            what = tomllib.loads(path.read_text()) if is_document else (path.read_bytes(), path.stat().st_mode & 0o777)
            found[str(path.relative_to(folder))] = what
    return found


def facts(metadata: dict[str, Any]) -> dict[str, object]:
    """What a launcher reads of metadata.toml, in one form.

    Why  ours puts the arguments of a process below API 0.9 behind its command, where its launcher would put them, too
    """
    processes = {}
    for process in metadata["processes"]:
        command, arguments = process["command"], process.get("args", [])
        started = [command + arguments] if process["buildpack-id"] == "demo/shell" else [command, arguments]
        processes[process["type"]] = [*started, process["direct"], process.get("working-dir", "")]
    return {
        "default": metadata["buildpack-default-process-type"],
        "buildpacks": [(pack["id"], pack["version"]) for pack in metadata["buildpacks"]],
        "processes": processes,
        "order": [process["type"] for process in metadata["processes"]],
        "slices": metadata["slices"],
    }


def test_both_lifecycles_leave_the_same_layers_and_the_same_metadata(site: Site, tmp_path: Path) -> None:
    platform = theirs(tmp_path / "theirs", site)
    built = platform.build(app_of(tmp_path / "app"))
    assert built.status == 0, built.log
    mine = OurPlatform(tmp_path / "mine", files=FILES)
    house = mine.house()
    status, _, log = house.run("demo/all")
    assert status == 0, log
    assert said(log) == said(built.log)
    assert tree(house.root / "layers") == tree(platform.layers)
    image = mine.export(house)
    metadata = "layers/config/metadata.toml"
    here = tomllib.loads((mine.store.compose(image.config, image.digest) / metadata).read_text())
    there = tomllib.loads((platform.layers / metadata.removeprefix("layers/")).read_text())
    assert facts(here) == facts(there)


def test_both_lifecycles_restore_and_launch_alike(site: Site, tmp_path: Path) -> None:
    platform = theirs(tmp_path / "theirs", site)
    mine = OurPlatform(tmp_path / "mine", files=FILES)
    for has_cache in (True, True, False):
        if not has_cache:
            platform.forget_cache()
            mine.forget_cache()
        built = platform.build(app_of(tmp_path / "app"))
        assert built.status == 0, built.log
        mine.build("demo/all")
        # The reference restores the SBOM of a layer that does not come back, where another layer of its buildpack does.
        differs = [] if has_cache else ["tools: SBOM restored"]
        assert sorted(said(mine.log) + differs) == sorted(said(built.log))
    for process in ("worker", "task", "words", "plain"):
        folder = mine.command(process)[2]
        here = mine.run(process).stdout.strip()
        in_image = here.replace(str(folder), "/workspace").replace(f"profile in {folder.name}", "profile in workspace")
        assert platform.says(process) == in_image, process
