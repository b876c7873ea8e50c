"""Words for user code that does not come up, or answers wrongly: what the runtime shim says of each contract."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.words.entry import STAYS, Words

WORDS: Mapping[str, Words] = {
    "load-timeout": Words(
        title="still running after {seconds} s: {at}",
        body=f"The code was still being imported or loaded after {{seconds}} s, at {{at}}. {STAYS}",
        next="move what runs there (training, a download, a loop) below `if __name__ == '__main__':`, and push again; "
        "the operator can give more time: algo serve --ready-timeout-s N",
        status=422,
    ),
    "contract-mixed": Words(
        title="{first} and {second} in {file}",
        body=f"{{file}} has {{first}} and {{second}}; one stands in place of the other, and which is meant cannot be "
        f"guessed. {STAYS}",
        next="remove one of them from {file}, and push again",
        status=422,
    ),
    "manifest-bad": Words(
        title="{path} cannot be used",
        body=f"{{path}} is not a list of model files: {{message}}. {STAYS}",
        next="correct {path} (or write it again with: algo freeze), and push again",
        status=422,
    ),
    "manifest-file-missing": Words(
        title="model file {path} is missing",
        body="model_manifest.json requires {name}, which is the file {path}; the repository has no such file at its "
        f"top or in model/, models/, artifacts/, data/. {STAYS}",
        next="git add models/{path}, commit and push again",
        status=422,
    ),
    "manifest-file-changed": Words(
        title="{path} is not the file of the manifest",
        body=f"{{path}} has the MD5 {{found}}; model_manifest.json says {{expected}} and fail_on_tamper. {STAYS}",
        next="commit the right file, or correct md5_checksum of {name} in model_manifest.json, and push again",
        status=422,
    ),
    "test-cases-bad": Words(
        title="{tests} cannot be used",
        body=f"{{tests}} is not a list of test cases: {{message}}. {STAYS}",
        next='write [{{"case_name": "...", "input": ..., "expected_output": ...}}], and push again',
        status=422,
    ),
    "test-case-failed": Words(
        title="wrong answer: {case}",
        body=f"{{count}} in {{tests}} went wrong. {{case}}: expected {{expected}}; got {{got}}. {STAYS}",
        next="mend the model or {tests}, and push again",
        status=422,
    ),
}
