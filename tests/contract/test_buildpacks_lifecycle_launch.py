"""How processes of an image start: environment folders, exec.d, profile scripts, direct and shell, arguments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from buildpacks.image.launching import command_of, launch_of
from buildpacks.lifecycle.environment import relocate
from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.launch import LAUNCHER_LAYER, Place, start_of
from buildpacks.order import BuildFailed
from tests.contract.lifecycle_house import PATH
from tests.contract.lifecycle_platform import Platform, layers_of, process_of

PROCESS = 'printf \'[[processes]]\\ntype = "web"\\ncommand = ["env"]\\ndefault = true\\n\' > "$1/launch.toml"; '
LAUNCH = 'printf "[types]\\nlaunch = true\\n" > "$1/x.toml"; '


def program(path: str, text: str) -> str:
    """Lines of a bin/build that write an executable script into its layers folder."""
    file = f'"$1/{path}"'
    return f"mkdir -p $(dirname {file})\ncat > {file} <<'END'\n#!/bin/sh\n{text}\nEND\nchmod +x {file}\n"


@pytest.fixture(name="platform")
def _platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def one(platform: Platform, build: str, *, api: str = "0.10") -> Platform:
    """An image of one buildpack with this bin/build."""
    house = platform.house()
    house.packs = []
    house.pack("a", build=build, api=api)
    platform.build("a", house=house)
    return platform


@pytest.mark.conformance("1.8-exec.d")
def test_programs_in_exec_d_set_variables_for_those_behind_them_and_for_the_process(platform: Platform) -> None:
    platform.build("demo/all")
    done = platform.run("worker")
    assert (done.returncode, done.stdout) == (0, "hello worker\n")
    argv, env, _ = platform.command("web")
    end = argv.index("--")
    seen = subprocess.run([*argv[: end + 1], "env"], env=env, capture_output=True, text=True, check=True).stdout
    app = Path(argv[4]).resolve()
    assert f"ANSWER={app}\n" in seen
    assert f"TYPED=after {app}\n" in seen


@pytest.mark.conformance("1.8-exec.d")
def test_a_program_of_another_process_type_is_not_run(platform: Platform) -> None:
    platform.build("demo/all")
    argv, _, _ = platform.command("worker")
    assert [Path(word).name for word in argv if "exec.d" in word] == ["10-answer"]


@pytest.mark.conformance("1.8-exec.d")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 9", "ended with status 9"),
        ("echo nonsense >&3", "answered no TOML"),
        ("echo 'A = 1' >&3", "the value of A is no string"),
    ],
)
def test_a_program_that_fails_keeps_the_process_from_starting_with_82(
    platform: Platform, script: str, words: str
) -> None:
    one(platform, program("x/exec.d/p", script) + LAUNCH + PROCESS)
    done = platform.run("web")
    assert (done.returncode, done.stdout) == (82, "")
    assert words in done.stderr


@pytest.mark.conformance("1.8-exec.d")
def test_a_program_writes_to_the_log_and_answers_on_descriptor_three_alone(platform: Platform) -> None:
    script = "echo said\ncat >&3 <<'TOML'\nA = \"it is \\\"quoted\\\"\"\nB = 'raw\\n'\nTOML"
    one(platform, program("x/exec.d/p", script) + LAUNCH + PROCESS)
    done = platform.run("web")
    assert done.returncode == 0, done.stderr
    said, *variables = done.stdout.splitlines()
    assert said == "said"
    assert {'A=it is "quoted"', "B=raw\\n"} <= set(variables)


def test_an_image_without_programs_has_no_launcher_and_starts_as_it_is(platform: Platform) -> None:
    built = one(platform, PROCESS).built
    assert built is not None
    assert LAUNCHER_LAYER not in layers_of(built)
    assert platform.command("web")[0] == ["env"]


def test_the_launchers_interpreter_leaves_no_signal_ignored(platform: Platform) -> None:
    command = PROCESS.replace('["env"]', '["grep", "SigIgn", "/proc/self/status"]')
    one(platform, program("x/exec.d/p", "true") + LAUNCH + command)
    inherited = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True, check=True)
    assert platform.run("web").stdout == inherited.stdout


@pytest.mark.conformance("1.8-shell", "1.4-direct", "1.1-0.8")
def test_a_shell_process_sources_profile_scripts_by_layer_and_type_and_then_the_applications_own(
    platform: Platform,
) -> None:
    platform.files |= {"shell.txt": "", ".profile": 'export FROM_PROFILE="$FROM_PROFILE, app"\n'}
    platform.build("demo/all")
    app = platform.command("task")[2]
    assert platform.run("task").stdout == f"profile in app, typed, app\n{app}\n"


@pytest.mark.conformance("1.8-shell")
def test_words_of_a_shell_process_with_arguments_are_expanded_one_by_one(platform: Platform) -> None:
    # The reference launcher, too, makes one space of several: its `eval echo` sees them unquoted.
    platform.files |= {"shell.txt": ""}
    platform.build("demo/all")
    assert platform.run("words").stdout == "<profile in app><a b>"


@pytest.mark.conformance("1.8-shell", "1.4-direct")
def test_a_direct_process_meets_no_shell(platform: Platform) -> None:
    platform.files |= {"shell.txt": ""}
    platform.build("demo/all")
    assert platform.run("plain").stdout == "<$FROM_PROFILE>"


@pytest.mark.conformance("1.8-shell")
def test_a_name_of_a_profile_script_is_no_code(platform: Platform) -> None:
    made = 'mkdir -p "$1/x/profile.d"; echo "export A=1" > "$1/x/profile.d/\\$(touch owned) \'q\'"; '
    command = 'printf \'[[processes]]\\ntype = "web"\\ncommand = "echo $A"\\n\' > "$1/launch.toml"; '
    one(platform, made + LAUNCH + command, api="0.8")
    assert platform.run("web").stdout == "1\n"
    assert not (platform.command("web")[2] / "owned").exists()


@pytest.mark.conformance("1.8-arguments", "1.1-0.9")
def test_a_users_arguments_replace_those_that_may_be_and_follow_the_command(platform: Platform) -> None:
    platform.build("demo/all")
    assert platform.command("web")[0][-3:] == ["serve", "always", "by-default"]
    assert platform.command("web", user_args=["mine", "too"])[0][-4:] == ["serve", "always", "mine", "too"]


@pytest.mark.conformance("1.8-arguments")
def test_below_api_0_9_they_follow_the_arguments(platform: Platform) -> None:
    platform.files |= {"shell.txt": ""}
    platform.build("demo/all")
    assert platform.run("plain", user_args=["mine"]).stdout == "<$FROM_PROFILE><mine>"
    assert platform.run("words", user_args=["mine"]).stdout == "<profile in app><a b><mine>"


@pytest.mark.conformance("1.8-environment")
def test_folders_of_all_layers_come_before_the_settings_of_any_and_types_last(platform: Platform) -> None:
    made = (
        'mkdir -p "$1/x/bin" "$1/y/lib" "$1/x/env" "$1/x/env.launch/web" "$1/x/env.build"; '
        'printf one > "$1/x/env/A"; printf two > "$1/x/env.launch/A.append"; '
        'printf web > "$1/x/env.launch/web/A.append"; '
        'printf no > "$1/x/env.build/B"; printf : > "$1/x/env/LD_LIBRARY_PATH.delim"; '
        'printf mine > "$1/x/env/LD_LIBRARY_PATH.prepend"; '
    )
    one(platform, made + LAUNCH + LAUNCH.replace("x.toml", "y.toml") + PROCESS)
    _, env, folder = platform.command("web")
    layers = folder.parent / "layers" / "t_a"
    assert env == {
        "A": "onetwoweb", "PATH": f"{layers}/x/bin:{PATH}", "LD_LIBRARY_PATH": f"mine:{layers}/y/lib",
    }  # fmt: skip


@pytest.mark.conformance("1.8-dropped")
def test_the_launchers_own_variables_and_folders_do_not_reach_the_process(platform: Platform) -> None:
    one(platform, PROCESS)
    own = dict.fromkeys(
        ("CNB_APP_DIR", "CNB_LAYERS_DIR", "CNB_PROCESS_TYPE", "CNB_PLATFORM_API", "CNB_DEPRECATION_MODE"), "x"
    )
    _, env, _ = platform.command("web", PATH=f"/cnb/process:/cnb/lifecycle:{PATH}", KEPT="1", **own)
    assert env == {"PATH": PATH, "KEPT": "1"}


@pytest.mark.conformance("1.8-type", "1.4-processes")
def test_every_process_type_of_an_image_can_be_started_in_its_working_folder(platform: Platform) -> None:
    built = platform.build("demo/all")
    assert process_of(built, "worker")["working-dir"] == "sub"
    assert platform.command("worker")[2].name == "sub"
    assert platform.run("worker").stdout == "hello worker\n"


@pytest.mark.conformance("1.8-type", "1.7-entrypoint")
def test_in_a_container_the_same_process_has_the_images_own_paths(platform: Platform) -> None:
    platform.files |= {"shell.txt": "", ".profile": ""}
    built = platform.build("demo/all")
    argv, env = command_of(platform.store, built.config, process_of(built, "web"), {"PATH": "/bin"})
    launcher = ["python3", "-I", "-S", "/layers/_launcher/run/launcher.py", "/workspace"]
    programs = [f"/layers/demo_tools/data/exec.d/{name}" for name in ("10-answer", "web/20-typed")]
    assert argv == [*launcher, *programs, "--", "serve", "always", "by-default"]
    assert env == {
        "PATH": "/layers/demo_server/server/bin:/layers/demo_tools/tool/bin:/bin", "PHASE": "launching", "KIND": "web",
        "WORDS": "one",
    }  # fmt: skip
    launch = launch_of(platform.store, built.config)
    assert launch is not None
    assert (launch["argv"], launch["args"]) == (argv[:-1], ["by-default"])
    shell, _ = command_of(platform.store, built.config, process_of(built, "task"), {"PATH": "/bin"})
    script = shell[shell.index("bash") :]
    assert script[2].splitlines() == [
        "cd /workspace", "source /layers/demo_shell/profile/profile.d/10-first.sh",
        "source /layers/demo_shell/profile/profile.d/task/20-typed.sh", "source /workspace/.profile", "cd /workspace",
        'exec bash -c "$@"',
    ]  # fmt: skip
    assert script[3:] == ["/cnb/process/task", 'echo "$FROM_PROFILE" && pwd']


@pytest.mark.conformance("1.8-no-eligible")
def test_an_image_whose_processes_are_all_for_another_environment_is_refused_with_82(platform: Platform) -> None:
    house = platform.house()
    house.packs = []
    process = '[[processes]]\\ntype = "%s"\\ncommand = ["x"]\\nexec-env = ["%s"]\\n'
    house.pack("a", build=f"printf '{process}' web test > \"$1/launch.toml\"", api="0.12")
    house.pack("b", build=f"printf '{process}{process}' web production dev test > \"$1/launch.toml\"", api="0.12")
    assert house.failure("a") == (82, "launch-no-process", {"exec_env": "production", "types": ["web"]})
    processes = house.ok("a b")["processes"]
    assert isinstance(processes, list)
    assert [(process["type"], process["buildpack-id"]) for process in processes] == [("web", "t/b")]


@pytest.mark.conformance("1.8-no-eligible")
def test_an_image_of_another_environment_does_not_start_here_and_starts_there(platform: Platform) -> None:
    house = platform.house()
    house.packs = []
    process = '[[processes]]\\ntype = "%s"\\ncommand = ["echo", "%s"]\\nexec-env = ["%s"]\\n'
    scripts = f"printf '{process}{process}' web w test any a '*' > \"$1/launch.toml\""
    house.pack("a", build=scripts, api="0.12")
    built = platform.build("a", house=house, exec_env="test")
    with pytest.raises(LifecycleError) as caught:
        platform.command("web")
    assert (caught.value.exit_code, caught.value.code) == (82, "launch-no-process")
    assert caught.value.fields == {"exec_env": "production", "types": ["web"]}
    assert platform.run("any").stdout == "a\n"
    # The image's own start is that of the environment that it was built for.
    launch = launch_of(platform.store, built.config)
    assert launch is not None
    assert launch["argv"] == ["echo", "w"]
    with pytest.raises(BuildFailed) as refused:
        command_of(platform.store, built.config, process_of(built, "web"), {"PATH": PATH})
    assert refused.value.code == "launch-failed"


@pytest.mark.conformance("1.8-type")
def test_an_image_tells_how_each_of_its_processes_starts_and_of_one_alone_tells_it_once(platform: Platform) -> None:
    alone = one(platform, PROCESS).built
    assert alone is not None
    launch = launch_of(platform.store, alone.config)
    assert launch == {"argv": ["env"], "env": launch["env"] if launch else {}, "cwd": "/workspace"}
    platform.files |= {"shell.txt": ""}
    several = launch_of(platform.store, platform.build("demo/all").config)
    assert several is not None
    types = several["types"]
    assert isinstance(types, dict)
    assert sorted(types) == ["plain", "task", "web", "words", "worker"]
    assert types["web"] == {key: several[key] for key in ("argv", "args", "cwd")} | {"env": {}}
    worker = types["worker"]
    assert isinstance(worker, dict)
    assert (worker["cwd"], worker["env"], worker["without"]) == ("/workspace/sub", {}, ["KIND"])


@pytest.mark.parametrize("name", [".", "...", "we b", ""])
def test_a_process_type_that_could_be_another_file_ends_the_build(platform: Platform, name: str) -> None:
    house = platform.house()
    house.packs = []
    house.pack("a", build=f'printf \'[[processes]]\\ntype = "{name}"\\ncommand = ["x"]\\n\' > "$1/launch.toml"')
    status, code, fields = house.failure("a")
    assert (status, code) == (52, "buildpack-bad")
    assert "process type" in str(fields["message"])


@pytest.mark.parametrize("name", ["", "a/b", "x" * 101])
def test_a_process_of_an_environment_that_cannot_be_ends_the_build(platform: Platform, name: str) -> None:
    house = platform.house()
    house.packs = []
    process = f'[[processes]]\\ntype = "web"\\ncommand = ["x"]\\nexec-env = ["{name}"]\\n'
    house.pack("a", build=f"printf '{process}' > \"$1/launch.toml\"", api="0.12")
    status, code, fields = house.failure("a")
    assert (status, code) == (52, "buildpack-bad")
    assert "exec-env" in str(fields["message"])


def test_a_working_folder_elsewhere_in_the_image_is_where_it_says(tmp_path: Path) -> None:
    place = Place(packs=[], moves=(), app="/workspace", layers="/layers", has_profile=False)
    process = {"type": "web", "command": ["x"], "direct": False, "working-dir": "/srv"}
    assert "cd /srv" in start_of(place, process, {})[0][2].splitlines()
    assert relocate("/srv", ()) == "/srv"
