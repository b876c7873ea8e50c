"""Environment rules at build and at launch, on real folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.lifecycle.environment import add_env_dir, make_build_env, relocate
from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.launch import resolve


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(value)
    return folder


@pytest.mark.conformance("1.5-env-files")
@pytest.mark.parametrize(
    ("files", "before", "after"),
    [
        ({"A": "new"}, "old", "new"),
        ({"A__override": "new"}, "old", "new"),
        ({"A__default": "new"}, "old", "old"),
        ({"A__default": "new"}, None, "new"),
        ({"A__append": "new"}, "old", "oldnew"),
        ({"A__prepend": "new", "A__delim": ":"}, "old", "new:old"),
        ({"A__append": "new", "A__delim": ":"}, None, "new"),
        ({"A__append": "new\n"}, None, "new\n"),
        ({"A__unknown": "new"}, "old", "old"),
    ],
)
def test_a_file_does_what_its_suffix_says(
    tmp_path: Path, files: dict[str, str], before: str | None, after: str
) -> None:
    env = {} if before is None else {"A": before}
    add_env_dir(env, str(write(tmp_path / "env", **files)))
    assert env == {"A": after}


@pytest.mark.conformance("1.5-env-files")
def test_the_delimiter_of_another_folder_does_not_count(tmp_path: Path) -> None:
    env = {"A": "1"}
    add_env_dir(env, str(write(tmp_path / "one", A__delim=":")))
    add_env_dir(env, str(write(tmp_path / "two", A__append="2")))
    assert env == {"A": "12"}


@pytest.mark.conformance("1.5-env-files")
def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    (tmp_path / "A").write_bytes(b"\xff\xfe")
    env: dict[str, str] = {}
    add_env_dir(env, str(tmp_path))
    assert env["A"].encode("utf-8", "surrogateescape") == b"\xff\xfe"


@pytest.mark.conformance("1.5-allow-list")
def test_the_build_environment_is_an_allow_list(tmp_path: Path) -> None:
    base = {"PATH": "/bin", "CNB_STACK_ID": "s", "SECRET": "x", "PYTHONPATH": "/evil"}
    assert make_build_env(base, (), platform=None, build_config=None) == {"PATH": "/bin", "CNB_STACK_ID": "s"}


@pytest.mark.conformance("1.5-platform", "1.5-operator")
def test_layers_then_platform_then_operator(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for layer in (one, two):
        (layer / "bin").mkdir(parents=True)
    write(one / "env", A="layer", B="layer")
    write(one / "env.build", C="build")
    write(one / "env.launch", D="launch only")
    write(tmp_path / "platform" / "env", A="user", PATH="/user", B="user")
    write(tmp_path / "operator" / "env", B__override="operator", C="a default, and C is set")
    env = make_build_env(
        {"PATH": "/bin"},
        [str(one), str(two)],
        platform=str(tmp_path / "platform"),
        build_config=str(tmp_path / "operator"),
    )
    assert env == {"A": "user", "B": "operator", "C": "build", "PATH": f"/user:{two}/bin:{one}/bin:/bin"}


def test_relocation_takes_whole_path_components_only() -> None:
    moves = [("/layers", "/img/layers")]
    assert (
        relocate("/layers/a:/layers2/b:/x/layers/c:/layers", moves)
        == "/img/layers/a:/layers2/b:/x/layers/c:/img/layers"
    )
    assert relocate("--path=/layers/a", moves) == "--path=/img/layers/a"


@pytest.mark.conformance("1.8-environment")
def test_launch_sets_folders_of_all_layers_before_their_env_files(tmp_path: Path) -> None:
    layers = tmp_path / "img" / "layers"
    first, second = layers / "algo_one" / "a", layers / "algo_two" / "b"
    (first / "bin").mkdir(parents=True)
    (second / "lib").mkdir(parents=True)
    write(first / "env.launch", PYTHONPATH__prepend="/layers/algo_one/a", PYTHONPATH__delim=":")
    write(first / "env.launch" / "web", ONLY="web")
    write(first / "env.launch" / "worker", ONLY="worker")
    write(first / "env.build", BUILD="no")
    process = {"type": "web", "command": ["run"], "args": ["/workspace/x", "--flag"]}
    argv, env = resolve(
        layers, ["algo/one", "algo/two"], process, {"PATH": "/bin", "CNB_APP_DIR": "/x", "H": "/layers"}
    )
    assert argv == ["run", f"{tmp_path}/img/app/x", "--flag"]
    assert env == {
        "PATH": f"{first}/bin:/bin", "LD_LIBRARY_PATH": f"{second}/lib", "PYTHONPATH": str(first), "ONLY": "web",
        "H": "/layers",
    }  # fmt: skip


@pytest.mark.conformance("1.8-arguments")
def test_user_arguments_replace_args_and_never_the_command(tmp_path: Path) -> None:
    process = {"type": "web", "command": ["run", "always"], "args": ["default"], "direct": True}
    assert resolve(tmp_path, [], process, {}, user_args=["mine"])[0] == ["run", "always", "mine"]


def test_a_process_without_a_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LifecycleError) as caught:
        resolve(tmp_path, [], {"type": "web", "command": []}, {})
    assert caught.value.code == "launch-no-command"
