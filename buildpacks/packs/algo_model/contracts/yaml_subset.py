"""The part of YAML that configuration files of model repositories are written in: blocks of keys, lists and scalars.

Why  not a YAML library: packs have the standard library alone. What is beyond this part (anchors, block scalars, flow
     mappings) is passed over by indentation where it is only beside what is asked for.
"""

from __future__ import annotations

MAX_LINES = 5000


def read_block(text: str) -> dict[str, object]:
    """A document's keys: strings, lists of strings, and blocks of the same. Raises ValueError with the line.

    Every scalar stays the text that it is written as: 3.10 is a version here, not a number.
    """
    lines = []
    for number, raw in enumerate(text.splitlines()[:MAX_LINES], start=1):
        if "\t" in raw[: len(raw) - len(raw.lstrip())]:
            raise ValueError(f"line {number} is indented with a tab")
        line = _without_comment(raw).rstrip()
        if line.strip() and line.strip() not in ("---", "..."):
            lines.append((number, len(line) - len(line.lstrip()), line.strip()))
    document, _ = _mapping(lines, 0, 0)
    return document


def _mapping(lines: list[tuple[int, int, str]], at: int, indent: int) -> tuple[dict[str, object], int]:
    found: dict[str, object] = {}
    while at < len(lines):
        number, depth, text = lines[at]
        if depth < indent:
            break
        if depth > indent:  # of a scalar that goes on over lines, or of something that is not read
            at += 1
            continue
        key, colon, rest = text.partition(":")
        if not colon or (rest and not rest.startswith(" ")):
            raise ValueError(f"line {number} is not KEY: VALUE: {text[:80]}")
        at += 1
        name, value = _scalar(key.strip()), rest.strip()
        if value:
            found[name] = _flow_list(value) if value.startswith("[") and value.endswith("]") else _scalar(value)
            continue
        if at < len(lines) and lines[at][2].startswith("- ") and lines[at][1] >= indent:
            found[name], at = _list(lines, at, lines[at][1])
        elif at < len(lines) and lines[at][1] > indent:
            found[name], at = _mapping(lines, at, lines[at][1])
        else:
            found[name] = ""
    return found, at


def _list(lines: list[tuple[int, int, str]], at: int, indent: int) -> tuple[list[str], int]:
    found = []
    while at < len(lines) and lines[at][1] >= indent:
        _, depth, text = lines[at]
        if depth == indent and not text.startswith("- "):
            break
        if depth == indent:
            found.append(_scalar(text[2:].strip()))
        at += 1
    return found, at


def _flow_list(text: str) -> list[str]:
    return [_scalar(part.strip()) for part in text[1:-1].split(",") if part.strip()]


def _scalar(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _without_comment(line: str) -> str:
    quote = ""
    for index, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line
