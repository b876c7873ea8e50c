"""A buildpack's script does the same whether it is run as a program or as a fork of the lifecycle's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildpacks.lifecycle.program import Program

PACKS = Path(__file__).parents[2] / "buildpacks" / "packs"
OWN = sorted(path.parent.name for path in PACKS.glob("*/buildpack.toml"))

# Runs in an interpreter of the lifecycle's kind: script, folder, environment, file for the output, seconds.
START = """
import json, sys
package = sys.modules["buildpacks"] = type(sys)("buildpacks")
package.__path__ = [sys.argv[1]]
from buildpacks.lifecycle.program import start
ask = json.loads(sys.argv[2])
with open(ask["output"], "wb") as output:
    program = start(ask["argv"], cwd=ask["cwd"], env=ask["env"], output=output.fileno())
    status = program.wait(ask["timeout_s"])
    killed = status is None and program.kill()
    print(json.dumps({"forked": program._process is None, "status": status, "killed": killed}))
"""


def ask(script: Path, cwd: Path, env: dict[str, str], output: Path, timeout_s: float = 30.0) -> dict[str, object]:
    """What became of a script that the lifecycle started."""
    request = {
        "argv": [str(script), env.get("CNB_PLATFORM_DIR", ""), env.get("CNB_BUILD_PLAN_PATH", "")], "cwd": str(cwd),
        "env": env, "output": str(output), "timeout_s": timeout_s,
    }  # fmt: skip
    done = subprocess.run(
        [os.path.realpath(sys.executable), "-I", "-S", "-c", START, str(PACKS.parent), json.dumps(request)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def detect_env(tmp_path: Path, pack: str, plan: Path) -> dict[str, str]:
    plan.touch()
    return {
        "PATH": f"{Path(os.path.realpath(sys.executable)).parent}:/usr/bin:/bin", "CNB_BUILD_PLAN_PATH": str(plan),
        "CNB_BUILDPACK_DIR": str(PACKS / pack), "CNB_PLATFORM_DIR": str(tmp_path),
        "ALGO_FAILURE_FILE": f"{plan}.failure",
    }  # fmt: skip


@pytest.mark.parametrize("files", [{"predict.py": "def predict(x):\n    return x\n"}, {"Procfile": "web: x\n"}, {}])
@pytest.mark.parametrize("pack", OWN)
def test_our_own_detections_say_the_same_as_forks_and_as_programs(
    pack: str, files: dict[str, str], tmp_path: Path
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for name, text in files.items():
        (app / name).write_text(text)
    script = PACKS / pack / "bin" / "detect"
    as_program, as_fork = tmp_path / "program.toml", tmp_path / "fork.toml"
    env = detect_env(tmp_path, pack, as_program)
    done = subprocess.run(
        [str(script), env["CNB_PLATFORM_DIR"], str(as_program)], cwd=app, env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
    )  # fmt: skip
    output = tmp_path / "output"
    forked = ask(script, app, detect_env(tmp_path, pack, as_fork), output)
    assert forked == {"forked": True, "status": done.returncode, "killed": False}
    assert as_fork.read_bytes() == as_program.read_bytes()
    assert output.read_bytes() == done.stdout


def test_a_script_of_somebody_else_is_run_as_the_program_that_it_is(tmp_path: Path) -> None:
    script = tmp_path / "detect"
    script.write_text("#!/bin/sh\necho $MINE\nexit 7\n")
    script.chmod(0o755)
    found = ask(script, tmp_path, {"PATH": "/usr/bin:/bin", "MINE": "yes"}, tmp_path / "output")
    assert found == {"forked": False, "status": 7, "killed": False}
    assert (tmp_path / "output").read_bytes() == b"yes\n"


def test_a_copy_of_our_buildpacks_elsewhere_is_not_taken_for_our_own(tmp_path: Path) -> None:
    script = tmp_path / "detect"
    script.write_bytes((PACKS / OWN[0] / "bin" / "detect").read_bytes())
    script.chmod(0o755)
    found = ask(script, tmp_path, detect_env(tmp_path, OWN[0], tmp_path / "plan.toml"), tmp_path / "output")
    assert found["forked"] is False


def test_a_script_that_hangs_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    script = tmp_path / "detect"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    found = ask(script, tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path / "output", timeout_s=0.2)
    assert (found["status"], found["killed"]) == (None, -9)


def test_a_fork_that_hangs_is_ended_too() -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    program = Program(pid, None)
    assert program.wait(0.05) is None
    assert program.kill() == -9
    assert program.wait(None) == -9
