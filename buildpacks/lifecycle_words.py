"""Words for what the lifecycle, and the exporter behind it, can fail with."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

_PUSH = "git commit -am 'fix' && git push algo main"

WORDS: Mapping[str, Words] = {
    "buildpack-failed": Words(
        title="{buildpack} failed",
        body="The buildpack {buildpack} ended with status {status}; the lines above are what it said.",
        next=_PUSH,
    ),
    "buildpack-hung": Words(
        title="{buildpack} did not finish",
        body="The {phase} script of the buildpack {buildpack} was ended after {seconds} s: it had not finished.",
        next="look at its last lines above for what it waits for; no question can be answered during a build",
    ),
    "buildpack-flooded": Words(
        title="{buildpack} wrote without end",
        body="The {phase} script of the buildpack {buildpack} was ended: it had written more than {limit_mib} MiB, "
        "or {limit_lines} lines, to the log.",
        next="make the buildpack quieter, or use another one",
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
    "buildpack-extension": Words(
        title="{buildpack} is an image extension",
        body="{buildpack}, asked for by {asked_by}, is no buildpack: it has an extension.toml, and would change base "
        "images by Dockerfiles. This server builds without extensions, as the specification allows.",
        next="choose a buildpack in its place; packages of the system come from an Aptfile",
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
    "restore-failed": Words(
        title="layers could not be restored",
        body="What the last build left could not be put in place: {message}",
        next="git push algo redeploy   (again; if it stays, tell the operator)",
        move="operator",
    ),
    "slice-bad": Words(
        title="a slice that cannot be read",
        body="A buildpack names files of a slice by {glob}, which is no pattern.",
        next="tell who maintains the buildpack",
        move="operator",
    ),
    "layer-refused": Words(
        title="a file that no image may hold",
        body="{path} is {kind}; images hold plain files, folders and links only.",
        next="remove it from the repository, or from what the buildpack makes",
    ),
    "layer-leads-out": Words(
        title="a layer's settings lead out of it",
        body="{buildpack}: the layer {layer} has {path}, a link to a place outside of the layer; settings of a process "
        "are read from the layer alone.",
        next="make the buildpack write a plain file there",
    ),
    "layer-lost": Words(
        title="a layer of the last build is gone",
        body="{buildpack} reuses its layer {layer}, which is not in the store any more.",
        next="git push algo redeploy",
        move="nobody",
    ),
    "layer-empty": Words(
        title="a cached layer without contents",
        body="{buildpack} declares its layer {layer} for launch and for the cache, and made no folder for it.",
        next="tell who maintains the buildpack",
        move="operator",
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
    "image-format": Words(
        title="the image was recorded by a newer server",
        body="The record of this image has the format {found}; this server reads formats up to {newest}.",
        next="git push algo main:redeploy   builds the commit again, or have the operator install the newer server",
    ),
    "launch-no-command": Words(
        title="process {process} has no command",
        body="The image's process {process} has no command to start.",
        next="add a command to the Procfile's {process} line, and push again",
    ),
    "launch-no-process": Words(
        title="no process for {exec_env}",
        body="The processes {types} are for other execution environments than {exec_env}, which is this server's.",
        next="add a process without exec-env, for example by a Procfile with a web: line",
    ),
}
