"""Files that the code opens and the repository lacks: which are certain, which are only said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.references import find_references, refuse_missing, warnings_of

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


def fill(folder: Path, files: Mapping[str, str]) -> str:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return str(folder)


CERTAIN = [
    "import joblib\nmodel = joblib.load('m.pkl')\n",
    "import pickle\nmodel = pickle.load(open('m.pkl', 'rb'))\n",
    "import pickle\nwith open('m.pkl', 'rb') as file:\n    model = pickle.load(file)\n",
    "import torch as t\nmodel = t.load('m.pkl')\n",
    "import numpy as np\nx = np.load('./m.pkl')\n",
    "from pandas import read_csv\nx = read_csv('m.pkl')\n",
    "from tensorflow.keras.models import load_model\nx = load_model('m.pkl')\n",
    "import tensorflow as tf\nx = tf.keras.models.load_model('m.pkl')\n",
    "import xgboost\nb = xgboost.Booster()\nb.load_model('m.pkl')\n",
    "import os, joblib\nHERE = os.path.dirname(__file__)\nx = joblib.load(os.path.join(HERE, 'm.pkl'))\n",
    "import joblib\nfrom pathlib import Path\nx = joblib.load(Path(__file__).resolve().parent / 'm.pkl')\n",
    "import joblib\nNAME = 'm'\nx = joblib.load(f'{NAME}.pkl')\n",
    "import joblib\nfrom config import PATH\nx = joblib.load(PATH)\n",
    "import joblib, config\nx = joblib.load(config.PATH)\n",
    "import joblib\ndef get():\n    return joblib.load('m.pkl')\nmodel = get()\n",
    "import joblib\ndef load():\n    return joblib.load('m.pkl')\n",
    "import joblib\nclass Model:\n    def __init__(self):\n        self.m = joblib.load('m.pkl')\n",
    "import helper\n",
]


@pytest.mark.parametrize("source", CERTAIN)
def test_what_the_start_opens_and_the_repository_lacks_is_refused(source: str, tmp_path: Path) -> None:
    files = {"app.py": source, "config.py": "PATH = 'm.pkl'\n", "helper.py": "x = open('m.pkl').read()\n"}
    app = fill(tmp_path, files)
    with pytest.raises(PackFailed) as refused:
        refuse_missing(app, "app.py")
    assert refused.value.code == "weights-missing"
    assert refused.value.fields["path"] == "m.pkl"
    fill(tmp_path, {"m.pkl": "x"})
    refuse_missing(app, "app.py")
    assert find_references(app, "app.py") == []


UNCERTAIN = [
    "import os\nif os.path.exists('m.pkl'):\n    x = open('m.pkl')\n",
    "try:\n    x = open('m.pkl')\nexcept OSError:\n    x = None\n",
    "def predict(x):\n    return open('m.pkl')\n",
    "x = open('m.pkl') if FAST else None\n",
    "import gdown\ngdown.download('http://x', 'm.pkl')\nx = open('m.pkl')\n",
    "with open('m.pkl', 'w') as file:\n    file.write('x')\nx = open('m.pkl')\n",
    "if __name__ == '__main__':\n    open('m.pkl')\n",
]


@pytest.mark.parametrize("source", UNCERTAIN)
def test_what_may_be_there_when_it_is_wanted_is_only_said(source: str, tmp_path: Path) -> None:
    app = fill(tmp_path, {"app.py": source})
    refuse_missing(app, "app.py")
    assert [line.split(" line ")[0] for line in warnings_of(app, "app.py")] == ["app.py"]
    assert "opens m.pkl, which is not in the repository" in warnings_of(app, "app.py")[0]


@pytest.mark.parametrize(
    "source",
    [
        "open('m.pkl', 'w').close()\n",
        "open(path)\n",
        "import os\nopen(os.environ.get('M', 'm.pkl'))\n",
        "import pandas as pd\npd.read_csv('https://example.org/x.csv')\n",
        "open('/etc/hostname')\n",
        "x = 'm.pkl'\nx = other()\nopen(x)\n",
        "open('../outside.txt')\n",
    ],
)
def test_what_cannot_be_told_is_not_said(source: str, tmp_path: Path) -> None:
    assert warnings_of(fill(tmp_path, {"app.py": source}), "app.py") == []


@pytest.mark.parametrize(
    ("path", "machine"),
    [
        ("C:\\\\Users\\\\me\\\\m.pkl", "Windows"),
        ("D:/models/m.pkl", "Windows"),
        ("/Users/me/m.pkl", "a Mac"),
        ("/home/me/m.pkl", "somebody's home folder"),
        ("/content/drive/MyDrive/m.pkl", "Colab"),
        ("/kaggle/input/m.pkl", "Kaggle"),
    ],
)
def test_a_path_of_another_machine_is_refused_with_file_and_line(path: str, machine: str, tmp_path: Path) -> None:
    app = fill(tmp_path, {"app.py": f"import joblib\n\nmodel = joblib.load('{path}')\n"})
    with pytest.raises(PackFailed) as refused:
        refuse_missing(app, "app.py")
    assert refused.value.code == "foreign-path"
    assert (refused.value.fields["line"], refused.value.fields["machine"]) == (3, machine)


def test_a_git_lfs_pointer_that_the_code_opens_is_refused(tmp_path: Path) -> None:
    app = fill(tmp_path, {"app.py": "model = open('m.bin', 'rb')\n", "m.bin": POINTER})
    with pytest.raises(PackFailed) as refused:
        refuse_missing(app, "app.py")
    assert (refused.value.code, refused.value.fields) == ("lfs-pointer", {"path": "m.bin", "size": 12345})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"m.pkl.dvc": "outs:\n"}, "dvc pull m.pkl && git add -f m.pkl"),
        ({"models/m.pkl": "x"}, "the repository has models/m.pkl"),
        ({"M.pkl": "x"}, "the repository has M.pkl"),
        ({}, "git add -f m.pkl"),
    ],
)
def test_the_way_out_fits_why_the_file_is_missing(files: dict[str, str], words: str, tmp_path: Path) -> None:
    app = fill(tmp_path, {"app.py": "open('m.pkl')\n", **files})
    with pytest.raises(PackFailed) as refused:
        refuse_missing(app, "app.py")
    assert words in str(refused.value.fields["mend"])


@pytest.mark.parametrize(
    "source",
    [
        "import pandas as pd\npd.read_parquet('s3://bucket/x.parquet')\n",
        "from transformers import AutoModel\nAutoModel.from_pretrained('bert-base-uncased')\n",
        "import mlflow\nmlflow.pyfunc.load_model('models:/iris/3')\n",
    ],
)
def test_what_comes_over_the_network_is_said(source: str, tmp_path: Path) -> None:
    lines = warnings_of(fill(tmp_path, {"app.py": source}), "app.py")
    assert len(lines) == 1
    assert "must be reachable" in lines[0]


def test_a_model_folder_that_is_not_here_is_missing(tmp_path: Path) -> None:
    source = "from transformers import AutoModel\nAutoModel.from_pretrained('./my-model')\n"
    with pytest.raises(PackFailed) as refused:
        refuse_missing(fill(tmp_path, {"app.py": source}), "app.py")
    assert refused.value.fields["path"] == "my-model"


def test_nothing_is_imported_to_find_what_is_missing(tmp_path: Path) -> None:
    marker = tmp_path / "imported"
    trap = f"__import__('pathlib').Path({str(marker)!r}).touch()\n"
    find_references(fill(tmp_path / "repo", {"app.py": f"import helper\n{trap}", "helper.py": trap}), "app.py")
    assert not marker.exists()


@pytest.mark.parametrize("place", ["m.pkl", "src/m.pkl", "src/web/m.pkl"])
def test_a_path_may_begin_at_every_folder_that_the_app_may_be_started_in(place: str, tmp_path: Path) -> None:
    app = fill(tmp_path, {"src/web/app.py": "open('m.pkl')\n", place: "x"})
    assert find_references(app, "src/web/app.py") == []


def test_files_that_import_each_other_end(tmp_path: Path) -> None:
    app = fill(tmp_path, {"a.py": "import b\nopen('x.bin')\n", "b.py": "import a\nopen('y.bin')\n"})
    assert [(one.file, one.path) for one in find_references(app, "a.py")] == [("a.py", "x.bin"), ("b.py", "y.bin")]
