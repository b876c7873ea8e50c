"""What `BP_GPU=also` asks, which packages have builds of both kinds, and which CUDA libraries a lock has twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_python.cuda import find_twice
from buildpacks.packs.algo_python.gpu_layer import add_gpu_layer, builds_for_cards
from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.locks import Locked
from buildpacks.packs.algo_python.manager import Manager
from buildpacks.packs.algo_python.resolve import inputs_key, wants_both
from buildpacks.packs.algo_python.variants import wants_gpu
from buildpacks.packs.cnb import Context

PYTHON = Interpreter(version=(3, 11, 2), path="/usr/bin/python3.11", image_path="/usr/bin/python3.11")
LOCK = "torch==2.7.0+cpu\nxgboost-cpu==3.2.0\ntensorflow-cpu==2.21.0\nnumpy==2.0.0\n"


def manager(kind: str = "requirements", locked: list[Locked] | None = None, **named: str) -> Manager:
    names = {name.replace("_", "-"): spec for name, spec in named.items()}
    return Manager(kind=kind, file="requirements.txt", files={}, named=names, lines={}, locked=locked)


@pytest.mark.parametrize(
    ("value", "card", "both"),
    [("", False, False), ("0", False, False), ("1", True, False), ("yes", True, False), ("Also", False, True)],
)
def test_one_setting_asks_for_a_card_or_for_both(value: str, card: bool, both: bool) -> None:
    assert (wants_gpu({"BP_GPU": value}), wants_both({"BP_GPU": value})) == (card, both)


def test_a_second_image_is_no_part_of_the_first_ones_question() -> None:
    keys = [inputs_key(manager(), [], PYTHON, {"BP_GPU": value}) for value in ("", "also", "1")]
    assert keys[0] == keys[1] != keys[2]


def test_what_was_swapped_is_swapped_back_and_what_a_user_named_so_is_not() -> None:
    assert builds_for_cards(manager(), LOCK) == {
        "torch": "2.7.0", "xgboost-cpu": "3.2.0", "tensorflow-cpu": "2.21.0",
    }  # fmt: skip
    named = manager(torch="==2.7.0+cpu", tensorflow_cpu="")
    assert builds_for_cards(named, LOCK) == {"xgboost-cpu": "3.2.0"}


@pytest.mark.parametrize("own", [manager("uv"), manager("pylock", [])])
def test_of_a_users_own_lock_nothing_is_swapped(own: Manager) -> None:
    assert builds_for_cards(own, LOCK) == {}


def test_another_platform_gets_one_image_and_the_log_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = Context(
        app=str(tmp_path), layers=str(tmp_path), platform="", plan="", buildpack="", env={"BP_GPU": "also"}
    )
    add_gpu_layer(context, manager(), [], PYTHON, LOCK)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == (
        "       Warning: BP_GPU=also makes a second image, and this platform makes one: it has the builds for "
        "processors\n"
    )


@pytest.mark.parametrize(
    ("names", "twice"),
    [
        (["torch", "nvidia-cublas-cu12", "nvidia-cudnn-cu12", "nvidia-ml-py"], []),
        (["nvidia-cublas", "nvidia-cublas-cu12", "nvidia-cudnn-cu13"], [["nvidia-cublas", "nvidia-cublas-cu12"]]),
        (
            ["nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-cuda-runtime-cu12", "nvidia-cuda-nvrtc"],
            [["nvidia-nccl-cu12", "nvidia-nccl-cu13"]],
        ),
    ],
)
def test_one_library_for_two_versions_of_cuda_is_found_by_its_name(names: list[str], twice: list[list[str]]) -> None:
    assert find_twice(dict.fromkeys(names, "1.0")) == twice
