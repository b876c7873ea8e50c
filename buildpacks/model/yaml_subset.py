"""The part of YAML that tools write by themselves (MLflow's MLmodel): block maps, block lists, scalars.

Anchors, tags, flow collections other than `[]` and `{}`, block scalars and several documents are not read.

Source  YAML 1.2.2, sections 7.3 (flow scalars) and 8.2 (block collections); PyYAML's emitter, which folds long scalars
"""

from __future__ import annotations

import re

MAX_BYTES = 1 << 20
MAX_LINES = 20_000
MAX_DEPTH = 30
_KEY = re.compile(
    r"(?P<key>'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"|[^\s'\"#\[\]{}&*!|>%@`,-][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+(?P<rest>.*))?$"
)
_NUMBER = re.compile(r"[-+]?\d{1,18}")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[\s\S])")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "/": "/", '"': '"', "\\": "\\", " ": " ", "_": "\xa0"}
_WORDS: dict[str, object] = {"null": None, "~": None, "": None, "true": True, "false": False, "[]": [], "{}": {}}


class NotRead(ValueError):  # noqa: N818 -- says what the text is, to a reader that asks
    """The text is no YAML of this subset."""


def parse_yaml(data: bytes) -> object:
    """Maps, lists, strings, integers, booleans and None. Raises NotRead."""
    try:
        text = data[:MAX_BYTES].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotRead("not UTF-8") from error
    lines = [
        (len(line) - len(line.lstrip(" ")), line.strip())
        for line in text.splitlines()[:MAX_LINES]
        if line.strip() and not line.lstrip().startswith("#") and line.strip() != "---"
    ]
    if not lines:
        return None
    parser = _Parser(lines)
    value = parser.block(lines[0][0], 0)
    if parser.at < len(lines):
        raise NotRead("a line that belongs to nothing")
    return value


class _Parser:
    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines, self.at = lines, 0

    def block(self, indent: int, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise NotRead("too deep")
        text = self.lines[self.at][1]
        if text == "-" or text.startswith("- "):
            return self._list(indent, depth)
        if _KEY.match(text) is not None:
            return self._map(indent, depth)
        self.at += 1
        return self._scalar(text, indent - 1)

    def _map(self, indent: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while self.at < len(self.lines) and self.lines[self.at][0] == indent:
            match = _KEY.match(self.lines[self.at][1])
            if match is None:
                raise NotRead("a line without a key")
            self.at += 1
            found[str(_plain(match["key"]))] = self._value(match["rest"] or "", indent, depth)
        if self.at < len(self.lines) and self.lines[self.at][0] > indent:
            raise NotRead("indented too far")
        return found

    def _value(self, rest: str, indent: int, depth: int) -> object:
        if rest and not rest.startswith("#"):
            return self._scalar(rest, indent)
        if self.at < len(self.lines):
            next_indent, text = self.lines[self.at]
            is_list = text == "-" or text.startswith("- ")
            if next_indent > indent or (next_indent == indent and is_list):
                return self.block(next_indent, depth + 1)
        return None

    def _list(self, indent: int, depth: int) -> list[object]:
        found = []
        while self.at < len(self.lines):
            here, text = self.lines[self.at]
            if here != indent or not (text == "-" or text.startswith("- ")):
                break
            rest = text[1:].lstrip()
            if _KEY.match(rest) is not None and rest[0] not in "'\"":
                inner = indent + len(text) - len(rest)
                self.lines[self.at] = (inner, rest)
                found.append(self.block(inner, depth + 1))
                continue
            self.at += 1
            found.append(self._value(rest, indent, depth))
        return found

    def _scalar(self, text: str, indent: int) -> object:
        """One scalar, and the lines that it goes on in: those are indented further than its key."""
        if text[0] in "&*!|>%@`" or (text[0] in "[{" and text not in _WORDS):
            raise NotRead("more of YAML than is read here")
        parts = [text]
        quote = text[0] if text[0] in "'\"" else ""
        while self.at < len(self.lines) and not (quote and _is_closed("".join(parts), quote)):
            here, more = self.lines[self.at]
            if here <= indent or (not quote and _KEY.match(more) is not None):
                break
            parts.append(more)
            self.at += 1
        if quote and not _is_closed("".join(parts), quote):
            raise NotRead("a quote without an end")
        joined = parts[0]
        for part in parts[1:]:  # a line break is a space, but for one that a double-quoted text escapes
            joined = joined[:-1] + part if quote == '"' and joined.endswith("\\") else f"{joined} {part}"
        return _plain(joined)


def _is_closed(text: str, quote: str) -> bool:
    body = text[1:].replace("''", "") if quote == "'" else re.sub(r"\\[\s\S]", "", text[1:])
    return quote in body


def _plain(text: str) -> object:
    if text[:1] == "'":
        return text[1 : text.rindex("'")].replace("''", "'")
    if text[:1] == '"':
        return _ESCAPE.sub(_unescape, text[1 : text.rindex('"')])
    text = text.split(" #", 1)[0].rstrip()
    if text.lower() in _WORDS:
        value = _WORDS[text.lower()]
        return value.copy() if isinstance(value, (list, dict)) else value
    return int(text) if _NUMBER.fullmatch(text) else text


def _unescape(match: re.Match[str]) -> str:
    word = match[1]
    return chr(int(word[1:], 16)) if word[0] in "xu" and len(word) > 1 else _ESCAPES.get(word, word)
