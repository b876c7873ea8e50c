"""Hugging Face transformers folders: the task from the architecture, a pipeline from the folder alone.

The network is off limits (HF_HUB_OFFLINE): everything comes from the folder, the tokenizer too. Code in the folder is
not run (trust_remote_code stays off). Texts in, what the pipeline says out.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import Tensor, TensorSpec
from ..refusal import Flaw, Refused, unfit
from ..rows import name_of
from .blame import MAX_CHARS, refusal_of
from .loaded import NeedsCode, Opened
from .row_model import DEFAULT_SIGNATURES
from .threads import threads_per_call

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "transformers"
# A call says what is generated, never which code runs: generate() loads a program from the folder that the first names.
BARRED = ("custom_generate", "trust_remote_code")
# The end of an architecture's name to the task. Source: transformers documentation, AutoModel classes and pipelines.
TASKS = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForMaskedLM", "fill-mask"),
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("Model", "feature-extraction"),
)


def import_framework() -> str:
    """transformers' version, told to stay offline before it looks."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its pool would not survive a fork
    from .torch import import_framework as import_torch

    import_torch()
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return str(transformers.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The pipeline of the folder. Raises NeedsCode for a task that takes more than a text."""
    del serve
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    architecture = next(iter(config.get("architectures") or ()), "")
    task = next((task for ending, task in TASKS if architecture.endswith(ending)), None)
    if task is None:
        raise NeedsCode(
            f"a transformers folder of {architecture or 'an architecture that it does not name'}, whose inputs are "
            "more than one text",
            "a handler.py with `class EndpointHandler`, or a predict.py that calls the model",
        )
    from transformers import pipeline

    asked = pipeline(task, model=str(path), tokenizer=str(path), device="cpu", trust_remote_code=False)
    model = TextModel(pipeline=asked, task=task, title=f"transformers {architecture} ({task})")
    return Opened(model=model, zeros=_zeros(task))


def _zeros(task: str) -> dict[str, Any] | None:
    """A first call: of generated text one token, for the pipeline's own default is hundreds of them."""
    if task == "fill-mask":  # takes only a text with the tokenizer's own mask
        return None
    if task == "text-generation":
        return {"inputs": ["a"], "parameters": {"max_new_tokens": 1}}
    return {"instances": ["a"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """A pipeline that takes texts. One at a time: fast tokenizers keep the settings of a call in themselves."""

    pipeline: Any
    task: str
    title: str
    platform: str = "transformers"
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Texts."""
        return (TensorSpec(name="text", datatype="BYTES", shape=(-1,)),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Numbers of each token, or one JSON text for each text."""
        if self.task == "feature-extraction":
            return (TensorSpec(name="features", datatype="FP64", shape=(-1, -1, -1, -1)),)
        return (TensorSpec(name="result", datatype="BYTES", shape=(-1,)),)

    def native(self, value: Any) -> Any:
        """A text, texts, {"instances": texts}, or {"inputs": text or texts, "parameters": {...}}: {"predictions"}."""
        parameters: Mapping[str, Any] = {}
        if isinstance(value, Mapping):
            key = next((key for key in ("instances", "inputs") if key in value), None)
            if key is None:
                raise unfit(Flaw(path="", message='expected {"inputs": "a text"} or {"instances": ["a text"]}'))
            parameters = value.get("parameters") or {}
            if not isinstance(parameters, Mapping):
                raise unfit(Flaw(path="/parameters", message=f"expected an object, got {name_of(parameters)}"))
            barred = [
                Flaw(path=f"/parameters/{name}", message="not taken here") for name in BARRED if name in parameters
            ]
            if barred:
                raise unfit(*barred)
            at, value = f"/{key}", value[key]
        else:
            at = ""
        return {"predictions": self._ask(_texts(value, at), parameters, at)}

    def rows(self, instances: Sequence[Any], signature: str) -> Any:
        """n texts, each alone or an object of one, to n results."""
        _only_default(signature)
        return self._ask(_texts([_unwrapped(row) for row in instances], "/instances"), {}, "/instances")

    def columns(self, inputs: Any, signature: str) -> Any:
        """Texts, alone or by one name."""
        _only_default(signature)
        return self._ask(_texts(_unwrapped(inputs), "/inputs"), {}, "/inputs")

    def tensors(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> Mapping[str, Any]:
        """One tensor of texts to one output."""
        name = self.outputs[0].name
        unknown = [other for other in wanted if other not in (name, "output-0")]
        if unknown:
            flaw = Flaw(path="/outputs", message=f"this model has: {name}")
            raise Refused(422, f"unknown output {unknown[0]!r}", flaws=[flaw])
        if len(inputs) != 1 or inputs[0].datatype != "BYTES":
            raise unfit(Flaw(path="/inputs", message="expected one tensor of BYTES"))
        texts = [str(text) for text in inputs[0].value.reshape(-1).tolist()]
        return dict.fromkeys(wanted or (name,), self._ask(texts, {}, "/inputs/0/data"))

    def _ask(self, texts: Sequence[str], parameters: Mapping[str, Any], at: str) -> list[Any]:
        import torch

        torch.set_num_threads(threads_per_call())  # a setting of each thread, and calls come from many
        with self.lock, torch.inference_mode():
            return [self._ask_one(text, parameters, f"{at}/{index}") for index, text in enumerate(texts)]

    def _ask_one(self, text: str, parameters: Mapping[str, Any], at: str) -> Any:
        try:
            return self.pipeline(text, **parameters)
        except Exception as exc:
            refusal = judge_failure(self.pipeline, self.task, text, parameters, exc, at)
            if refusal is None:
                raise
            raise refusal from exc


def judge_failure(
    asked: Any, task: str, text: str, parameters: Mapping[str, Any], exc: Exception, at: str
) -> Refused | None:
    """What a caller changes: a text of too many tokens or without a mask, parameters that the task does not have.

    asked    the pipeline, which raised exc for that text
    returns  422 with the place of the text or of the parameters; None for a failure of the model's own
    Why      after the failure, not before the call: to count tokens is half the work of a small model
    """
    if type(exc).__name__ == "PipelineException":  # of fill-mask: no mask in the text
        return unfit(Flaw(path=at, message=str(exc)[:MAX_CHARS]))
    if isinstance(exc, (IndexError, RuntimeError)):
        message = _too_long(
            asked, text, parameters, generates=task == "text-generation" and isinstance(exc, IndexError)
        )
        if message:
            return unfit(Flaw(path=at, message=message))
    if parameters and isinstance(exc, (TypeError, ValueError)):
        return unfit(Flaw(path="/parameters", message=str(exc)[:MAX_CHARS]))
    return refusal_of(exc, at)


def _too_long(asked: Any, text: str, parameters: Mapping[str, Any], *, generates: bool) -> str:
    """How long the text is and may be, '' for one that is not too long.

    generates  the model looked up a position that it does not have while it made tokens: they count, too
    """
    most = _positions_of(asked.model)
    count = len(asked.tokenizer(text)["input_ids"])
    if most is None or not (count > most or generates):
        return ""
    if count > most:
        return f"the text has {count} tokens; this model takes at most {most}"
    wanted = parameters.get("max_new_tokens")
    more = f"{wanted} more were asked for" if wanted is not None else "max_new_tokens says how many more are made"
    return f"the text has {count} tokens, and {more}; this model takes at most {most} together"


def _positions_of(network: Any) -> int | None:
    """How many tokens it has positions for; None when it does not say, or has no such bound.

    Source  transformers: RoBERTa and its kin count positions from the padding's on (create_position_ids_from_input_ids)
    """
    most = getattr(network.config, "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return None
    tables = (module for name, module in network.named_modules() if name.endswith("position_embeddings"))
    padding = next((table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None), None)
    return most if padding is None else most - padding - 1


def _texts(value: Any, at: str) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise unfit(Flaw(path=at, message=f"expected a text or a list of texts, got {name_of(value)}"))
    flaws = [
        Flaw(path=f"{at}/{index}", message=f"expected a string, got {name_of(text)}")
        for index, text in enumerate(value)
        if not isinstance(text, str)
    ]
    if flaws:
        raise unfit(*flaws[:10])
    return value


def _unwrapped(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, Mapping) and len(value) == 1 else value


def _only_default(signature: str) -> None:
    if signature not in DEFAULT_SIGNATURES:
        raise Refused(422, f"unknown signature {signature!r}")
