"""Runs in an environment of its own: PyTorch and transformers models with their answers, into the folder argv[1]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

OUT = Path(sys.argv[1])
ASKED = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
cases: list[dict[str, Any]] = []
torch.manual_seed(7)
transformers.logging.set_verbosity_error()


def shortest(values: Any) -> Any:
    """float32 as the shortest decimals that read back as the same float32."""
    array = values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    return [shortest(part) for part in array] if array.ndim else float(str(array[()]))


def iris(name: str, file: str, form: str, answer: Any) -> None:
    """A program of one input with rows of iris."""
    flat = np.asarray(ASKED, dtype=np.float32).astype(float).reshape(-1).tolist()
    tensor = {"name": "anything", "shape": [2, 4], "datatype": "FP32", "data": flat}
    calls = [
        {"path": "/predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
        {"path": "/v1/models/iris:predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
        {"path": "/v2/models/iris/infer", "body": {"inputs": [tensor]}, "answer": {"data": np.ravel(answer).tolist()}},
    ]
    cases.append({"name": name, "file": file, "serve": {"framework": "torch", "format": form}, "calls": calls})


network = torch.nn.Sequential(
    torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3), torch.nn.Softmax(-1)
).eval()
rows = torch.tensor(ASKED)
answer = shortest(network(rows))
torch.jit.script(network).save(OUT / "iris.ts.pt")
iris("torchscript", "iris.ts.pt", "torchscript", answer)
batch = torch.export.Dim("batch")
torch.export.save(torch.export.export(network, (rows,), dynamic_shapes=({0: batch},)), OUT / "iris.pt2")
iris("torch-export", "iris.pt2", "export", answer)
torch.save(network.state_dict(), OUT / "iris.pth")
cases.append(
    {"name": "torch-weights", "file": "iris.pth", "serve": {"framework": "torch", "format": "state_dict"}, "calls": []}
)

words = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
tokens = [[1, 2, 3], [4, 5, 6]]
torch.jit.script(words).save(OUT / "words.pt")
calls = [
    {
        "path": "/predict",
        "body": {"instances": tokens},
        "answer": {"predictions": shortest(words(torch.tensor(tokens)))},
    }
]
cases.append(
    {
        "name": "torchscript-tokens",
        "file": "words.pt",
        "serve": {"framework": "torch", "format": "torchscript"},
        "calls": calls,
    }
)

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "good", "bad", "film", "the"]
SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
TEXTS = ["the good film", "bad film"]


def bert_tokenizer() -> Any:
    """A word-piece tokenizer of a few words, made here."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


def texts(name: str, task: str, model: Any, parameters: dict[str, Any]) -> None:
    """A folder with its tokenizer; the answer is that of transformers' own pipeline over the same folder."""
    folder = OUT / name
    model.eval().save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    asked = transformers.pipeline(task, model=str(folder), tokenizer=str(folder), device="cpu")
    with torch.inference_mode():
        found = [asked(text, **parameters) for text in TEXTS]
    body: dict[str, Any] = {"inputs": TEXTS, **({"parameters": parameters} if parameters else {})}
    calls = [{"path": "/predict", "body": body, "answer": {"predictions": found}}]
    if not parameters:
        instances = [{"text": text} for text in TEXTS]
        calls.append(
            {"path": "/v1/models/iris:predict", "body": {"instances": instances}, "answer": {"predictions": found}}
        )
    cases.append({"name": name, "file": name, "serve": {"framework": "transformers", "format": "dir"}, "calls": calls})


bert = transformers.BertConfig(**SIZES, num_labels=2)
texts("transformers-classification", "text-classification", transformers.BertForSequenceClassification(bert), {})
texts("transformers-features", "feature-extraction", transformers.BertModel(bert), {})
gpt = transformers.GPT2Config(
    vocab_size=len(VOCABULARY), n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=2, eos_token_id=3
)
generation = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "suppress_tokens": [0, 1, 2, 3, 4]}
texts("transformers-generation", "text-generation", transformers.GPT2LMHeadModel(gpt), generation)

(OUT / "cases.json").write_text(json.dumps(cases))
