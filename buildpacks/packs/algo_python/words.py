"""What the dependencies of a Python app can fail with, in words.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

_PUSH = "commit and push again"

WORDS: Mapping[str, Words] = {
    "uv-missing": Words(
        title="uv is missing",
        body="Packages are installed by uv, and {program} is neither on PATH nor in tools/ of the buildpack.",
        next="tell the operator to put uv on PATH of the build image, or into tools/ of algo/python",
        move="operator",
    ),
    "pins-dead": Words(
        title="no wheel for Python {python}: {which}",
        body="No wheel fits Python {python} ({asked}): {pins}. {fits}; this server has Python {available}.",
        next=f"change those pins in the file named, {_PUSH}; or ask the operator for a Python that has their wheels",
    ),
    "pins-other-python": Words(
        title="no wheel for Python {python}: {which}",
        body="No wheel fits Python {python} ({asked}): {pins}. {fits}; this server has Python {available}.",
        next=f"echo {{other}} > .python-version, {_PUSH}; or change those pins in the file named",
    ),
    "packages-missing": Words(
        title="packages of {file} that no index has",
        body="No index has {names}, which {file} asks for.",
        next=f"correct the names or remove them from {{file}}, {_PUSH}",
    ),
    "needs-other-python": Words(
        title="{name} needs Python {spec}",
        body="{text} ({where}) is made for Python {spec}, and the app gets Python {python}.",
        next=f"change the pin, or ask for that Python: echo 3.11 > .python-version, {_PUSH}",
    ),
    "requirements-ambiguous": Words(
        title="which requirements file?",
        body="There is no requirements.txt, and {files} could all stand in its place.",
        next="git mv {first} requirements.txt, commit and push; or: algo config set BP_REQUIREMENTS={first}",
    ),
    "requirements-setting": Words(
        title="{file} is not in the repository",
        body="{setting} names {file}, which is not a file of this repository.",
        next="algo config set {setting}=FILE",
    ),
    "index-secret-refused": Words(
        title="package index refused access",
        body="{url} refuses the account that {setting} gives.",
        next="algo config set {setting}=...   with an account that may read from it, and push again",
    ),
    "lock-bad": Words(
        title="{file} cannot be read",
        body="{file} is no lock that this server can read: {message}",
        next="make the lock again with the tool that wrote it, commit and push again",
    ),
    "marker-bad": Words(
        title="a marker that nobody can read",
        body="The environment marker '{marker}' of a locked package follows no rule that is known here.",
        next="make the lock again with the tool that wrote it, commit and push again",
    ),
    "spec-bad": Words(
        title="a version in {file} that nobody can read",
        body="{file} asks for '{text}', which is no version that this server can read.",
        next=f"write it like ^1.2, ~1.2, >=1.2,<2 or 1.2.3, {_PUSH}",
    ),
    "conda-syntax": Words(
        title="{file} line {line} cannot be read",
        body="{file} line {line} is more than a list of packages: {text}",
        next="write the packages one a line, '- name=1.2', and those of pip below '- pip:'; commit and push again",
    ),
    "conda-without-wheels": Words(
        title="packages of {file} that only conda has",
        body="{file} asks for {names}, which exist for conda alone: packages are installed from wheels here.",
        next="remove them from {file}, or write the system's packages into Aptfile; commit and push again",
    ),
    "setup-computed": Words(
        title="{file} computes its requirements",
        body="{file} line {line}: {what} is computed, and code of the repository is not run to find out what it asks.",
        next=f"write the packages into requirements.txt, {_PUSH}",
    ),
}
