"""Crashes that say what is not installed: the module or library, and the line that mends it."""

from __future__ import annotations

import pytest

from gitserver.targets.missing import missing_part

GUNICORN = (
    "Traceback (most recent call last):",
    '  File "/workspace/app.py", line 1, in <module>',
    "    import yaml",
    "ModuleNotFoundError: No module named 'yaml'",
    "[2026-01-01 00:00:00 +0000] [7] [INFO] Worker exiting (pid: 7)",
    "[2026-01-01 00:00:00 +0000] [6] [ERROR] Worker (pid:7) exited with code 3",
)


def test_a_module_is_named_with_the_package_that_has_it() -> None:
    problem = missing_part(GUNICORN, "status 3")
    assert problem is not None
    assert problem.failure.code == "module-missing"
    assert problem.failure.fields == {"module": "yaml", "package": "pyyaml", "file": "yaml", "how": "status 3"}
    assert problem.failure.log == GUNICORN


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("ModuleNotFoundError: No module named 'cv2'", "opencv-python-headless"),
        ("ModuleNotFoundError: No module named 'google.protobuf'", "protobuf"),
        ("ModuleNotFoundError: No module named 'sklearn.externals'", "scikit-learn"),
        ("ModuleNotFoundError: No module named 'my_tools'", "my-tools"),
        ("ImportError: No module named yaml", "pyyaml"),
    ],
)
def test_names_of_packages_are_known_where_they_differ(line: str, package: str) -> None:
    problem = missing_part([line], "status 1")
    assert problem is not None
    assert problem.failure.fields["package"] == package


@pytest.mark.parametrize(
    ("library", "words"), [("libGL.so.1", "opencv-python-headless"), ("libgomp.so.1", "Debian package")]
)
def test_a_library_of_the_system_is_named_with_the_way_to_it(library: str, words: str) -> None:
    line = f"ImportError: {library}: cannot open shared object file: No such file or directory"
    problem = missing_part(["Traceback", line], "status 1")
    assert problem is not None
    assert problem.failure.code == "library-missing"
    assert words in str(problem.failure.fields["mend"])


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["ValueError: x"],
        ["handled: No module named 'x', going on without"],
        ["ImportError: cannot import name 'a'"],
    ],
)
def test_other_ends_are_not_explained(lines: list[str]) -> None:
    assert missing_part(lines, "status 1") is None
