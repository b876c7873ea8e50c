"""All the words for what a build can fail with: what happened, whose move is next, the command to type.

Stands alone: buildpacks cannot see gitserver, and a pack run by another platform prints these itself.
{field} is a field of the failure.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.choosing_words import CHOOSING_WORDS as _CHOOSING
from buildpacks.image.words import WORDS as _IMAGE
from buildpacks.lifecycle_words import WORDS as _LIFECYCLE
from buildpacks.packs.algo_model.source_words import WORDS as _SOURCE
from buildpacks.packs.algo_model.words import WORDS as _MODEL
from buildpacks.packs.algo_procfile.words import WORDS as _WEB
from buildpacks.packs.algo_python.words import WORDS as _DEPENDENCIES
from buildpacks.packs.languages_words import WORDS as _LANGUAGES
from buildpacks.stack.words import WORDS as _STACK
from buildpacks.wording import Words

_SERVING = {
    "none-detected": Words(
        title="no buildpack fits",
        body="No buildpack recognised this repository; tried {buildpacks}.",
        next="commit a model file, a predict.py or a Procfile, and push again",
    ),
}

_PYTHON = {
    "python-missing": Words(
        title="Python {wanted} is not available",
        body="{reason} asks for Python {wanted}; this server has {available}.",
        next="change {reason} to a version that is here, or ask the operator to install it",
    ),
    "python-version-bad": Words(
        title="Python version not understood",
        body="{file} says '{found}', which is no Python version.",
        next="echo 3.11 > .python-version",
    ),
    "python-broken": Words(
        title="the server's Python does not work",
        body="{python} ended with status {status} while compiling byte-code.",
        next="tell the operator to repair or remove {python}",
        move="operator",
    ),
    "runtime-missing": Words(
        title="the server's runtime is missing",
        body="The files of the runtime shim are not at {path}.",
        next="tell the operator to install the server again",
        move="operator",
    ),
    "two-managers": Words(
        title="{first} and {second} at once",
        body="The repository has {first} and {second}; which of the two decides the packages cannot be guessed.",
        next="git rm one of them, commit and push again; or: algo config set BP_REQUIREMENTS={first}",
    ),
    "manager-not-served": Words(
        title="{file} is not supported",
        body="{file} belongs to {manager}, which this server does not install from.",
        next="export the packages to requirements.txt, git rm {file}, commit and push again",
    ),
    "requirements-syntax": Words(
        title="{file} line {line} cannot be read",
        body="{file} line {line}: {text}: {message}",
        next="correct line {line} of {file}, commit and push again",
    ),
    "requirements-outside": Words(
        title="included file {file} not found",
        body="requirements.txt includes {file}, which is not a file of this repository.",
        next="git add {file}, or remove the line that includes it",
    ),
    "index-credentials": Words(
        title="password in {file}",
        body="{file} line {line} holds a user name or password inside a URL; it would end up in logs and images.",
        next="remove it there, revoke it, and ask the operator to set the index for this server",
    ),
    "requirement-missing": Words(
        title="no package '{name}'",
        body="There is no package {name} in the index; it is asked for by {where}: {text}",
        next="correct the name, commit and push again",
    ),
    "requirement-version-missing": Words(
        title="no such version of {name}",
        body="The version of {name} that {where} asks for does not exist: {text}. {explanation}",
        next="pip index versions {name}",
    ),
    "requirements-conflict": Words(
        title="requirements contradict each other",
        body="No set of versions fits: {explanation} Yours: {lines}.",
        next="loosen one of them, commit and push again",
    ),
    "no-wheel": Words(
        title="{name} is not made for Python {python}",
        body="{name} has no file that fits Python {python} on this machine, and no source to build it from ({where}).",
        next="ask for another version of {name}, or another Python: echo 3.11 > .python-version",
    ),
    "needs-source-build": Words(
        title="{name} must be built from source",
        body="{name} has no wheel for Python {python}; it would have to be built from source.",
        next="ask for a version of {name} that has a wheel",
    ),
    "source-build-failed": Words(
        title="{name} could not be built",
        body="{name} has no wheel, and building it from source failed: {output}",
        next="ask for a version of {name} that has a wheel for this Python",
    ),
    "hash-mismatch": Words(
        title="{name} is not the file that was locked",
        body="The index gave a file for {name} whose hash is not the one in the lock.",
        next="git push algo redeploy   (and if it comes again, do not trust that index)",
    ),
    "index-unreachable": Words(
        title="package index unreachable",
        body="{url} does not answer: {cause}",
        next="git push algo main   (again in a minute; if it lasts, tell the operator)",
        move="operator",
    ),
    "index-denied": Words(
        title="package index refused access",
        body="{url} refuses this server.",
        next="tell the operator to correct the index settings of the server",
        move="operator",
    ),
    "no-space": Words(
        title="disk full",
        body="There was no space left while packages were installed.",
        next="tell the operator to free space on the server",
        move="operator",
    ),
    "dependencies-failed": Words(
        title="dependencies cannot be installed",
        body="uv failed: {output}",
        next="correct the requirements, commit and push again",
    ),
}

WORDS: Mapping[str, Words] = {
    **_SERVING,
    **_MODEL,
    **_SOURCE,
    **_WEB,
    **_PYTHON,
    **_DEPENDENCIES,
    **_LANGUAGES,
    **_LIFECYCLE,
    **_CHOOSING,
    **_IMAGE,
    **_STACK,
}
