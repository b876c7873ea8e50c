from packaging.version import Version


def predict(versions):
    return {"newest": max(versions, key=Version)}
