"""From trees to images with the real lifecycle, real buildpacks, real uv and a real package index."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from buildpacks.order import BigFile, BuiltImage
from buildpacks.toolchain import find_toolchain
from tests.contract.kitchen_house import INSTALL_ENV, Kitchen, layers, run_in, text

SKLEARN = str(sklearn.__version__)
POISON = {"PYTHONPATH": "/poison", "PIP_TARGET": "/poison", "VIRTUAL_ENV": "/poison"}

PREDICT = "def predict(x):\n    return x\n"


@pytest.fixture(name="kitchen", scope="module")
def _kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(state=tmp_path_factory.mktemp("state"))


@pytest.fixture(name="iris", scope="module")
def _iris(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("iris") / "m.joblib"
    joblib.dump(LogisticRegression(max_iter=300).fit(*load_iris(return_X_y=True)), path)
    return path.read_bytes()


@pytest.fixture(name="bare", scope="module")
def _bare(kitchen: Kitchen, iris: bytes) -> BuiltImage:
    built = kitchen.build({"model/iris.joblib": iris, "example.json": "[[1, 2, 3, 4]]"})
    kitchen.first_log = text(kitchen)
    return built


def test_a_bare_model_gets_what_it_needs_and_the_log_says_why(kitchen: Kitchen, bare: BuiltImage) -> None:
    assert re.fullmatch(
        r"-----> Detected Python 3\.\d+ \(default\)\n"
        rf"       Added scikit-learn=={re.escape(SKLEARN)}: model/iris\.joblib was written by it\n"
        r"-----> Dependencies: installed \d+ packages \(SIZE, TIME\)\n"
        rf"-----> Model: iris\.joblib [\d.]+ k?B, scikit-learn LogisticRegression, input \(n, 4\), "
        rf"written by scikit-learn {re.escape(SKLEARN)}\n"
        r"       Found by pickle",
        kitchen.first_log,
    )
    model = bare.config["model"]
    assert isinstance(model, dict)
    assert model["serve"] == {
        "kind": "model-file", "file": None, "name": None, "model_file": "model/iris.joblib", "framework": "sklearn",
        "format": "pickle", "written_by": f"scikit-learn {SKLEARN}", "example": "example.json", "tests": None,
    }  # fmt: skip
    assert list(layers(bare)) == [
        ("layer", "algo_python/deps"), ("layer", "algo_model/runtime"), ("layer", "algo_model/serve"),
        ("slice", "model/iris.joblib"), ("app", ""),
    ]  # fmt: skip


def test_the_image_loads_the_model_with_its_own_python(kitchen: Kitchen, bare: BuiltImage) -> None:
    code = (
        "import os, json, joblib, sys, _gitserver_runtime; serve = json.loads(os.environ['ALGO_SERVE']); "
        "print(joblib.load(serve['model_file']).predict([[5.1, 3.5, 1.4, 0.2]]), sys.prefix.endswith('deps'))"
    )
    assert run_in(kitchen, bare, "-P", "-c", code) == "[0] True\n"


def test_an_unchanged_lock_installs_nothing_and_moves_no_byte(kitchen: Kitchen, iris: bytes, bare: BuiltImage) -> None:
    again = kitchen.build(
        {"model/iris.joblib": iris, "example.json": "[[1, 2, 3, 4]]", "README.md": "changed"}, previous=bare,
        # Nothing could be fetched: an index that answers nobody.
        install_env={"UV_DEFAULT_INDEX": INSTALL_ENV.get("UV_DEFAULT_INDEX", ""), "UV_OFFLINE": "1"}
        if "UV_DEFAULT_INDEX" in INSTALL_ENV else {"UV_OFFLINE": "1"},
    )  # fmt: skip
    assert "-----> Dependencies: reused, the same versions as before (" in text(kitchen)
    assert "MB, 0 bytes moved)" in text(kitchen)
    before, after = layers(bare), layers(again)
    assert {key for key in before if before[key] != after[key]} == {("app", "")}


def test_a_layer_that_the_store_lost_is_made_again(kitchen: Kitchen, bare: BuiltImage, iris: bytes) -> None:
    name = layers(bare)["layer", "algo_model/runtime"].removeprefix("sha256:")
    shutil.move(kitchen.state / "layers" / "sha256" / name, kitchen.state / "lost")
    again = kitchen.build({"model/iris.joblib": iris, "example.json": "[[1, 2, 3, 4]]"}, previous=bare)
    assert again.digest == bare.digest
    assert (kitchen.state / "layers" / "sha256" / name).is_dir()


def tree_bytes(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_two_builds_on_two_state_folders_are_the_same_bytes(kitchen: Kitchen, tmp_path: Path) -> None:
    files = {"predict.py": PREDICT, "requirements.txt": "flask==3.1.0\njoblib\n"}
    other = Kitchen(state=tmp_path / "quite" / "another" / "place")
    other.state.mkdir(parents=True)
    one, two = kitchen.build(files), other.build(files)
    deps = [layers(built)["layer", "algo_python/deps"].removeprefix("sha256:") for built in (one, two)]
    trees = [tree_bytes(k.state / "layers" / "sha256" / name) for k, name in zip((kitchen, other), deps, strict=True)]
    assert {path for path in trees[0] if trees[0][path] != trees[1].get(path)} == set()
    assert any(path.endswith(".pyc") for path in trees[0])
    assert one.digest == two.digest


def test_console_scripts_work_wherever_the_layer_lies(kitchen: Kitchen) -> None:
    built = kitchen.build({"predict.py": PREDICT})
    code = "import subprocess; print(subprocess.run(['flask', '--version'], capture_output=True, text=True).stdout)"
    assert "Flask" in run_in(kitchen, built, "-c", code)


def test_a_big_file_is_a_layer_of_its_own_that_is_only_linked(kitchen: Kitchen, iris: bytes, bare: BuiltImage) -> None:
    blob = kitchen.state / "blob"
    blob.write_bytes(iris)
    big = {"model/big.joblib": BigFile(git_oid="b" * 40, host_path=blob, size_bytes=len(iris))}
    built = kitchen.build({"predict.py": PREDICT}, big=big, previous=bare)
    served = kitchen.image(built) / "app" / "model" / "big.joblib"
    assert served.stat().st_ino == blob.stat().st_ino
    assert ("slice", "model/big.joblib") in layers(built)


def test_a_wheel_that_is_missing_is_built_with_the_apps_own_rights(kitchen: Kitchen) -> None:
    kitchen.children.clear()
    kitchen.build({"predict.py": PREDICT, "requirements.txt": "wget==3.2\n"})
    assert [child.trusted for child in kitchen.children] == [True, False]
    assert kitchen.state / "cache" / "wheels" not in kitchen.children[1].writable
    assert re.search(r"       wget has no wheel for Python 3\.\d+\.\d+: building from source", text(kitchen))


def test_a_procfile_web_process_decides(kitchen: Kitchen, iris: bytes) -> None:
    built = kitchen.build({
        "model/m.joblib": iris, "app.py": "print(1)\n",
        "Procfile": "web: python app.py --port $PORT\nworker: python app.py\n",
    })  # fmt: skip
    processes = built.config["processes"]
    assert isinstance(processes, list)
    assert [(p["type"], p["command"], p["default"]) for p in processes if isinstance(p, dict)] == [
        ("web", ["bash", "-c", "python app.py --port $PORT"], True), ("worker", ["python", "app.py"], False),
    ]  # fmt: skip
    assert built.config["model"] is None
    assert "-----> Procfile: web, worker" in text(kitchen)


def test_a_working_copys_litter_stays_out(kitchen: Kitchen) -> None:
    built = kitchen.build({
        "predict.py": PREDICT, "__pycache__/predict.pyc": b"x", "env/pyvenv.cfg": "", ".venv/bin/python": "",
    })  # fmt: skip
    assert kitchen.log[0] == "       Left out of the image: .venv, __pycache__, env"
    assert [path.name for path in (kitchen.image(built) / "app").iterdir()] == ["predict.py"]


def test_a_model_that_another_version_wrote_is_said_before_it_fails(
    kitchen: Kitchen, iris: bytes, bare: BuiltImage
) -> None:
    stale = iris.replace(SKLEARN.encode(), b"1.0.1".ljust(len(SKLEARN), b"0"))
    kitchen.build({"model/m.joblib": stale, "requirements.txt": f"scikit-learn=={SKLEARN}\n"}, previous=bare)
    assert "-----> Dependencies: reused, the same versions as before (" in text(
        kitchen
    )  # another question, same answer
    old = "1.0.1".ljust(len(SKLEARN), "0")
    warning = f"       Warning: model/m.joblib was written by scikit-learn {old}, and {SKLEARN} will load it"
    (line,) = [line for line in kitchen.log if line.startswith(warning)]
    assert f"scikit-learn=={old}" in line, "with the line that mends it"


def test_pyproject_and_its_lock_are_installed_as_locked(kitchen: Kitchen, tmp_path: Path) -> None:
    project = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["markupsafe<3"]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    tools = find_toolchain()
    subprocess.run(
        [tools.uv, "lock", "--python", tools.python, "--quiet"], cwd=tmp_path, check=True, timeout=120,
        env={**INSTALL_ENV, "PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(tmp_path / "c")},
    )  # fmt: skip
    files = {"predict.py": PREDICT, "pyproject.toml": project, "uv.lock": (tmp_path / "uv.lock").read_text()}
    built = kitchen.build(files)
    assert run_in(kitchen, built, "-c", "import markupsafe as m; print(m.__version__[0])") == "2\n"
    assert "(requires-python >=3.9 in pyproject.toml)" in kitchen.log[0]


BAD: dict[str, tuple[dict[str, bytes | str], str, dict[str, object]]] = {
    "empty tree": ({}, "nothing-to-serve", {"found": ["nothing"]}),
    "nothing known": ({"README.md": "x"}, "nothing-to-serve", {"found": ["README.md"]}),
    "syntax error": (
        {"predict.py": "def predict(x:\n"}, "syntax-error",
        {"file": "predict.py", "line": 1, "text": "def predict(x:", "message": "'(' was never closed"},
    ),
    "pointer": (
        {"model/m.joblib": "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12345\n"}, "lfs-pointer",
        {"path": "model/m.joblib", "size": 12345},
    ),
    "no such package": (
        {"predict.py": PREDICT, "requirements.txt": "flask\n\nno-such-package-zzz-algo\n"}, "requirement-missing",
        {"name": "no-such-package-zzz-algo", "where": "requirements.txt line 3", "text": "no-such-package-zzz-algo"},
    ),
    "bad line": (
        {"predict.py": PREDICT, "requirements.txt": "numpy\nflask=>3\n"}, "requirements-syntax",
        {"file": "requirements.txt", "line": 2, "text": "flask=>3",
         "message": 'no such comparison operator "=>", must be one of ~= == != <= >= < > ==='},
    ),
    "no web": ({"Procfile": "worker: x\n"}, "procfile-no-web", {"types": ["worker"]}),
    "bad Procfile": ({"Procfile": "web: x\nrubbish\n"}, "procfile-syntax", {"line": 2, "text": "rubbish"}),
    "two managers": (
        {"predict.py": PREDICT, "requirements.txt": "", "uv.lock": ""}, "two-managers",
        {"first": "requirements.txt", "second": "uv.lock"},
    ),
    "other framework": (
        {"model/m.tflite": b"\x1c\0\0\0TFL3" + bytes(64)}, "framework-not-served",
        {"path": "model/m.tflite", "framework": "TensorFlow Lite"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_clear_failure(kitchen: Kitchen, name: str) -> None:
    files, code, fields = BAD[name]
    found, told = kitchen.failed(files)
    assert (found, {name: told.get(name) for name in fields}) == (code, fields)


def test_two_models_of_different_frameworks_are_never_guessed(kitchen: Kitchen, iris: bytes, bare: BuiltImage) -> None:
    files: dict[str, bytes | str] = {"model/a.joblib": iris, "model/b.json": '{"learner":{"a":1},"version":[3,2,0]}'}
    assert kitchen.failed(files) == (
        "ambiguous-models",
        {
            "models": ["model/a.joblib (scikit-learn LogisticRegression)", "model/b.json (XGBoost Booster (JSON))"],
            "setting": "BP_MODEL_FILE=model/a.joblib",
        },
    )
    built = kitchen.build(files, platform_env={"BP_MODEL_FILE": "model/a.joblib"}, previous=bare)
    assert isinstance(built.config["model"], dict)


def test_two_requirements_that_contradict_each_other_are_both_named(kitchen: Kitchen) -> None:
    code, fields = kitchen.failed({"predict.py": PREDICT, "requirements.txt": "flask==3.0.0\nwerkzeug<2\n"})
    assert code == "requirements-conflict"
    assert fields["lines"] == ["flask==3.0.0 (requirements.txt line 1)", "werkzeug<2 (requirements.txt line 2)"]


def test_an_index_that_does_not_answer_is_the_operators_matter(kitchen: Kitchen) -> None:
    code, fields = kitchen.failed(
        {"predict.py": PREDICT, "requirements.txt": "flask==2.3.0\n"},
        install_env={"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"},
    )
    assert (code, fields["url"]) == ("index-unreachable", "http://127.0.0.1:9/simple/flask/")


def test_sec_38_a_build_never_runs_a_pickle(kitchen: Kitchen, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    data = b"cos\nmkdir\n(S'" + str(canary).encode() + b"'\ntR."
    hostile = pickle.PROTO + b"\x04" + data
    code, _ = kitchen.failed({"model/m.pkl": hostile})
    assert code == "framework-not-served"
    assert not canary.exists()


def test_sec_58_a_setting_of_the_app_cannot_replace_the_servers_tools(kitchen: Kitchen, tmp_path: Path) -> None:
    evil = tmp_path / "uv"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    evil.chmod(0o755)
    kitchen.build(
        {"predict.py": PREDICT},
        platform_env={
            "BP_UV": str(evil),
            "BP_PYTHONS": str(evil),
            "BP_RUNTIME_DIR": str(tmp_path),
            "LD_PRELOAD": str(evil),
        },
    )
    assert not (tmp_path / "ran").exists()


def test_a_pack_packaged_alone_prints_its_words_on_any_platform(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "buildpacks"
    alone = tmp_path / "algo_model"
    shutil.copytree(source / "packs" / "algo_model", alone)
    shutil.copytree(source, alone / "lib" / "buildpacks", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "app").mkdir()
    (tmp_path / "platform").mkdir()
    done = subprocess.run(
        [alone / "bin" / "detect", tmp_path / "platform", tmp_path / "plan.toml"], cwd=tmp_path / "app",
        env={**POISON, "PATH": f"{Path(os.path.realpath(sys.executable)).parent}:/usr/bin:/bin",
             "CNB_BUILDPACK_DIR": str(alone), "CNB_BUILD_PLAN_PATH": str(tmp_path / "plan.toml")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (100, "")
    assert done.stdout.splitlines()[0] == " !     no model and no code to serve"
