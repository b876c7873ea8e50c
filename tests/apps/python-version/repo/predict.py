import sys


def predict():
    return f"{sys.version_info[0]}.{sys.version_info[1]}"
