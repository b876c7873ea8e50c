"""How failures of choosing and fetching buildpacks, and of classic ones, are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

CHOOSING: Mapping[str, Words] = {
    "buildpack-source-bad": Words(
        title="a buildpack is named that cannot be",
        body="{asked_by} names '{found}': neither a buildpack of this server, a folder of the repository, a git URL "
        "nor an image.",
        next="write for example: ./buildpacks/mine, https://host/team/pack#v1, docker://host/team/pack:1",
    ),
    "buildpack-source-secret": Words(
        title="a user name or password in a buildpack's URL",
        body="{asked_by} holds a user name or password inside a URL; it would end up in logs and images.",
        next="remove it there, revoke it, and name a repository that can be read without",
    ),
    "buildpack-unknown": Words(
        title="no such buildpack here",
        body="{asked_by} asks for {buildpack}; this server comes with {known}.",
        next="name one of those, or the git URL or image of {buildpack}",
    ),
    "buildpack-not-allowed": Words(
        title="a buildpack is not allowed here",
        body="{asked_by} asks for {buildpack}; the operator allows: {setting}.",
        next="remove it there to have the app detected, or ask the operator to allow it: --buildpacks",
    ),
    "buildpack-missing": Words(
        title="no buildpack where one was named",
        body="{asked_by} names {buildpack}, which holds neither a buildpack.toml with an api nor an executable "
        "bin/compile.",
        next="correct the name, or git add the folder with its bin/ (git update-index --chmod=+x)",
    ),
    "buildpack-id-bad": Words(
        title="a buildpack breaks the rules",
        body="The buildpack.toml of {buildpack} cannot be read: {found}",
        next="tell who maintains the buildpack",
    ),
    "buildpack-id-taken": Words(
        title="a buildpack has a name that is taken",
        body="{buildpack} calls itself {id}; names that begin so belong to this server.",
        next="give it another id in its buildpack.toml",
    ),
    "buildpack-twice": Words(
        title="two buildpacks of one name",
        body="{first} and {second} ask for different buildpacks that are both called {id}.",
        next="take one of them off the list, or give it another id",
    ),
    "buildpack-unreachable": Words(
        title="a buildpack cannot be fetched",
        body="{buildpack} cannot be fetched: {cause}",
        next="git push algo main   (again in a minute; if it lasts, check the address)",
    ),
    "buildpack-ref-missing": Words(
        title="a buildpack has no such branch or tag",
        body="{buildpack}: the repository has no branch or tag '{ref}'.",
        next="correct what stands behind the #",
    ),
    "buildpack-refused": Words(
        title="a buildpack's files are refused",
        body="{buildpack} holds what no build takes in: {reason}",
        next="tell who maintains the buildpack",
    ),
    "buildpack-too-big": Words(
        title="a buildpack is too big",
        body="{buildpack} has more than {limit_mib} MiB.",
        next="name a smaller buildpack: one that fetches what it needs while it builds",
    ),
    "buildpack-package-bad": Words(
        title="a packaged buildpack cannot be read",
        body="{buildpack} is no packaged buildpack: {reason}",
        next="make it again, for example: pack buildpack package NAME --format file",
    ),
    "project-toml-bad": Words(
        title="project.toml cannot be read",
        body="project.toml: {reason}",
        next="correct project.toml, commit and push again",
    ),
    "project-toml-both": Words(
        title="project.toml has include and exclude",
        body="project.toml has both include and exclude; only one of them can decide which files are built.",
        next="remove one of the two, commit and push again",
    ),
}

CLASSIC: Mapping[str, Words] = {
    "classic-detect-failed": Words(
        title="{buildpack} does not fit",
        body="The app asks for the buildpack {buildpack}, whose bin/detect does not know this repository: {output}",
        next="take it off the list of buildpacks, or add the file that it looks for",
    ),
    "classic-compile-failed": Words(
        title="{buildpack} failed",
        body="bin/compile of {buildpack} ended with status {status}; the lines above are what it said.",
        next="git push algo main   (when what it says is mended)",
    ),
    "classic-export-failed": Words(
        title="{buildpack} exports what cannot be read",
        body="The file export of {buildpack} ended with status {status} when it was sourced.",
        next="tell who maintains the buildpack",
    ),
    "classic-release-bad": Words(
        title="bin/release cannot be read",
        body="bin/release of {buildpack} writes what is no process type or variable: {line}",
        next="tell who maintains the buildpack, or write a Procfile",
    ),
}

CHOOSING_WORDS: Mapping[str, Words] = {**CHOOSING, **CLASSIC}
