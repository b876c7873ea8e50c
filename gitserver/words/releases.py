"""Words for releases that do not come up."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import STAYS, Words

_OPERATOR = Move.OPERATOR

# What the process target sees from outside.
_PROCESSES = {
    "start-crashed": Words(
        title="the process ended at its start ({how})",
        body=f"The process ended with {{how}} before it answered a call. {STAYS}",
        next="run the same command in your working copy, mend it, and push again",
        status=422,
    ),
    "out-of-memory": Words(
        title="out of memory: more than {limit_mib} MiB",
        body=f"The release needs more than its {{limit_mib}} MiB of memory, and the kernel ended it. {STAYS}",
        next="use a smaller model or load it with mmap; the operator can give more: algo serve --memory-mib N",
        status=422,
    ),
    "never-listened": Words(
        title="the web process never listened on $PORT",
        body=f"The web process ran for {{seconds}} s and did not answer on the port in $PORT. {STAYS}",
        next="listen on the port in the variable PORT, on 127.0.0.1 or 0.0.0.0, and push again",
        status=422,
    ),
    "wrong-port": Words(
        title="the web process listens on port {found}, not on $PORT",
        body=f"The web process listens on port {{found}}; calls arrive at the port in $PORT ({{expected}}). {STAYS}",
        next="read the port from the variable PORT instead of writing {found} in the code, and push again",
        status=422,
    ),
    "start-timeout": Words(
        title="not ready within {seconds} s",
        body=f"The model was still loading after {{seconds}} s. {STAYS}",
        next="load less at the start; the operator can wait longer: algo serve --ready-timeout-s N",
        status=422,
    ),
    "no-web-process": Words(
        title="no web process",
        body="The image has no process that answers calls; it has {found}.",
        next="add a line to Procfile: web: COMMAND, listening on $PORT",
        status=422,
    ),
    "module-missing": Words(
        title="no module named {module}",
        body=f"The process ended with {{how}}: there is no module {{module}}, neither among the installed packages nor "
        f"in the repository. {STAYS}",
        next="add this line to requirements.txt and push again: {package}   (or, if it is yours: git add {file}.py)",
        status=422,
    ),
    "library-missing": Words(
        title="{library} is not installed",
        body=f"The process ended with {{how}}: a package needs {{library}} of the system, which is not here. {STAYS}",
        next="{mend}",
        status=422,
    ),
    "release-failed": Words(
        title="the release process ended with {how}",
        body=f"The Procfile's release: process ended with {{how}}, so nothing was switched. {STAYS}",
        next="mend what it says above, and push again",
        status=422,
    ),
    "release-timeout": Words(
        title="the release process took over {seconds} s",
        body=f"The Procfile's release: process was ended after {{seconds}} s, so nothing was switched. {STAYS}",
        next="do less in release:, or ask the operator for more: algo serve --build-timeout-s N",
        status=422,
    ),
    "python-not-here": Words(
        title="this machine has no Python {wanted}",
        body="The image is made for Python {wanted}, and this machine has only {available}.",
        next="install that Python, or serve with --target docker, where the image brings its own",
        move=Move.OPERATOR,
    ),
    "layer-gone": Words(
        title="a layer of the image is gone",
        body="Image {digest} cannot be put together: {path} is not in the layer store any more.",
        next="git push algo main:redeploy   (builds the commit again)",
        move=Move.OPERATOR,
    ),
    "launch-failed": Words(
        title="the image cannot be started",
        body="The image cannot be started: {detail}.",
        next="push again; tell the operator if it happens twice",
        move=_OPERATOR,
        status=500,
    ),
    "image-gone": Words(
        title="the image is not there any more",
        body="The image {digest} is not in the store any more.",
        next="git push algo main:redeploy",
        status=409,
    ),
    "isolation-missing": Words(
        title="isolation not possible here",
        body="Releases must be isolated at the level '{required}', and this machine gives '{found}': {why}.",
        next="run with CAP_SYS_ADMIN, or move state folder and Python to where other users can pass, or accept less: "
        "algo serve --isolation none",
        move=_OPERATOR,
    ),
    "sandbox-failed": Words(
        title="the sandbox could not be made",
        body=f"The sandbox could not be made, at step '{{step}}': {{detail}}. {STAYS}",
        next="push again; tell the operator if it happens twice",
        move=_OPERATOR,
        status=500,
    ),
    "too-many-apps": Words(
        title="this machine has no user left for another app",
        body="Each app runs as a user of its own, and all of them are taken.",
        next="ask the operator for another server",
        move=_OPERATOR,
        status=500,
    ),
}

# What the runtime shim says of its own end (runtime/failure.py).
_SHIM = {
    "runtime-setting": Words(
        title="wrong setting {name}",
        body="{name} is '{found}', which the runtime does not understand.",
        next="algo config unset {name}",
        status=422,
    ),
    "entry-missing": Words(
        title="{file} has no {name}",
        body=f"{{file}} was imported and has no {{name}}; it has {{found}}. {STAYS}",
        next="define {name} in {file}, and push again",
        status=422,
    ),
    "import-failed": Words(
        title="{file} cannot be imported: {type}",
        body=f"Importing stopped at {{file}}, line {{line}}: {{type}}: {{message}}. {STAYS}",
        next="mend the line, or add what is missing to requirements.txt, and push again",
        status=422,
    ),
    "packages-clash": Words(
        title="{one} and {other} do not work together",
        body=f"Importing stopped because {{one}} and {{other}} do not work together. {STAYS}",
        next="write `{bound}` into requirements.txt, or let the older of the two move on, and push again",
        status=422,
    ),
    "load-failed": Words(
        title="the model does not load: {type}",
        body=f"Loading the model raised {{type}}: {{message}}. {STAYS}",
        next="mend it, try it in your working copy, and push again",
        status=422,
    ),
    "example-failed": Words(
        title="{example} does not work",
        body=f"The model loaded, but the prediction for {{example}} failed: {{type}} {{message}}. {STAYS}",
        next="mend the code or {example}, and push again",
        status=422,
    ),
}

WORDS: Mapping[str, Words] = {**_PROCESSES, **_SHIM}
