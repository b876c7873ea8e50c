"""Predictors that were written for Cog, unmodified, under the real shim."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runtime_shim import V1_PREDICT, V2_INFER, running, serving, tensor

COG = """
from typing import Iterator, List, Optional

from cog import BaseModel, BasePredictor, ConcatenateIterator, File, Input, Path, Secret


class Output(BaseModel):
    text: str
    length: int
    file: Optional[Path] = None


class Predictor(BasePredictor):
    def setup(self):
        self.prefix = "> "

    def predict(
        self,
        text: str = Input(description="what to say", min_length=1, max_length=8),
        times: int = Input(default=1, ge=1, le=3),
        style: str = Input(default="plain", choices=["plain", "loud"]),
        image: Path = Input(default=None),
        key: Secret = Input(default=None),
    ) -> Output:
        said = self.prefix + " ".join([text] * times)
        if style == "loud":
            said = said.upper()
        if image is not None:
            said += " " + image.read_text()
            with open("/tmp/seen", "w") as seen:
                seen.write(str(image))
        if key is not None:
            said += f" {key} {len(key.get_secret_value())}"
        return Output(text=said, length=len(said))
"""


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cog")
    code = COG.replace("/tmp/seen", str(folder / "seen"))
    with running(folder, {"predict.py": code}, serving("cog", "predict.py", "Predictor")) as shim:
        yield shim, shim.client(), folder


def test_a_cog_predictor_runs_without_the_package_cog(cog: Any) -> None:
    _, client, _ = cog
    answer = client.post("/predict", json={"text": "hi", "times": 2}).json()
    assert answer == {"text": "> hi hi", "length": 7, "file": None}
    assert client.post("/predict", json="hi").json()["text"] == "> hi"
    rows = client.post(V1_PREDICT, json={"instances": [{"text": "a"}, {"text": "b", "style": "loud"}]})
    assert [row["text"] for row in rows.json()["predictions"]] == ["> a", "> B"]
    reply = client.post(V2_INFER, json={"inputs": [tensor("text", ["a"], "BYTES"), tensor("times", [3], "INT64")]})
    assert "> a a a" in reply.text, reply.text


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        ({}, {"path": "/text", "message": "this argument is missing"}),
        ({"text": "x", "times": 4}, {"path": "/times", "message": "expected at most 3, got 4"}),
        ({"text": "x", "times": "2"}, {"path": "/times", "message": "expected a whole number, got a string"}),
        ({"text": ""}, {"path": "/text", "message": "expected at least 1 characters or items, got 0"}),
        ({"text": "x", "style": "mad"}, {"path": "/style", "message": "expected one of 'plain', 'loud'"}),
        ({"text": "x", "image": "/etc/passwd"}, {"path": "/image", "message": "expected an http, https or data URL"}),
        ({"text": "x", "image": "file:///etc/passwd"},
         {"path": "/image", "message": "expected an http, https or data URL"}),
        ({"text": "x", "image": "data:"}, {"path": "/image", "message": "the data URL has no comma"}),
        ({"text": "x", "nope": 1},
         {"path": "/nope", "message": "unknown argument; predict takes text, times, style, image, key"}),
    ],
)  # fmt: skip
def test_what_cogs_inputs_forbid_is_422_with_its_place(cog: Any, body: Any, flaw: dict[str, str]) -> None:
    reply = cog[1].post("/predict", json=body)
    assert (reply.status_code, reply.json()["detail"]) == (422, [flaw])


def test_a_file_for_cog_is_there_for_the_call_alone_and_a_secret_does_not_show(cog: Any) -> None:
    _, client, folder = cog
    url = "data:text/plain;base64," + base64.b64encode(b"inside").decode()
    answer = client.post("/predict", json={"text": "x", "image": url, "key": "abc"}).json()
    assert answer["text"] == "> x inside Secret('**********') 3"
    assert not Path((folder / "seen").read_text()).exists()


def test_cogs_streams_files_and_functions(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom cog import BasePredictor, ConcatenateIterator, Input, File\n"
        "class Runner(BasePredictor):\n"
        "    async def setup(self):\n        self.ready = True\n"
        "    def run(self, text: str, as_file: bool = Input(default=False)) -> ConcatenateIterator[str]:\n"
        "        if as_file:\n            return self.file(text)\n        return self.words(text)\n"
        "    def file(self, text):\n"
        "        import tempfile, os\n        path = Path(tempfile.mkdtemp()) / 'o.txt'\n"
        "        path.write_text(text)\n        return path\n"
        "    def words(self, text):\n        assert self.ready\n        yield from text.split()\n"
    )
    with running(tmp_path, {"run.py": code}, serving("cog", "run.py", "Runner")) as shim, shim.client() as client:
        assert client.post("/predict", json={"text": "a b"}).text == '"a"\n"b"\n'
        assert client.post("/predict", json={"text": "hi", "as_file": True}).json() == "data:text/plain;base64,aGk="
        rows = client.post(V1_PREDICT, json={"instances": [{"text": "a b"}]}).json()
        assert rows == {"predictions": [["a", "b"]]}


def test_a_cog_of_the_app_itself_is_not_replaced(tmp_path: Path) -> None:
    files = {
        "cog.py": "class BasePredictor:\n    mine = True\n",
        "p.py": "from cog import BasePredictor\n"
        "class P(BasePredictor):\n    def predict(self):\n        return self.mine\n",
    }
    with running(tmp_path, files, serving("cog", "p.py", "P")) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() is True
