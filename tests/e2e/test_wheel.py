"""The wheel: exactly the four packages, the buildpacks' scripts still executable, our name on it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as a release would build it."""
    out = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "build", "--wheel", "-q", "--python", sys.executable, "--out-dir", str(out), str(ROOT)]
    subprocess.run(command, env=dict(os.environ), check=True, timeout=200)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_exactly_the_four_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gitserver", "buildpacks", "runtime", "k8s"}
    assert {top.split("-")[0] for top in tops if top.endswith(".dist-info")} == {"algopush"}


def test_the_wheel_holds_what_the_server_needs_beside_modules(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert [name for name in names if name.endswith("/buildpack.toml")]
    scripts = [info for info in wheel.infolist() if "/bin/" in info.filename and "packs/" in info.filename]
    assert scripts
    for info in scripts:
        assert info.external_attr >> 16 & 0o111, f"{info.filename} is not executable"
    assert [name for name in names if "migrations" in name], "the ledger's migrations travel along"
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
