"""Packages that install together and fail at import: bounded before, explained after."""

from __future__ import annotations

import pytest

from buildpacks.packs.algo_python.clashes import Mend, explain_import_failure, find_bounds


def test_a_bound_is_found_for_what_the_user_left_open() -> None:
    assert [(clash.dep, clash.bound) for clash in find_bounds({"flask": "==1.1.2", "jinja2": "==2.11.3"})] == [
        ("itsdangerous", "<2.1"), ("werkzeug", "<2.1"), ("markupsafe", "<2.1"),
    ]  # fmt: skip
    assert find_bounds({"flask": "==3.0.3"}) == []
    assert find_bounds({"pandas": "==1.5.3", "numpy": ">=1.20"}) == []
    assert [clash.dep for clash in find_bounds({"pandas": "==1.5.3", "numpy": ""})] == ["numpy"]


@pytest.mark.parametrize(
    ("message", "lock", "mend"),
    [
        ("ImportError: cannot import name 'escape' from 'jinja2' (/x)", "flask==1.1.2\njinja2==3.1.4\n",
         Mend(("flask 1.1.2", "jinja2 3.1.4"), "jinja2<3.1")),
        ("cannot import name 'soft_unicode' from 'markupsafe'", "jinja2==2.11.3\nmarkupsafe==2.1.5\n",
         Mend(("jinja2 2.11.3", "markupsafe 2.1.5"), "markupsafe<2.1")),
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility", "numpy==2.1\npandas==1.5.3\n",
         Mend(("pandas 1.5.3", "numpy 2.1"), "numpy<2")),
        ("TypeError: Descriptors cannot be created directly.", "protobuf==5.0\ntensorflow==2.8.0\n",
         Mend(("tensorflow 2.8.0", "protobuf 5.0"), "protobuf<3.21")),
        ('File "/d/site-packages/seaborn/x.py", line 1\nmodule \'numpy\' has no attribute \'float\'',
         "numpy==1.26.0\nseaborn==0.11\n", Mend(("seaborn", "numpy 1.26.0"), "numpy<1.24")),
        ("cannot import name 'escape' from 'jinja2'", "flask==3.0\njinja2==2.0\n", None),
        ("ModuleNotFoundError: No module named 'numpi'", "numpy==2.1\n", None),
    ],
)  # fmt: skip
def test_a_crash_at_import_names_the_pair_and_the_bound(message: str, lock: str, mend: Mend | None) -> None:
    assert explain_import_failure(message, lock) == mend
