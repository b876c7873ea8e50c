"""Train the iris classifier: writes model/iris.joblib and the requirements.txt that can load it again.

Run     python train.py
Input   the 150 flowers that ship with scikit-learn: rows of four lengths in centimetres
Output  a pipeline that answers 0, 1 or 2 (setosa, versicolor, virginica) for each row
"""

from pathlib import Path

import joblib
import sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    """Train, print the accuracy on flowers that were held back, write the files beside this one."""
    rows, species = load_iris(return_X_y=True)
    train_rows, test_rows, train_species, test_species = train_test_split(rows, species, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(train_rows, train_species)
    here = Path(__file__).resolve().parent
    (here / "model").mkdir(exist_ok=True)
    joblib.dump(model, here / "model" / "iris.joblib")
    # A pickled model belongs to the version that wrote it: say which, so that the same one loads it.
    (here / "requirements.txt").write_text(f"scikit-learn=={sklearn.__version__}\n", encoding="utf-8")
    print(f"accuracy {model.score(test_rows, test_species):.3f} on {len(test_rows)} flowers; wrote model/iris.joblib")


if __name__ == "__main__":
    main()
