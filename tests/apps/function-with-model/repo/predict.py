import joblib

MODEL = joblib.load("model/iris.joblib")
NAMES = ["setosa", "versicolor", "virginica"]


def predict(rows):
    return {"species": [NAMES[number] for number in MODEL.predict(rows)]}
