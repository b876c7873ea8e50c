"""Real model files against other versions of their frameworks: told or refused when the lock is made, before any start.

The models are made by the frameworks themselves, the versions that meet them are tiny wheels of an index here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.kitchen_house import Kitchen
from tests.services.model_makers import model_cases
from tests.services.wheels import Index, serve_index, wheel

# The first run on a machine makes the models.
pytestmark = pytest.mark.timeout(900)
VERSIONS = {
    "torch": ("2.9.1", "2.15.0", "2.16.0", "3.0.0"),
    "tensorflow": ("2.12.0", "2.21.0", "3.0.0"),
    "tensorflow-cpu": ("2.12.0", "2.21.0", "3.0.0"),
    "keras": ("2.15.0", "3.2.0", "3.15.1", "3.16.0"),
    "transformers": ("4.30.0", "5.23.0", "5.24.0", "6.0.0"),
}


@pytest.fixture(name="index", scope="module")
def _index() -> Iterator[Index]:
    shim = [wheel("flask", "3.1.0"), wheel("gunicorn", "23.0.0"), wheel("numpy", "2.1.0"), wheel("h5py", "3.12.0")]
    with serve_index(
        *shim, *(wheel(name, version) for name, versions in VERSIONS.items() for version in versions)
    ) as index:
        yield index


@pytest.fixture(name="kitchen")
def _kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(state=tmp_path)


def files_of(family: str, name: str, requirements: str = "") -> dict[str, bytes]:
    """A repository with that model and, when there are any, those requirements."""
    case = model_cases(family)[name]
    case_files = [case.host_path] if case.host_path.is_file() else sorted(case.host_path.rglob("*"))
    files = {
        f"{case.file}/{path.relative_to(case.host_path)}" if path != case.host_path else case.file: path.read_bytes()
        for path in case_files
        if path.is_file()
    }
    return files | ({"requirements.txt": requirements.encode()} if requirements else {})


def env_of(index: Index) -> dict[str, str]:
    return {**index.env, "BP_TORCH_INDEX": "off"}


@pytest.mark.parametrize(
    ("family", "name", "added", "chosen"),
    [
        ("torch", "torch-export", "torch>=2.15.0,<3: iris.pt2 was written by it", "torch==2.16.0"),
        (
            "torch",
            "transformers-features",
            "transformers>=5.23.0,<6: transformers-features was",
            "transformers==5.24.0",
        ),
        ("tensorflow", "savedmodel", "tensorflow>=2.21.0,<3: saved was written by it", "tensorflow-cpu==2.21.0"),
        ("tensorflow", "keras", "keras==3.15.1: iris.keras was written by it", "keras==3.15.1"),
    ],
)
def test_without_a_wish_of_the_user_the_file_chooses_the_version(
    family: str, name: str, added: str, chosen: str, kitchen: Kitchen, index: Index
) -> None:
    built = kitchen.build(files_of(family, name), install_env=env_of(index))
    log = "\n".join(kitchen.log)
    assert f"Added {added}" in log
    assert "Warning:" not in log
    assert chosen in str(built.config)


@pytest.mark.parametrize(
    ("family", "name", "requirements", "warning"),
    [
        ("torch", "transformers-features", "transformers==4.30.0",
         ("transformers-features was written by transformers 5.23.0, and 4.30.0 will load it: an older transformers "
          "may not know this architecture (echo 'transformers>=5.23.0' >> requirements.txt)")),
        ("tensorflow", "savedmodel", "tensorflow==2.12.0",
         ("saved was written by tensorflow 2.21.0, and 2.12.0 will load it: a SavedModel is read by its own version "
          "and newer ones (echo 'tensorflow>=2.21.0' >> requirements.txt)")),
        ("tensorflow", "keras", "keras==3.2.0",
         ("iris.keras was written by keras 3.15.1, and 3.2.0 will load it: an older Keras may not know the layers of "
          "a newer one (echo 'keras==3.15.1' >> requirements.txt)")),
        ("tensorflow", "keras-2-h5", "",
         ("old.h5 was written by keras 2.21.0, and 3.16.0 will load it: Keras 3 reads only part of what Keras 2 wrote "
          "(if it fails: tf_keras.models.load_model(...).export('model') once")),
    ],
)  # fmt: skip
def test_another_version_is_told_in_the_push(
    family: str, name: str, requirements: str, warning: str, kitchen: Kitchen, index: Index
) -> None:
    kitchen.build(files_of(family, name, requirements), install_env=env_of(index))
    assert f"Warning: {warning}" in "\n".join(kitchen.log)


@pytest.mark.parametrize(
    ("family", "name", "requirements", "fields"),
    [
        ("torch", "torch-export", "torch==2.9.1",
         {"path": "iris.pt2", "package": "torch", "written_by": "2.15.0", "loaded": "2.9.1",
          "reason": "an archive of torch.export is read by its own version and newer ones",
          "todo": "echo 'torch==2.15.0' >> requirements.txt"}),
        ("tensorflow", "keras", "keras==2.15.0",
         {"path": "iris.keras", "package": "keras", "written_by": "3.15.1", "loaded": "2.15.0",
          "reason": "Keras 2 does not read files of Keras 3", "todo": "echo 'keras==3.15.1' >> requirements.txt"}),
    ],
)  # fmt: skip
def test_a_version_that_cannot_read_the_file_is_refused_before_anything_starts(
    family: str, name: str, requirements: str, fields: dict[str, str], kitchen: Kitchen, index: Index
) -> None:
    found = kitchen.failed(files_of(family, name, requirements), install_env=env_of(index))
    assert found == ("model-skew", fields)


def test_an_index_of_pytorch_is_the_operators_to_choose_and_an_app_that_sets_one_is_told(kitchen: Kitchen) -> None:
    files = {"predict.py": b"def predict(x):\n    return x\n"}
    found = kitchen.failed(files, platform_env={"BP_TORCH_INDEX": "https://index.invalid/whl/cpu"})
    assert found == ("setting-of-operator", {"name": "BP_TORCH_INDEX"})


def test_the_program_of_sagemaker_reaches_detection(kitchen: Kitchen, index: Index) -> None:
    files = {
        "code/serve.py": b"def model_fn(model_dir):\n    return 1\n\n\ndef predict_fn(data, model):\n    return data\n"
    }
    kitchen.build(files, platform_env={"SAGEMAKER_PROGRAM": "serve.py"}, install_env=env_of(index))
    assert "code/serve.py line 1: SageMaker's model_fn, predict_fn (SAGEMAKER_PROGRAM)" in "\n".join(kitchen.log)
