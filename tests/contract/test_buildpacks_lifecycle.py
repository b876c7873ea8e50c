"""The lifecycle with small shell buildpacks: detection, plans, environment, restore, failures."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.contract.lifecycle_house import LIFECYCLE, PATH, House, ids, layer_record, previous


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.conformance("1.3-group")
def test_the_first_group_that_passes_builds_in_its_order(house: House) -> None:
    house.pack("no", detect="exit 100")
    house.pack("a")
    house.pack("b")
    assert ids(house.ok("a no", "b no? a")) == ["t/b", "t/a"]


@pytest.mark.conformance("1.3-once")
def test_each_detection_runs_once_a_build(house: House) -> None:
    house.pack("a", detect="echo x >> ../count")
    house.pack("no", detect="exit 100")
    house.ok("a no", "a")
    assert house.read("count") == "x\n"


@pytest.mark.conformance("1.3-statuses")
def test_an_optional_buildpack_that_errs_is_dropped(house: House) -> None:
    house.pack("bad", detect="exit 3")
    house.pack("a")
    assert ids(house.ok("bad? a")) == ["t/a"]


@pytest.mark.conformance("1.3-statuses", "1.7-exit-codes")
@pytest.mark.parametrize(("detect", "status"), [("exit 100", 20), ("echo why; exit 3", 21)])
def test_no_group_is_twenty_and_with_an_error_twenty_one(house: House, detect: str, status: int) -> None:
    house.pack("a", detect=detect)
    found = house.run("a")
    assert found[0] == status
    assert found[1]["failure"] == {"code": "none-detected", "fields": {"buildpacks": ["t/a@1.0.0"]}, "status": status}
    assert ("why" in found[2]) == (status == 21)


@pytest.mark.conformance("1.4-plan-entries")
def test_the_plan_reaches_its_provider_with_metadata(house: House) -> None:
    house.pack(
        "a",
        detect='printf \'[[provides]]\\nname = "x"\\n\' > "$CNB_BUILD_PLAN_PATH"',
        build='cp "$CNB_BP_PLAN_PATH" ../plan.toml',
    )
    house.pack("b", detect='printf \'[[requires]]\\nname = "x"\\n[requires.metadata]\\nv = 1\\n\' > "$2"')
    house.ok("a b")
    assert tomllib.loads(house.read("plan.toml")) == {"entries": [{"name": "x", "metadata": {"v": 1}}]}


@pytest.mark.conformance("1.4-plan-entries")
def test_unmet_entries_go_on_to_the_next_provider(house: House) -> None:
    gives = 'printf \'[[provides]]\\nname = "x"\\n\' > "$2"'
    house.pack("a", detect=gives, build='printf \'[[unmet]]\\nname = "x"\\n\' > "$1/build.toml"')
    house.pack("b", detect=gives, build='cp "$3" ../plan.toml')
    house.pack("c", detect='printf \'[[requires]]\\nname = "x"\\n\' > "$2"')
    house.ok("a b c")
    assert tomllib.loads(house.read("plan.toml")) == {"entries": [{"name": "x"}]}


@pytest.mark.conformance("1.3-environment", "1.5-allow-list", "1.5-credentials")
def test_scripts_get_the_specified_environment_and_nothing_else(house: House) -> None:
    house.pack("a", detect="env > ../detect.env; pwd > ../cwd", build="env > ../build.env", api="0.12")
    house.ok("a")
    names = {line.split("=", 1)[0] for line in house.read("build.env").splitlines()} - {"PWD", "SHLVL", "_", "OLDPWD"}
    assert names == {
        "PATH", "HOME", "CNB_STACK_ID", "CNB_LAYERS_DIR", "CNB_BP_PLAN_PATH", "CNB_BUILDPACK_DIR", "CNB_PLATFORM_DIR",
        "CNB_EXEC_ENV", "CNB_TARGET_OS", "CNB_TARGET_ARCH", "CNB_TARGET_DISTRO_NAME", "CNB_TARGET_DISTRO_VERSION",
        "ALGO_FAILURE_FILE",
    }  # fmt: skip
    assert house.read("cwd").strip() == str(house.root / "app")
    assert "LEAK" not in house.read("detect.env")


@pytest.mark.conformance("1.5-layer-folders")
def test_a_build_layer_reaches_the_next_buildpack_and_a_launch_layer_does_not(house: House) -> None:
    layer = (
        'mkdir -p "$1/{n}/bin" "$1/{n}/env"; printf {n} > "$1/{n}/env/{N}"; '
        'printf "[types]\\n{t} = true\\n" > "$1/{n}.toml"; '
    )
    house.pack("a", build=layer.format(n="one", N="ONE", t="build") + layer.format(n="two", N="TWO", t="launch"))
    house.pack("b", build='echo "${ONE:-} ${TWO:-} $PATH" > ../seen')
    house.ok("a b")
    assert house.read("seen") == f"one  {house.root}/layers/t_a/one/bin:{PATH}\n"


@pytest.mark.conformance("1.5-platform", "1.5-operator", "1.1-0.10")
def test_clear_env_hides_the_users_variables_and_keeps_the_operators(house: House) -> None:
    (house.root / "platform" / "env" / "MINE").write_text("user")
    (house.root / "build-config" / "env" / "THEIRS").write_text("operator")
    house.pack("a", build='echo "${MINE:-none} ${THEIRS:-none}" >> ../seen')
    house.pack("b", build='echo "${MINE:-none} ${THEIRS:-none}" >> ../seen', head="clear-env = true\n")
    house.ok("a b")
    assert house.read("seen") == "user operator\nnone operator\n"


@pytest.mark.conformance("1.4-ignore")
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
        "working-dir": "", "buildpack-id": "t/a",
    }]  # fmt: skip


@pytest.mark.conformance("1.4-processes")
def test_defining_the_default_process_again_without_default_clears_it(house: House) -> None:
    process = 'printf \'[[processes]]\\ntype = "web"\\ncommand = ["%s"]\\ndefault = %s\\n\' {} > "$1/launch.toml"'
    house.pack("a", build=process.format("one true"))
    house.pack("b", build=process.format("two false"))
    processes = house.ok("a b")["processes"]
    assert [(p["command"], p["default"]) for p in processes] == [(["two"], False)]  # type: ignore[attr-defined]  # JSON


@pytest.mark.conformance("1.6-table", "1.6-types", "1.6-contents", "1.6-store")
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


@pytest.mark.conformance("1.6-reuse")
def test_a_launch_layer_without_its_folder_asks_for_the_previous_one(house: House) -> None:
    house.pack("a", build='printf "[types]\\nlaunch = true\\n[metadata]\\nv = 2\\n" > "$1/x.toml"')
    layers = house.ok("a", previous=previous(x=layer_record("2", launch=True, build=False, cache=False)))["buildpacks"]
    assert layers[0]["layers"] == {  # type: ignore[index]  # JSON
        "x": {"launch": True, "build": False, "cache": False, "data": {"v": 2}, "contents": False, "sboms": []}
    }


@pytest.mark.conformance("1.4-script", "1.4-layer-names", "1.4-plan-entries", "1.7-exit-codes")
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


@pytest.mark.conformance("1.7-exit-codes")
@pytest.mark.parametrize(
    ("pack", "status"),
    [
        ({"head": "version = 1\n"}, 1),
        ({"api": "0.99"}, 12),
        ({"detect": "exit 100"}, 20),
        ({"detect": "exit 1"}, 21),
        ({"detect": 'echo "x = " > "$2"'}, 22),
        ({"build": "exit 1"}, 51),
        ({"build": 'echo "x = " > "$1/launch.toml"'}, 52),
        (
            {
                "build": 'printf \'[[processes]]\\ntype = "web"\\ncommand = ["x"]\\nexec-env = ["test"]\\n\''
                ' > "$1/launch.toml"'
            },
            82,
        ),
    ],
)
def test_every_phase_ends_with_the_status_that_the_specification_gives_it(
    house: House, pack: dict[str, str], status: int
) -> None:
    house.pack("a", **pack)
    assert house.failure("a")[0] == status


@pytest.mark.conformance("1.7-exit-codes")
def test_a_cache_that_cannot_be_read_is_forty_two(house: House) -> None:
    house.pack("a")
    (house.root / "cache" / "metadata.json").mkdir(parents=True)
    status, code, fields = house.failure("a", cache=str(house.root / "cache"))
    assert (status, code) == (42, "restore-failed")
    assert "metadata.json" in str(fields["message"])


@pytest.mark.conformance("1.7-exit-codes")
@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["/nonexistent"]])
def test_arguments_that_are_no_job_are_three(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LIFECYCLE), *arguments], timeout=30, check=False, capture_output=True
    )
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr


@pytest.mark.conformance("1.2-api", "1.7-exit-codes")
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
