"""Our buildpacks on a platform that is not ours: what they do without what this server tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_python.uv import ask_uv
from buildpacks.packs.cnb import ERROR, PASS, Context, PackFailed, run


def context_of(layers: Path) -> Context:
    return Context(app="/", layers=str(layers), platform="", plan="", buildpack="", env={})


def test_whole_numbers_that_came_back_as_fractions_are_whole_again(tmp_path: Path) -> None:
    (tmp_path / "deps.toml").write_text('[metadata]\nsize = 245315765.0\nratio = 0.5\nkey = "1.0"\nnew = true\n')
    restored = context_of(tmp_path).restored("deps")
    assert repr(restored) == "{'size': 245315765, 'ratio': 0.5, 'key': '1.0', 'new': True}"


def as_packaged(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The environment of a detection, as the specification has it."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CNB_BUILDPACK_DIR", str(folder))
    monkeypatch.setenv("CNB_BUILD_PLAN_PATH", str(folder / "plan.toml"))
    monkeypatch.setenv("PATH", "/usr/bin")
    for name in ("CNB_BP_PLAN_PATH", "ALGO_FAILURE_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_programs_of_a_buildpack_that_was_packaged_alone_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_packaged(monkeypatch, tmp_path)
    seen = []

    def main(context: Context) -> int:
        seen.append(context.env["PATH"])
        return PASS

    assert run(main) == PASS
    (tmp_path / "tools").mkdir()
    assert run(main) == PASS
    assert seen == ["/usr/bin", f"{tmp_path}/tools:/usr/bin"]


def test_a_refusal_is_written_out_where_nobody_words_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_packaged(monkeypatch, tmp_path)

    def main(_context: Context) -> int:
        ask_uv(["--version"], {"PATH": str(tmp_path)}, cwd=str(tmp_path))
        return PASS

    assert run(main) == ERROR
    assert capsys.readouterr().out.splitlines() == [
        " !     uv is missing",
        " !     Packages are installed by uv, and uv is neither on PATH nor in tools/ of the buildpack.",
        " !     tell the operator to put uv on PATH of the build image, or into tools/ of algo/python",
    ]


def test_a_folder_that_is_gone_is_not_taken_for_a_missing_uv(tmp_path: Path) -> None:
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(FileNotFoundError):
        ask_uv([], {"BP_UV": str(program)}, cwd=str(tmp_path / "gone"))


def test_a_missing_uv_is_named_by_its_place() -> None:
    with pytest.raises(PackFailed) as caught:
        ask_uv([], {"BP_UV": "/nowhere/uv"}, cwd="/")
    assert (caught.value.code, caught.value.fields) == ("uv-missing", {"program": "/nowhere/uv"})
