"""All the words for what a build can fail with: what happened, whose move is next, the command to type.

Stands alone: buildpacks cannot see gitserver, and a pack run by another platform prints these itself.
{field} is a field of the failure.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.image.words import WORDS as _IMAGE
from buildpacks.stack.words import WORDS as _STACK
from buildpacks.wording import Words

_PUSH = "git commit -am 'fix' && git push algo main"

_SERVING = {
    "nothing-to-serve": Words(
        title="no model and no code to serve",
        body="Nothing here can be served: no model file, no predict.py, no Procfile. At the top of the repository: "
        "{found}.",
        next="commit a model file (model/, models/ or the top folder), or a predict.py with a function predict, "
        "and push again",
    ),
    "ambiguous-models": Words(
        title="more than one model",
        body="Several models could be served, and guessing would be wrong half of the time: {models}.",
        next="algo config set {setting}   (or write a predict.py that loads what it needs)",
    ),
    "model-missing": Words(
        title="model file not found",
        body="BP_MODEL_FILE names {path}, which is no model file of this repository. Models found: {found}.",
        next="algo config set BP_MODEL_FILE=PATH",
    ),
    "model-damaged": Words(
        title="damaged model file",
        body="{path} begins like a model file, and cannot be read as one: it is cut off or damaged.",
        next="write the file again, and push",
    ),
    "lfs-pointer": Words(
        title="model is a Git LFS pointer",
        body="{path} is a Git LFS pointer: the {size} bytes that it stands for were not pushed to this server.",
        next="git lfs push --all algo && git push algo main   (or: git lfs uninstall, git add {path}, commit and push)",
    ),
    "framework-not-served": Words(
        title="{framework} needs a predict.py",
        body="{path} is a {framework} model ({kind}), which this server does not serve without code yet.",
        next="write predict.py with a function predict that loads {path}, and push again",
    ),
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
        next="algo config set BP_ENTRYPOINT=FILE.py:NAME",
    ),
    "procfile-syntax": Words(
        title="Procfile line {line} cannot be read",
        body="Procfile line {line} is not TYPE: COMMAND: {text}",
        next="correct the line, for example: web: gunicorn app:app --bind 0.0.0.0:$PORT",
    ),
    "procfile-no-web": Words(
        title="Procfile without web",
        body="The Procfile has {types}, but no web process, and there is no model to serve instead.",
        next="add to Procfile: web: COMMAND that listens on $PORT",
    ),
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
        next="git rm one of them, commit and push again",
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

_LIFECYCLE = {
    "buildpack-failed": Words(
        title="{buildpack} failed",
        body="The buildpack {buildpack} ended with status {status}; the lines above are what it said.",
        next=_PUSH,
    ),
    "buildpack-bad": Words(
        title="a buildpack breaks the rules",
        body="{file}: {message}",
        next="tell who maintains the buildpack",
        move="operator",
    ),
    "buildpack-api": Words(
        title="buildpack API {found} is not spoken here",
        body="{buildpack} is written for buildpack API {found}; this server speaks {lowest} to {highest}.",
        next="use another version of the buildpack",
        move="operator",
    ),
    "lifecycle-arguments": Words(
        title="the build could not start",
        body="The lifecycle was started wrongly: {message}",
        next="tell the operator; the server's log has the details",
        move="operator",
    ),
    "lifecycle-crashed": Words(
        title="the build crashed",
        body="The lifecycle ended with status {status} and left no result: {detail}",
        next="git push algo main   (again; if it stays, tell the operator)",
        move="operator",
    ),
    "layer-refused": Words(
        title="a file that no image may hold",
        body="{path} is {kind}; images hold plain files, folders and links only.",
        next="remove it from the repository, or from what the buildpack makes",
    ),
    "layer-lost": Words(
        title="a layer of the last build is gone",
        body="{buildpack} reuses its layer {layer}, which is not in the store any more.",
        next="git push algo redeploy",
        move="nobody",
    ),
    "build-timeout": Words(
        title="build took too long",
        body="The build was ended after {seconds} s.",
        next="algo builds logs   (its last lines say what took so long)",
    ),
    "build-memory": Words(
        title="build ran out of memory",
        body="The build needed more than {limit_mib} MiB of memory.",
        next="ask for packages that have wheels: building from source needs the most",
    ),
    "cancelled": Words(
        title="build cancelled",
        body="The build was cancelled.",
        next="git push algo main",
        move="nobody",
    ),
    "launch-no-command": Words(
        title="process {process} has no command",
        body="The image's process {process} has no command to start.",
        next="add a command to the Procfile's {process} line, and push again",
    ),
    "launch-unsupported": Words(
        title="{folder} is not supported yet",
        body="The layer {layer} has a folder {folder}, which this server does not run yet.",
        next="use a buildpack that sets its environment by files under env.launch",
        move="operator",
    ),
}

WORDS: Mapping[str, Words] = {**_SERVING, **_PYTHON, **_LIFECYCLE, **_IMAGE, **_STACK}
