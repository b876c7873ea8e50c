"""Apps in Go and Node.js by the real tools of this machine, in a kitchen: what runs where, what stays the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from buildpacks.image.store import LayerStore
from buildpacks.lifecycle.launch import resolve
from buildpacks.order import BuiltImage, Json
from tests.contract.kitchen_house import Kitchen, layers

# Package net would take half a minute of CPU to compile.
GO = {
    "go.mod": "module example.com/team/hello\n\ngo 1.21\n",
    "main.go": 'package main\n\nfunc main() { println("hello from go") }\n',
}
NODE = {
    "package.json": '{"engines": {"node": ">=16"}, "scripts": {"start": "node server.js"}}',
    "server.js": "console.log('hello from node', process.env.NODE_ENV)\n",
}


@pytest.fixture(name="kitchen")
def _kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(state=tmp_path)


def web_of(built: BuiltImage) -> dict[str, Json]:
    processes = built.config["processes"]
    assert isinstance(processes, list)
    found = [process for process in processes if isinstance(process, dict) and process["type"] == "web"]
    assert len(found) == 1
    return found[0]


def run_web(kitchen: Kitchen, built: BuiltImage) -> str:
    """What the web process says, started as the process target does it."""
    image = LayerStore(root=kitchen.state).compose(built.config, built.digest)
    config = json.loads((image / "config.json").read_text())
    ids = [pack["id"] for pack in config["buildpacks"]]
    argv, env = resolve(image / "layers", ids, web_of(built), {"PATH": os.environ["PATH"]})
    done = subprocess.run(
        argv, env=env, cwd=image / "app", text=True, timeout=60, check=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout


def test_a_go_module_is_built_in_the_second_attempt_and_the_same_source_is_the_same_layer(kitchen: Kitchen) -> None:
    first = kitchen.build(GO)
    assert [child.trusted for child in kitchen.children] == [True, False]
    assert "       go build runs code of the repository: in a sandbox of this app alone" in kitchen.log
    assert web_of(first)["command"] == ["hello"]
    assert run_web(kitchen, first) == "hello from go\n"
    again = kitchen.build({**GO, "README.md": "only words"}, previous=first)
    assert layers(again)["layer", "algo_go/app"] == layers(first)["layer", "algo_go/app"]
    changed = kitchen.build({**GO, "main.go": GO["main.go"].replace("from", "again from")}, previous=again)
    assert run_web(kitchen, changed) == "hello again from go\n"


def test_a_procfile_starts_a_go_program_from_bin_where_it_says_so(kitchen: Kitchen) -> None:
    files = {"go.mod": GO["go.mod"], "cmd/api/main.go": GO["main.go"], "cmd/job/main.go": GO["main.go"]}
    built = kitchen.build({**files, "Procfile": "web: bin/api\nworker: bin/job\n"})
    assert run_web(kitchen, built) == "hello from go\n"
    assert ("slice", "bin/api:bin/job") in layers(built)
    assert not [path for kind, path in layers(built) if path == "algo_go/app"]


def test_go_code_that_does_not_compile_is_refused_with_the_compilers_words(kitchen: Kitchen) -> None:
    code, fields = kitchen.failed({**GO, "main.go": "package main\n\nfunc main() { nothing() }\n"})
    assert code == "build-tool-failed"
    assert fields["command"] == "go build ."
    assert "main.go:3:15: undefined: nothing" in str(fields["output"])


def test_a_node_app_without_packages_runs_nothing_while_it_is_built(kitchen: Kitchen) -> None:
    built = kitchen.build(NODE)
    assert [child.trusted for child in kitchen.children] == [True]
    assert web_of(built)["command"] == ["node", "server.js"]
    assert run_web(kitchen, built) == "hello from node production\n"


def test_a_node_app_with_a_web_line_is_started_by_it(kitchen: Kitchen) -> None:
    built = kitchen.build({**NODE, "Procfile": "web: node -e 'console.log(40 + 2)'\n"})
    assert run_web(kitchen, built) == "42\n"


def test_a_build_script_runs_without_the_operators_passwords_and_what_it_makes_is_in_the_app(kitchen: Kitchen) -> None:
    package = {"scripts": {"build": "node make.js", "start": "node made.js"}}
    files = {
        "package.json": json.dumps(package),
        "make.js": "require('fs').writeFileSync('made.js', `console.log(${JSON.stringify(process.env)})`)\n",
    }
    secret = "https://robot:CANARY-7c1@index.example.org/simple"
    built = kitchen.build(files, install_env={"UV_INDEX": secret, "NPM_CONFIG_REGISTRY": "https://npm.example.org/"})
    assert [child.trusted for child in kitchen.children] == [True, False]
    said = run_web(kitchen, built)
    assert "npm.example.org" in said
    assert "CANARY" not in said
    assert "CANARY" not in "\n".join(kitchen.log)


def test_install_scripts_are_run_again_and_other_packages_are_kept_until_their_lock_changes(kitchen: Kitchen) -> None:
    # A package of the repository itself: no registry is asked.
    files = {
        "package.json": '{"dependencies": {"greet": "file:greet"}, "scripts": {"start": "node server.js"}}',
        "greet/package.json": '{"name": "greet", "version": "1.0.0"}',
        "greet/index.js": "module.exports = 'hello from a package'\n",
        "server.js": "console.log(require('greet'))\n",
    }
    first = kitchen.build(files)
    assert run_web(kitchen, first) == "hello from a package\n"
    second = kitchen.build({**files, "server.js": "console.log(require('greet') + '!')\n"}, previous=first)
    assert "-----> Packages: reused, package.json and its lock unchanged" in kitchen.log
    assert run_web(kitchen, second) == "hello from a package!\n"
    hooked = files["package.json"].replace('"scripts": {', '"scripts": {"postinstall": "node -e 0", ')
    for previous in (second, second):
        kitchen.build({**files, "package.json": hooked}, previous=previous)
        assert not [line for line in kitchen.log if "Packages: reused" in line]


def test_an_engine_that_is_no_range_is_refused(kitchen: Kitchen) -> None:
    package = '{"engines": {"node": "the newest"}, "scripts": {"start": "node server.js"}}'
    code, fields = kitchen.failed({**NODE, "package.json": package})
    assert (code, fields) == ("engines-node", {"range": "the newest"})


def test_a_model_file_beside_a_node_app_is_not_served_in_its_place(kitchen: Kitchen) -> None:
    model = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\n"
    built = kitchen.build({**NODE, "model.txt": model})
    assert run_web(kitchen, built) == "hello from node production\n"


def test_python_beside_another_language_gets_its_packages_too(kitchen: Kitchen) -> None:
    built = kitchen.build({**NODE, "requirements.txt": "", "predict_helper.py": "print('from python')\n"})
    packs = built.config["buildpacks"]
    assert isinstance(packs, list)
    assert [pack["id"] for pack in packs if isinstance(pack, dict)] == ["algo/node", "algo/python"]
    assert run_web(kitchen, built) == "hello from node production\n"
