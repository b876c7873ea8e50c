"""When algo/procfile passes, when it stands back without a word, and what it asks for."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildpacks.packs.algo_procfile.build import build
from buildpacks.packs.algo_procfile.detect import detect
from buildpacks.packs.cnb import NOT_MINE, PASS, Context, PackFailed

FLASK = "from flask import Flask\napp = Flask(__name__)\n"
PREDICT = "def predict(x):\n    return x\n"


def context_of(tmp_path: Path, files: Mapping[str, str], env: Mapping[str, str]) -> Context:
    for path, text in files.items():
        (tmp_path / "app" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "app" / path).write_text(text)
    (tmp_path / "layers").mkdir()
    return Context(
        app=str(tmp_path / "app"), layers=str(tmp_path / "layers"), platform="", plan=str(tmp_path / "plan"),
        buildpack="", env=env,
    )  # fmt: skip


def plan_of(tmp_path: Path) -> dict[str, Any]:
    return tomllib.loads((tmp_path / "plan").read_text())


BACK = [
    {"predict.py": PREDICT},
    {"predict.py": PREDICT, "app.py": FLASK},
    {"predict.py": PREDICT, "app.py": FLASK, "main.py": FLASK},
    {"src/algo.py": "def apply(x):\n    return x\n", "page/app.py": FLASK},
    {"README.md": "nothing"},
    {"Dockerfile": "FROM scratch\n", "page/app.py": FLASK},
]


@pytest.mark.parametrize("files", BACK)
def test_it_stands_back_without_a_word(files: dict[str, str], tmp_path: Path) -> None:
    assert detect(context_of(tmp_path, files, {})) == NOT_MINE


@pytest.mark.parametrize("env", [{"BP_MODEL_FILE": "m.onnx"}, {"BP_ENTRYPOINT": "x.py:f"}])
def test_what_the_owner_decided_is_not_looked_at_again(env: dict[str, str], tmp_path: Path) -> None:
    assert detect(context_of(tmp_path, {"app.py": FLASK, "page/app.py": FLASK}, env)) == NOT_MINE


def test_an_app_passes_with_its_command_and_its_packages(tmp_path: Path) -> None:
    assert detect(context_of(tmp_path, {"app.py": FLASK}, {})) == PASS
    plan = plan_of(tmp_path)
    assert plan["provides"] == [{"name": "web"}]
    web, python = plan["requires"]
    assert json.loads(web["metadata"]["web_app"])["file"] == "app.py"
    assert [package["spec"] for package in python["metadata"]["packages"]] == ["flask", "gunicorn"]


def test_a_procfile_that_needs_no_package_asks_for_nothing(tmp_path: Path) -> None:
    assert detect(context_of(tmp_path, {"Procfile": "web: ./serve\n"}, {})) == PASS
    assert plan_of(tmp_path) == {"requires": []}


def test_a_line_that_starts_python_asks_for_it_whatever_else_is_there(tmp_path: Path) -> None:
    assert detect(context_of(tmp_path, {"Procfile": "web: python -m http.server $PORT\n"}, {})) == PASS
    asked = {"name": "python", "metadata": {"packages": []}}
    assert plan_of(tmp_path) == {"requires": [asked], "or": [{"requires": []}]}


def test_a_procfile_without_web_and_without_an_app_asks_somebody_for_it(tmp_path: Path) -> None:
    assert detect(context_of(tmp_path, {"Procfile": "worker: ./work\n"}, {})) == PASS
    assert plan_of(tmp_path) == {"requires": [{"name": "web"}]}


def test_a_file_that_commands_before_the_server_may_bring_is_not_refused(tmp_path: Path) -> None:
    files = {"Procfile": "web: sh get.sh && python app.py\n", "app.py": "open('m.bin')\n"}
    assert detect(context_of(tmp_path, files, {})) == PASS


def test_apps_in_folders_are_refused_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as refused:
        detect(context_of(tmp_path, {"README.md": "", "page/app.py": FLASK}, {}))
    assert refused.value.code == "apps-in-folders"
    assert refused.value.fields["setting"] == "BP_APP_DIR=page"


def test_where_a_model_is_served_only_the_other_process_types_are_built(tmp_path: Path) -> None:
    context = context_of(tmp_path, {"Procfile": "worker: ./work\n", "app.py": FLASK}, {})
    (tmp_path / "plan").write_text("")  # algo/model provides web, too, and got the entry
    assert build(context) == PASS
    launch = tomllib.loads((tmp_path / "layers" / "launch.toml").read_text())
    assert [process["type"] for process in launch["processes"]] == ["worker"]


def test_the_app_of_the_plan_becomes_the_web_process_beside_the_others(tmp_path: Path) -> None:
    context = context_of(tmp_path, {"Procfile": "release: ./migrate\n", "app.py": FLASK}, {})
    assert detect(context) == PASS
    web = plan_of(tmp_path)["requires"][0]["metadata"]["web_app"]
    (tmp_path / "plan").write_text(f"[[entries]]\nname = 'web'\n[entries.metadata]\nweb_app = '''{web}'''\n")
    assert build(context) == PASS
    launch = tomllib.loads((tmp_path / "layers" / "launch.toml").read_text())
    assert [(process["type"], process["default"]) for process in launch["processes"]] == [
        ("release", False),
        ("web", True),
    ]
