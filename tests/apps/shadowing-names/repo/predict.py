import app

import gitserver
import runtime


def predict():
    return [runtime.NAME, app.NAME, gitserver.NAME]
