"""Buildpacks that hang, flood, fork and escape are ended, and the sentence names them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from buildpacks.order import BuildFailed
from tests.contract.lifecycle_house import House
from tests.contract.lifecycle_platform import Platform

LAUNCH = '; printf "[types]\\nlaunch = true\\n" > "$1/x.toml"'


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> House:
    return House(tmp_path)


def left_of(house: House) -> list[str]:
    """Processes that work in the house."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/cwd").readlink().is_relative_to(house.root):
                found.append(Path(f"/proc/{pid}/cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_detection_that_hangs_is_ended_with_its_children_and_named(house: House) -> None:
    house.pack("slow", detect="sleep 600 & sleep 600")
    house.pack("other")
    assert house.failure("slow other", detect_timeout_s=0.4) == (
        21, "buildpack-hung", {"buildpack": "t/slow@1.0.0", "phase": "detect", "seconds": 0.4},
    )  # fmt: skip
    assert left_of(house) == []


def test_an_optional_detection_that_hangs_is_left_out(house: House) -> None:
    house.pack("slow", detect="exec sleep 600")
    house.pack("a")
    status, _, output = house.run("slow? a", detect_timeout_s=0.4)
    assert status == 0
    assert "t/slow@1.0.0 is left out" in output


def test_a_build_that_hangs_is_ended_before_the_builds_own_time_is_over_and_named(house: House) -> None:
    house.pack("a")
    house.pack("slow", build="sleep 600 & exec sleep 600")
    started_at = time.monotonic()
    status, code, fields = house.failure("a slow", timeout_s=2)
    assert (status, code, fields["buildpack"], fields["phase"]) == (51, "buildpack-hung", "t/slow", "build")
    assert time.monotonic() - started_at < 20
    assert left_of(house) == []


def test_a_detection_that_writes_without_end_is_ended_and_fills_no_disk(house: House) -> None:
    house.pack("loud", detect="yes")
    assert house.failure("loud") == (
        21, "buildpack-flooded",
        {"buildpack": "t/loud@1.0.0", "phase": "detect", "limit_mib": 4, "limit_lines": 50_000},
    )  # fmt: skip
    assert sum(path.stat().st_size for path in house.root.rglob("*") if path.is_file()) < 100_000


@pytest.mark.parametrize("build", ["yes", "cat /dev/zero"])
def test_a_build_that_writes_without_end_is_ended_and_named(house: House, build: str) -> None:
    house.pack("loud", build=build)
    status, document, output = house.run("loud")
    assert status == 51
    assert document["failure"] == {
        "code": "buildpack-flooded", "status": 51,
        "fields": {"buildpack": "t/loud", "phase": "build", "limit_mib": 8, "limit_lines": 50_000},
    }  # fmt: skip
    assert len(output) <= 9 << 20
    assert left_of(house) == []


def test_what_a_script_leaves_running_is_ended_and_said(house: House) -> None:
    house.pack("a", detect="sleep 600 >/dev/null 2>&1 &", build="sleep 600 >/dev/null 2>&1 &")
    assert "t/a left processes running; they were ended" in house.run("a")[2]
    assert left_of(house) == []


def test_a_bomb_of_forks_is_ended_when_its_script_ends(house: House) -> None:
    # A small one: each of three levels forks four more that would live for ten minutes.
    bomb = "fork() { [ $1 -eq 0 ] && exec sleep 600; for i in 1 2 3 4; do fork $(($1 - 1)) & done; wait; }\n"
    house.pack("bomb", build=f"{bomb}fork 3 >/dev/null 2>&1 & sleep 0.5; exit 5")
    assert house.failure("bomb") == (51, "buildpack-failed", {"buildpack": "t/bomb", "status": 5})
    assert left_of(house) == []


# -- links in layers


@pytest.mark.parametrize(
    "build",
    [
        'mkdir -p "$1/x/env.launch"; ln -s /etc/hostname "$1/x/env.launch/SECRET"',
        'mkdir -p "$1/x/env.launch/web"; ln -s ../../../../../secret "$1/x/env.launch/web/SECRET"',
        'mkdir -p "$1/x"; ln -s /etc "$1/x/env"',
    ],
)
def test_settings_that_link_out_of_their_layer_are_not_read_for_the_app(tmp_path: Path, build: str) -> None:
    platform = Platform(tmp_path)
    house = platform.house()
    house.packs = []
    (house.root / "secret").write_text("the server's")
    house.pack("a", build=build + LAUNCH)
    house.ok("a")
    with pytest.raises(BuildFailed) as caught:
        platform.export(house)
    assert caught.value.code == "layer-leads-out"
    assert (caught.value.fields["buildpack"], caught.value.fields["layer"]) == ("t/a", "x")


def test_settings_may_link_inside_their_layer(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    house = platform.house()
    house.packs = []
    house.pack("a", build='mkdir -p "$1/x/env"; printf v > "$1/x/value"; ln -s ../value "$1/x/env/A"' + LAUNCH)
    platform.build("a", house=house)
    assert platform.built is not None


@pytest.mark.parametrize("types", ["launch = true", "cache = true"])
def test_a_pipe_in_a_layer_is_refused_and_waits_for_nobody(tmp_path: Path, types: str) -> None:
    platform = Platform(tmp_path)
    house = platform.house()
    house.packs = []
    house.pack("a", build=f'mkdir "$1/x"; mkfifo "$1/x/pipe"; printf "[types]\\n{types}\\n" > "$1/x.toml"')
    house.ok("a")
    with pytest.raises(BuildFailed) as caught:
        platform.export(house)
    assert caught.value.code == "layer-refused"
