"""Layers for a stack, made on this machine: the same everywhere, nothing of here in them, and fit for both targets."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.ground import HOST, Ground, stack_ground
from buildpacks.image.contents import outbound
from buildpacks.image.oci import image_id
from buildpacks.image.settle import settle
from buildpacks.image.store import LayerStore
from buildpacks.order import BuildFailed, BuiltImage
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from buildpacks.toolchain import find_toolchain
from tests.contract.kitchen_house import Kitchen, layers, run_in
from tests.services.stacks import install_stack

FILES = {"requirements.txt": "markupsafe\n", "predict.py": "def predict(x):\n    return x\n", "README": "hello"}


def store_of(kitchen: Kitchen) -> LayerStore:
    return LayerStore(root=kitchen.state)


def on_stack(state: Path) -> tuple[Kitchen, Stack, StackStore]:
    stack = install_stack(state)
    store = StackStore(root=state / "stacks")
    return Kitchen(state=state, ground=stack_ground(stack, store.rootfs(stack.run), find_toolchain())), stack, store


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kitchen, Stack, StackStore]:
    return on_stack(tmp_path_factory.mktemp("stack") / "state")


@pytest.fixture(name="built", scope="module")
def _built(place: tuple[Kitchen, Stack, StackStore]) -> BuiltImage:
    return place[0].build(FILES)


def test_the_same_tree_has_the_same_digest_on_two_machines(built: BuiltImage, tmp_path: Path) -> None:
    elsewhere, _, _ = on_stack(tmp_path / "quite" / "another" / "place")
    again = elsewhere.build(FILES)
    assert layers(again) == layers(built)
    assert again.digest == built.digest == image_id(built.config)


def test_no_folder_of_this_machine_stands_in_an_image(
    place: tuple[Kitchen, Stack, StackStore], built: BuiltImage
) -> None:
    kitchen, _, store = place
    # Not the home folder alone: wheels speak of the /root of the machines that made them.
    foreign = [os.fsencode(kitchen.state), os.fsencode(find_toolchain().python.parent)]
    image = outbound(built.config, store_of(kitchen), store)
    sent = b"".join(piece for layer in image.layers if layer.kind != "base" for piece in layer.read())
    # The interpreter's own folder is the stack's too where both are the system's.
    assert [path for path in foreign if path in sent and path != b"/usr/bin"] == []
    assert [path for path in foreign if path in image.config and path != b"/usr/bin"] == []


def test_a_layers_length_is_known_before_it_is_read(
    place: tuple[Kitchen, Stack, StackStore], built: BuiltImage
) -> None:
    kitchen, _, store = place
    for layer in outbound(built.config, store_of(kitchen), store).layers:
        assert sum(map(len, layer.read())) == layer.tar_bytes, layer.title


def test_byte_code_is_the_stacks_own(place: tuple[Kitchen, Stack, StackStore], built: BuiltImage) -> None:
    kitchen, stack, store = place
    deps = store_of(kitchen).layer_path(layers(built)["layer", "algo_python/deps"])
    minor = stack.pythons[0].version.rpartition(".")[0]
    module = deps / f"lib/python{minor}/site-packages/markupsafe"
    made = next((module / "__pycache__").glob(f"__init__.cpython-{minor.replace('.', '')}.pyc"))
    own = stack_ground(stack, store.rootfs(stack.run), find_toolchain()).pythons[0]
    script = (
        "import sys, marshal, importlib.util as u; data = open(sys.argv[1], 'rb').read();"
        "assert data[:4] == u.MAGIC_NUMBER and data[4] == 1; print(marshal.loads(data[16:]).co_filename)"
    )
    shown = subprocess.run(
        [*own.compiler, "-I", "-S", "-c", script, str(made)], env=dict(own.compiler_env), capture_output=True,
        text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert shown == f"/layers/algo_python/deps/lib/python{minor}/site-packages/markupsafe/__init__.py"


def test_the_interpreter_in_a_layer_is_the_images(place: tuple[Kitchen, Stack, StackStore], built: BuiltImage) -> None:
    kitchen, stack, _ = place
    deps = store_of(kitchen).layer_path(layers(built)["layer", "algo_python/deps"])
    assert (deps / "bin" / "python").readlink() == Path(stack.pythons[0].path)
    assert "home = /usr/bin" in (deps / "pyvenv.cfg").read_text()


def test_the_process_target_runs_what_was_built_for_the_stack(
    place: tuple[Kitchen, Stack, StackStore], built: BuiltImage
) -> None:
    kitchen, _, _ = place
    assert run_in(kitchen, built, "-c", "import markupsafe; print(markupsafe.escape('<'))").strip() == "&lt;"


def test_what_was_built_for_this_machine_settles_on_the_stack_without_a_build(
    place: tuple[Kitchen, Stack, StackStore], built: BuiltImage, tmp_path: Path
) -> None:
    _, stack, _ = place
    here = Kitchen(state=tmp_path / "state", ground=HOST)
    made = here.build(FILES)
    settled = settle(made.config, stack, store_of(here))
    install_stack(here.state)
    image = outbound(settled, store_of(here), StackStore(root=here.state / "stacks"))
    assert image.layers[0].diff_id == stack.run.layers[0].diff_id
    assert settled["launch"] == built.config["launch"]


def test_a_python_that_the_stack_has_not_is_refused_with_those_that_it_has(
    place: tuple[Kitchen, Stack, StackStore],
) -> None:
    kitchen, stack, _ = place
    code, fields = kitchen.failed({**FILES, ".python-version": "3.9"})
    assert code == "python-missing"
    assert fields["available"] == [python.version for python in stack.pythons]


def test_a_source_build_runs_in_the_container_and_sees_no_password(place: tuple[Kitchen, Stack, StackStore]) -> None:
    """The child that may execute code of the repository, as it is asked for."""
    kitchen, stack, _ = place
    tree = {
        "requirements.txt": "./sdist\n", "predict.py": FILES["predict.py"],
        "sdist/setup.py": "from setuptools import setup\nsetup(name='own', version='1')\n",
    }  # fmt: skip
    index = "https://robot:hunter2@index.example/simple"
    kitchen.children.clear()
    with pytest.raises((BuildFailed, OSError)):
        kitchen.build(tree, install_env={"UV_EXTRA_INDEX_URL": index, "HTTPS_PROXY": "http://proxy.example"})
    first, second = kitchen.children
    assert (first.trusted, first.contained) == (True, False)
    assert (second.trusted, second.contained) == (False, True)
    assert second.argv[0] == stack.pythons[0].path
    assert "hunter2" not in str(second.env)


def test_a_stack_without_a_stand_in_is_built_in_its_container(place: tuple[Kitchen, Stack, StackStore]) -> None:
    kitchen, stack, _ = place
    ground = kitchen.ground
    foreign = Ground(
        stack=ground.stack, platform=ground.platform,
        pythons=[replace(python, host=None) for python in ground.pythons],
    )  # fmt: skip
    other = Kitchen(state=kitchen.state, builds=100, ground=foreign)
    try:
        other.build(FILES)
    except (BuildFailed, OSError):
        pass  # this machine has no such interpreter at that path, or one without the folders of the build image
    assert [(child.trusted, child.contained) for child in other.children] == [(True, True)]
    assert other.children[0].argv[0] == stack.pythons[0].path


def test_sealed_layers_are_readable_for_every_user_of_a_container(
    place: tuple[Kitchen, Stack, StackStore], built: BuiltImage
) -> None:
    kitchen, _, _ = place
    for diff_id in layers(built).values():
        for path in store_of(kitchen).layer_path(diff_id).rglob("*"):
            if not path.is_symlink():
                assert path.stat().st_mode & stat.S_IROTH, path
