"""The lifecycle with small shell buildpacks: detection, plans, environment, restore, failures."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

LIFECYCLE = Path(__file__).parents[2] / "buildpacks" / "lifecycle" / "__main__.py"
PATH = "/usr/bin:/bin"


class House:
    """A folder with buildpacks, an application and everything else that a job names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packs: list[Path] = []
        for name in ("app", "layers", "platform/env", "build-config/env", "tmp"):
            (root / name).mkdir(parents=True)

    def pack(
        self, name: str, *, detect: str = "exit 0", build: str = "exit 0", head: str = "", api: str = "0.10"
    ) -> None:
        folder = self.root / "packs" / name
        (folder / "bin").mkdir(parents=True)
        (folder / "buildpack.toml").write_text(
            f'api = "{api}"\n[buildpack]\nid = "t/{name}"\nversion = "1.0.0"\n{head}'
        )
        for phase, text in (("detect", detect), ("build", build)):
            script = folder / "bin" / phase
            script.write_text(f"#!/bin/sh\nset -eu\n{text}\n")
            script.chmod(0o755)
        self.packs.append(folder)

    def run(
        self, *groups: str, previous: Sequence[Mapping[str, object]] = (), cache: str = ""
    ) -> tuple[int, dict[str, object], str]:
        """Groups like 'a b?': names, a question mark for optional. Returns status, result document, output."""
        lines = []
        for group in groups:
            lines.append("[[order]]")
            for name in group.split():
                lines += [
                    "[[order.group]]",
                    f'id = "t/{name.rstrip("?")}"',
                    f"optional = {str(name.endswith('?')).lower()}",
                ]
        (self.root / "order.toml").write_text("\n".join(lines))
        job = {
            "app": str(self.root / "app"), "layers": str(self.root / "layers"), "platform": str(self.root / "platform"),
            "build_config": str(self.root / "build-config"), "tmp": str(self.root / "tmp"),
            "result": str(self.root / "result.json"), "order": str(self.root / "order.toml"),
            "buildpacks": [str(path) for path in self.packs], "cache": cache, "previous": list(previous),
            "env": {"PATH": PATH, "HOME": "/nonexistent", "CNB_STACK_ID": "s", "PYTHONPATH": "/poison"},
            "target": {"os": "linux", "arch": "amd64", "distro": "debian", "distro_version": "12"},
        }  # fmt: skip
        (self.root / "job.json").write_text(json.dumps(job))
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(LIFECYCLE), str(self.root / "job.json")],
            env={"PATH": PATH, "LEAK": "x"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads((self.root / "result.json").read_text()), done.stdout + done.stderr

    def ok(self, *groups: str, previous: Sequence[Mapping[str, object]] = (), cache: str = "") -> dict[str, object]:
        status, document, output = self.run(*groups, previous=previous, cache=cache)
        assert status == 0, (document, output)
        result = document["ok"]
        assert isinstance(result, dict)
        return result

    def read(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> House:
    return House(tmp_path)


def ids(result: Mapping[str, object]) -> list[str]:
    packs = result["buildpacks"]
    assert isinstance(packs, list)
    return [pack["key"] for pack in packs]


def test_the_first_group_that_passes_builds_in_its_order(house: House) -> None:
    house.pack("no", detect="exit 100")
    house.pack("a")
    house.pack("b")
    assert ids(house.ok("a no", "b no? a")) == ["t/b", "t/a"]


def test_each_detection_runs_once_a_build(house: House) -> None:
    house.pack("a", detect="echo x >> ../count")
    house.pack("no", detect="exit 100")
    house.ok("a no", "a")
    assert house.read("count") == "x\n"


def test_an_optional_buildpack_that_errs_is_dropped(house: House) -> None:
    house.pack("bad", detect="exit 3")
    house.pack("a")
    assert ids(house.ok("bad? a")) == ["t/a"]


@pytest.mark.parametrize(("detect", "status"), [("exit 100", 20), ("echo why; exit 3", 21)])
def test_no_group_is_twenty_and_with_an_error_twenty_one(house: House, detect: str, status: int) -> None:
    house.pack("a", detect=detect)
    found = house.run("a")
    assert found[0] == status
    assert found[1]["failure"] == {"code": "none-detected", "fields": {"buildpacks": ["t/a@1.0.0"]}, "status": status}
    assert ("why" in found[2]) == (status == 21)


def test_the_plan_reaches_its_provider_with_metadata(house: House) -> None:
    house.pack(
        "a",
        detect='printf \'[[provides]]\\nname = "x"\\n\' > "$CNB_BUILD_PLAN_PATH"',
        build='cp "$CNB_BP_PLAN_PATH" ../plan.toml',
    )
    house.pack("b", detect='printf \'[[requires]]\\nname = "x"\\n[requires.metadata]\\nv = 1\\n\' > "$2"')
    house.ok("a b")
    assert tomllib.loads(house.read("plan.toml")) == {"entries": [{"name": "x", "metadata": {"v": 1}}]}


def test_unmet_entries_go_on_to_the_next_provider(house: House) -> None:
    gives = 'printf \'[[provides]]\\nname = "x"\\n\' > "$2"'
    house.pack("a", detect=gives, build='printf \'[[unmet]]\\nname = "x"\\n\' > "$1/build.toml"')
    house.pack("b", detect=gives, build='cp "$3" ../plan.toml')
    house.pack("c", detect='printf \'[[requires]]\\nname = "x"\\n\' > "$2"')
    house.ok("a b c")
    assert tomllib.loads(house.read("plan.toml")) == {"entries": [{"name": "x"}]}


def test_scripts_get_the_specified_environment_and_nothing_else(house: House) -> None:
    house.pack("a", detect="env > ../detect.env; pwd > ../cwd", build="env > ../build.env")
    house.ok("a")
    names = {line.split("=", 1)[0] for line in house.read("build.env").splitlines()} - {"PWD", "SHLVL", "_", "OLDPWD"}
    assert names == {
        "PATH", "HOME", "CNB_STACK_ID", "CNB_LAYERS_DIR", "CNB_BP_PLAN_PATH", "CNB_BUILDPACK_DIR", "CNB_PLATFORM_DIR",
        "CNB_EXEC_ENV", "CNB_TARGET_OS", "CNB_TARGET_ARCH", "CNB_TARGET_DISTRO_NAME", "CNB_TARGET_DISTRO_VERSION",
        "ALGO_FAILURE_FILE",
    }  # fmt: skip
    assert house.read("cwd").strip() == str(house.root / "app")
    assert "LEAK" not in house.read("detect.env")


def test_a_build_layer_reaches_the_next_buildpack_and_a_launch_layer_does_not(house: House) -> None:
    layer = (
        'mkdir -p "$1/{n}/bin" "$1/{n}/env"; printf {n} > "$1/{n}/env/{N}"; '
        'printf "[types]\\n{t} = true\\n" > "$1/{n}.toml"; '
    )
    house.pack("a", build=layer.format(n="one", N="ONE", t="build") + layer.format(n="two", N="TWO", t="launch"))
    house.pack("b", build='echo "${ONE:-} ${TWO:-} $PATH" > ../seen')
    house.ok("a b")
    assert house.read("seen") == f"one  {house.root}/layers/t_a/one/bin:{PATH}\n"


def test_clear_env_hides_the_users_variables_and_keeps_the_operators(house: House) -> None:
    (house.root / "platform" / "env" / "MINE").write_text("user")
    (house.root / "build-config" / "env" / "THEIRS").write_text("operator")
    house.pack("a", build='echo "${MINE:-none} ${THEIRS:-none}" >> ../seen')
    house.pack("b", build='echo "${MINE:-none} ${THEIRS:-none}" >> ../seen', head="clear-env = true\n")
    house.ok("a b")
    assert house.read("seen") == "user operator\nnone operator\n"


def test_a_layer_of_no_type_is_put_aside(house: House) -> None:
    house.pack("a", build='mkdir "$1/x"; printf "[types]\\n" > "$1/x.toml"; mkdir "$1/stray"')
    result = house.ok("a")
    assert sorted(path.name for path in (house.root / "layers" / "t_a").iterdir()) == ["stray", "x.ignore", "x.toml"]
    assert result["buildpacks"][0]["layers"] == {}  # type: ignore[index]  # shape asserted by the comparison itself


def test_the_image_never_knows_where_it_was_built(house: House) -> None:
    house.pack(
        "a",
        build='mkdir -p "$1/x/env.launch"; printf "$1/x" > "$1/x/env.launch/WHERE"; '
        'printf "[types]\\nlaunch = true\\n" > "$1/x.toml"; '
        'printf \'[[processes]]\\ntype = "web"\\ncommand = ["%s/x/run", "%s/main"]\\ndefault = true\\n\' "$1" "$PWD" '
        '> "$1/launch.toml"',
    )
    result = house.ok("a")
    assert house.read("layers/t_a/x/env.launch/WHERE") == "/layers/t_a/x"
    assert result["processes"] == [{
        "type": "web", "command": ["/layers/t_a/x/run", "/workspace/main"], "args": [], "default": True, "direct": True,
        "working-dir": "",
    }]  # fmt: skip


def test_defining_the_default_process_again_without_default_clears_it(house: House) -> None:
    process = 'printf \'[[processes]]\\ntype = "web"\\ncommand = ["%s"]\\ndefault = %s\\n\' {} > "$1/launch.toml"'
    house.pack("a", build=process.format("one true"))
    house.pack("b", build=process.format("two false"))
    processes = house.ok("a b")["processes"]
    assert [(p["command"], p["default"]) for p in processes] == [(["two"], False)]  # type: ignore[attr-defined]  # JSON


def layer_record(sha: str, *, launch: bool, build: bool, cache: bool) -> dict[str, object]:
    return {"sha": sha, "launch": launch, "build": build, "cache": cache, "data": {"v": sha}}


def previous(**layers: dict[str, object]) -> list[dict[str, object]]:
    return [{"key": "t/a", "version": "1.0.0", "store": {"metadata": {"kept": "yes"}}, "layers": layers}]


def test_restore_brings_back_what_the_table_says(house: House) -> None:
    house.pack("a", build='ls "$1" > ../seen; cat "$1/launch-only.toml" > ../toml')
    (house.root / "cache" / "layers" / "t_a" / "cached").mkdir(parents=True)
    (house.root / "cache" / "layers" / "t_a" / "cached" / "file").write_text("c")
    (house.root / "cache" / "layers" / "t_a" / "stale").mkdir(parents=True)
    kept = previous(
        cached=layer_record("1", launch=False, build=True, cache=True),
        stale=layer_record("cache", launch=True, build=False, cache=True),
    )
    (house.root / "cache" / "metadata.json").write_text(json.dumps({"buildpacks": kept}))
    old = previous(
        **{"launch-only": layer_record("2", launch=True, build=False, cache=False)},
        both=layer_record("3", launch=True, build=True, cache=False),
        stale=layer_record("image", launch=True, build=False, cache=True),
    )
    result = house.ok("a", previous=old, cache=str(house.root / "cache"))
    assert house.read("seen").split() == ["cached", "cached.toml", "launch-only.toml", "store.toml"]
    assert house.read("toml") == '[metadata]\nv = "2"\n'
    assert result["buildpacks"][0]["layers"] == {}  # type: ignore[index]  # no types: the buildpack has to opt in again


def test_a_launch_layer_without_its_folder_asks_for_the_previous_one(house: House) -> None:
    house.pack("a", build='printf "[types]\\nlaunch = true\\n[metadata]\\nv = 2\\n" > "$1/x.toml"')
    layers = house.ok("a", previous=previous(x=layer_record("2", launch=True, build=False, cache=False)))["buildpacks"]
    assert layers[0]["layers"] == {  # type: ignore[index]  # JSON
        "x": {"launch": True, "build": False, "cache": False, "data": {"v": 2}, "contents": False}
    }


@pytest.mark.parametrize(
    ("build", "status", "code", "text"),
    [
        ("exit 7", 51, "buildpack-failed", "7"),
        (
            'printf \'{"code": "no-space", "fields": {"code": "odd"}}\' > "$ALGO_FAILURE_FILE"; exit 1',
            51,
            "no-space",
            "odd",
        ),
        ('printf "launch = true\\n" > "$1/x.toml"', 52, "buildpack-bad", "should be in the types table"),
        ('printf "not toml" > "$1/launch.toml"', 52, "buildpack-bad", "launch.toml"),
        ('printf \'[[unmet]]\\nname = "y"\\n\' > "$1/build.toml"', 52, "buildpack-bad", "unmet names 'y'"),
    ],
)
def test_a_build_that_breaks_the_rules_ends_with_their_code(
    house: House, build: str, status: int, code: str, text: str
) -> None:
    house.pack("a", build=build)
    found, document, _ = house.run("a")
    failure = document["failure"]
    assert isinstance(failure, dict)
    assert (found, failure["code"]) == (status, code)
    assert text in str(failure["fields"])


def test_an_api_that_we_do_not_speak_is_twelve(house: House) -> None:
    house.pack("a", api="0.99")
    status, document, _ = house.run("a")
    assert (status, document["failure"]) == (12, {
        "code": "buildpack-api", "status": 12,
        "fields": {"buildpack": "a", "found": "0.99", "lowest": "0.7", "highest": "0.12"},
    })  # fmt: skip


def test_a_detection_that_hangs_is_ended(house: House) -> None:
    house.pack("a", detect="exec sleep 600")
    house.pack("b")
    (house.root / "order.toml").write_text("")
    # The job's own limit is a minute; a shorter one is given the way the product would give it.
    house.run("b")
    job = json.loads(house.read("job.json"))
    job["detect_timeout_s"] = 0.3
    (house.root / "order.toml").write_text('[[order]]\n[[order.group]]\nid = "t/a"\n')
    (house.root / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LIFECYCLE), str(house.root / "job.json")], timeout=30, check=False,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 21
