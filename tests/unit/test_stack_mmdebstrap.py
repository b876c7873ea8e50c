"""What mmdebstrap says when it fails becomes a code with the fields that its sentence needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.order import BuildFailed
from buildpacks.stack.debian import StackOptions, build_stack
from buildpacks.stack.mmdebstrap import Bootstrap, cause_of
from buildpacks.stack.store import StackStore
from gitserver.errors import Failure
from gitserver.explain import is_known, sentence

PLAN = Bootstrap(suite="bookworm", mirrors=(), arch="amd64", packages=("python3",))
SAID = {
    "E: Unable to locate package nosuch": ("stack-package-unknown", "nosuch"),
    "E: Package 'nosuch' has no installation candidate": ("stack-package-unknown", "nosuch"),
    "E: The repository 'http://m/debian nosuch Release' does not have a Release file.": ("stack-suite-unknown", None),
    "  404  Not Found [IP: 192.0.2.1 80]": ("stack-suite-unknown", None),
    "E: Failed to fetch http://m/InRelease  Could not connect to m:80": ("stack-mirror-unreachable", None),
    "  Temporary failure resolving 'deb.example.org'": ("stack-mirror-unreachable", None),
    "dpkg: error: cannot write: No space left on device": ("stack-no-space", None),
    "W: GPG error: http://m bookworm InRelease: NO_PUBKEY 0E98404D386FA1D9": ("stack-keyring-missing", None),
    "E: unable to pick chroot mode automatically (use --mode for manual selection)": ("stack-needs-root", None),
    "E: something else": ("stack-build-failed", None),
}


@pytest.mark.parametrize("line", SAID)
def test_a_cause_is_told_by_its_words(line: str) -> None:
    code, found = SAID[line]
    failure = cause_of(1, PLAN, ("I: running apt-get update...", line, "E: mmdebstrap failed to run"))
    assert failure.code == code
    assert found is None or failure.fields["found"] == found
    assert is_known(code)
    told = sentence(Failure(code=failure.code, fields=failure.fields))
    assert "algo stack" in told or "apt-get install" in told or "root" in told


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("suite", StackOptions(suite="--hook=x")),
        ("suite", StackOptions(suite="Book worm")),
        ("package", StackOptions(packages=("git", "--essential-hook=x"))),
        ("package", StackOptions(packages=("a,b",))),
        ("mirror", StackOptions(mirrors=("/etc/passwd",))),
        ("mirror", StackOptions(mirrors=("--simulate",))),
        ("mirror", StackOptions(mirrors=("http://m/debian\ndeb http://evil/ x main",))),
    ],
)
def test_an_option_that_mmdebstrap_would_read_as_something_else_is_refused(
    tmp_path: Path, option: str, options: StackOptions
) -> None:
    with pytest.raises(BuildFailed) as caught:
        build_stack("x", options, StackStore(root=tmp_path), {}, print)
    assert (caught.value.code, caught.value.fields["option"]) == ("stack-option-bad", option)
    assert list(tmp_path.iterdir()) == []
