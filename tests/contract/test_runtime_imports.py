"""What importing and loading user code runs: once, in the right process, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.runtime_shim import FUNCTION, failing, make_shim, running, serving


def test_code_that_reads_its_input_finds_it_empty(tmp_path: Path) -> None:
    failure = failing(tmp_path, {"predict.py": "name = input('who? ')\ndef predict(x): ...\n"}, FUNCTION)
    assert (failure["code"], failure["fields"]["type"], failure["fields"]["line"]) == ("import-failed", "EOFError", 1)


def test_an_ads_template_that_runs_its_sample_does_not_block(tmp_path: Path) -> None:
    code = "from adk import ADK\ndef apply(x):\n    return x\nADK(apply).init()\n"
    with running(tmp_path, {"src/a.py": code}, serving("algorithmia", "src/a.py", "apply")) as shim:
        assert shim.client().post("/predict", json=1).json() == 1


def test_only_what_the_entry_imports_is_imported(tmp_path: Path) -> None:
    files = {
        "predict.py": "import helper\ndef predict(x):\n    return helper.plus(x)\n",
        "helper.py": "def plus(x):\n    return x + 1\n",
        "model.py": "open('trained', 'w')\n",
        "train.py": "open('trained', 'w')\n",
    }
    with running(tmp_path, files, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json=1).json() == 2
        assert not (shim.app_dir / "trained").exists()


@pytest.mark.parametrize(
    ("files", "at", "pool_size"),
    [
        ({"predict.py": "import time\n\nwhile True:\n    time.sleep(0.01)\n"}, "predict.py line ", "1"),
        ({"predict.py": "import train\ndef predict(x): ...\n",
          "train.py": "import threading\nthreading.Event().wait()\n"}, "train.py line 2", "1"),
        ({"predict.py": "import time\ntime.sleep(600)\n"}, "predict.py line 2", "2"),
    ],
)  # fmt: skip
def test_code_that_never_ends_its_import_is_named_by_its_line(
    tmp_path: Path, files: Mapping[str, str], at: str, pool_size: str
) -> None:
    env = {"ALGO_READY_TIMEOUT": "4", "OMP_NUM_THREADS": pool_size}
    shim = make_shim(tmp_path, files, FUNCTION, env)
    started = time.monotonic()
    try:
        shim.start()
        failure = shim.wait_failed()
    finally:
        shim.close()
    assert time.monotonic() - started < 20
    assert failure["code"] == "load-timeout"
    assert failure["fields"]["at"].startswith(at)
    assert failure["fields"]["seconds"] == 4
    assert failure["log"][0] == "Still running (your own lines):"


@pytest.mark.parametrize("is_named", [True, False])
def test_a_library_that_cannot_be_forked_is_loaded_once_and_after_the_fork(tmp_path: Path, is_named: bool) -> None:
    imports = "import tensorflow\nimport os" if is_named else "import os\nfrom helper import tensorflow"
    files = {
        "tensorflow.py": "import os, threading\nopen('loads', 'a').write('x')\nPID = os.getpid()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        "helper.py": "import tensorflow\n",
        "predict.py": f"{imports}\ndef predict():\n    return tensorflow.PID == os.getpid()\n",
    }
    with running(tmp_path, files, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() is True
        assert (shim.app_dir / "loads").read_text() == "x"
        assert ("tensorflow cannot be shared by a fork" in shim.log) is not is_named


def test_a_load_in_time_leaves_no_thread_of_the_deadline_behind(tmp_path: Path) -> None:
    code = "import os\nPID = os.getpid()\ndef predict():\n    return PID == os.getpid()\n"
    env = {"ALGO_READY_TIMEOUT": "60"}
    with running(tmp_path, {"predict.py": code}, FUNCTION, env) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() is False, "it was loaded before the fork: no thread was seen"
        assert "started threads" not in shim.log
