"""Words for repositories whose code does not say which of it is called."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

WORDS: Mapping[str, Words] = {
    "syntax-error": Words(
        title="syntax error in {file}",
        body="{file} line {line}: {message}: {text}",
        next="python -m py_compile {file}",
    ),
    "entrypoint-missing": Words(
        title="nothing to call in {file}",
        body="{file} has not got {expected}.",
        next="def predict(...): ...   in predict.py, or: algo config set BP_ENTRYPOINT=FILE.py:NAME",
    ),
    "ambiguous-entrypoint": Words(
        title="more than one entry point",
        body="{file}: several could be called: {names}.",
        next="algo config set BP_ENTRYPOINT={setting}   (or the one that you mean)",
    ),
    "two-contracts": Words(
        title="more than one way to call the code",
        body="The repository can be called in several ways, and guessing would be wrong half of the time: {found}.",
        next="algo config set BP_ENTRYPOINT={setting}   (or the file that you mean)",
    ),
    "cog-yaml": Words(
        title="cog.yaml cannot be used",
        body="cog.yaml does not say what is called: {message}.",
        next='write in cog.yaml: predict: "predict.py:Predictor", commit and push again',
    ),
    "django-no-wsgi": Words(
        title="manage.py without a wsgi.py",
        body="manage.py belongs to a Django project, and neither {package}/wsgi.py nor {package}/asgi.py makes an "
        "application that could be started.",
        next="django-admin startproject writes such a file; or write into a file named Procfile what starts yours, "
        "for example: {line}",
    ),
}
