from importlib.metadata import version


def predict():
    return {"packaging": version("packaging")}
