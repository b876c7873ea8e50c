"""Model files, trained when a test needs them: none is ever committed."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

SETOSA, VIRGINICA = [5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]  # rows of the iris data set: classes 0 and 2


@cache
def iris_model() -> Any:
    """A pipeline that scales and classifies irises: float64 rows (n, 4) to classes 0, 1, 2."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, classes = load_iris(return_X_y=True)
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(rows, classes)


def iris_bytes(form: str) -> bytes:
    """The model as a file's bytes. form: joblib, joblib-zlib, joblib-cut (its first half), pickle."""
    import io

    import joblib

    if form == "pickle":
        return pickle.dumps(iris_model(), protocol=5)
    buffer = io.BytesIO()
    joblib.dump(iris_model(), buffer, compress=("zlib", 3) if form == "joblib-zlib" else 0)
    whole = buffer.getvalue()
    return whole[: len(whole) // 2] if form == "joblib-cut" else whole


def installed_version(name: str) -> str:
    """The version of a distribution in the tests' environment."""
    from importlib.metadata import version

    return version(name)


def old_tree_bytes(folder: Path, *, sklearn: str = "1.2.2") -> bytes:
    """A decision tree written by an old scikit-learn, which every later one refuses to load.

    folder   where that version is installed, once
    Why      1.3 added a field to the nodes of a tree, so a file of 1.2 ends in "node array from the pickle has an
             incompatible dtype": a skew that breaks, not one that warns
    Source   scikit-learn, sklearn/tree/_tree.pyx, _check_node_ndarray
    """
    out = folder / "tree.joblib"
    if not out.exists():
        site = folder / "site"
        uv = str(Path(sys.executable).parent / "uv")
        wanted = [f"scikit-learn=={sklearn}", "numpy<2", "joblib"]
        install = [uv, "pip", "install", "-q", "--python", sys.executable, "--only-binary", ":all:", "--target"]
        subprocess.run([*install, str(site), *wanted], check=True, timeout=300)
        program = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import joblib, sklearn\n"
            "assert sklearn.__version__ == sys.argv[3], sklearn.__version__\n"
            "from sklearn.datasets import load_iris\n"
            "from sklearn.tree import DecisionTreeClassifier\n"
            "rows, classes = load_iris(return_X_y=True)\n"
            "joblib.dump(DecisionTreeClassifier(random_state=0).fit(rows, classes), sys.argv[2])\n"
        )
        command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", program, str(site), str(out), sklearn]
        subprocess.run(command, check=True, timeout=120)
    return out.read_bytes()
