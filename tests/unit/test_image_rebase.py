"""A rebase keeps every layer, or is refused with what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from buildpacks.ground import stack_document
from buildpacks.image.rebase import lies_on, rebase, stack_name
from buildpacks.image.values import LAYER_GZIP, Blob
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.values import BaseImage, BaseLayer, Stack, StackPython


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def make_stack(name: str, letter: str, **changes: Any) -> Stack:
    run = BaseImage(
        reference=f"algo/{name}-run",
        image_id=digest(letter),
        manifest_digest=digest("9"),
        config={
            "architecture": "amd64", "os": "linux",
            "config": {"Env": ["PATH=/usr/bin"], "Labels": {
                "io.buildpacks.base.distro.name": "debian", "io.buildpacks.base.distro.version": "12",
            }},
        },
        layers=(
            BaseLayer(diff_id=digest(letter), blob=Blob(digest=digest("8"), size_bytes=9, media_type=LAYER_GZIP)),
        ),
    )  # fmt: skip
    stack = Stack(
        name=name, run=run, build=None, pythons=(StackPython(version="3.11.2", path="/usr/bin/python3.11"),),
        libc="glibc 2.36", arch="amd64", distro="debian", distro_version="12",
    )  # fmt: skip
    return replace(stack, **changes)


OLD = make_stack("bookworm", "a")
DOC: dict[str, Json] = {
    "base": OLD.run.reference,
    "stack": stack_document(OLD),
    "python": {"version": "3.11.2", "path": "/usr/bin/python3.11"},
    "layers": [{"diff_id": digest("1"), "kind": "layer", "path": "algo_python/deps", "size_bytes": 1, "tar_bytes": 2}],
    "launch": {"argv": ["python"], "env": {"PATH": "/layers/algo_python/deps/bin"}, "cwd": "/workspace"},
    "processes": [], "buildpacks": [], "labels": {}, "model": None, "lifecycle": {},
}  # fmt: skip


@pytest.mark.conformance("1.9-rebase")
def test_a_rebase_changes_the_base_and_nothing_else() -> None:
    new = make_stack("bookworm-2", "b", pythons=(StackPython(version="3.11.9", path="/usr/bin/python3.11"),))
    moved = rebase(DOC, new)
    assert moved["base"] == "algo/bookworm-2-run"
    assert moved["stack"] == stack_document(new)
    assert moved["python"] == {"version": "3.11.9", "path": "/usr/bin/python3.11"}
    unchanged = set(DOC) - {"base", "stack", "python"}
    assert {key: moved[key] for key in unchanged} == {key: DOC[key] for key in unchanged}
    assert (lies_on(DOC, new), lies_on(moved, new)) == (False, True)


def test_a_rebase_there_and_back_is_the_same_document() -> None:
    assert rebase(rebase(DOC, make_stack("other", "b")), OLD) == DOC


def test_an_image_without_python_moves_to_a_stack_without_one() -> None:
    moved = rebase({**DOC, "python": None}, make_stack("plain", "b", pythons=()))
    assert moved["python"] is None


def _run_with(**config: Json) -> BaseImage:
    return replace(OLD.run, config={**OLD.run.config, **config})


@pytest.mark.conformance("1.9-rebase")
@pytest.mark.parametrize(
    ("changes", "what", "made_for", "found"),
    [
        ({"run": _run_with(architecture="arm64")}, "architecture", "amd64", "arm64"),
        ({"run": _run_with(variant="v8")}, "variant", "none", "v8"),
        ({"libc": "glibc 2.35"}, "C library", "glibc 2.36", "glibc 2.35"),
        ({"libc": "musl 1.2.5"}, "C library", "glibc 2.36", "musl 1.2.5"),
        ({"libc": ""}, "C library", "glibc 2.36", "unknown"),
        ({"distro_version": "13"}, "distribution", "12", "13"),
        ({"distro": "ubuntu"}, "distribution", "debian", "ubuntu"),
        ({"pythons": ()}, "Python", "3.11.2 at /usr/bin/python3.11", "none"),
        (
            {"pythons": (StackPython(version="3.13.5", path="/usr/bin/python3.13"),)},
            "Python", "3.11.2 at /usr/bin/python3.11", "3.13.5 at /usr/bin/python3.13",
        ),
        (
            {"pythons": (StackPython(version="3.11.2", path="/usr/local/bin/python3.11"),)},
            "Python", "3.11.2 at /usr/bin/python3.11", "3.11.2 at /usr/local/bin/python3.11",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_the_image_was_made_for(
    changes: dict[str, Any], what: str, made_for: str, found: str
) -> None:
    with pytest.raises(BuildFailed) as caught:
        rebase(DOC, make_stack("new", "b", **changes))
    assert caught.value.code == "rebase-misfit"
    assert caught.value.fields == {"stack": "new", "what": what, "made_for": made_for, "found": found}


@pytest.mark.parametrize("libc", ["glibc 2.36", "glibc 2.36.1", "glibc 2.41", "glibc 3.0"])
def test_a_newer_c_library_fits(libc: str) -> None:
    assert rebase(DOC, make_stack("new", "b", libc=libc))["base"] == "algo/new-run"


@pytest.mark.parametrize("doc", [{"base": "host"}, {"base": "host", "stack": None}, {"base": "dockerfile"}])
def test_an_image_that_lies_on_no_stack_is_refused(doc: dict[str, Json]) -> None:
    with pytest.raises(BuildFailed) as caught:
        rebase(doc, make_stack("new", "b"))
    assert (caught.value.code, caught.value.fields) == ("rebase-no-stack", {"base": doc["base"]})
    assert stack_name(doc) == doc["base"]
