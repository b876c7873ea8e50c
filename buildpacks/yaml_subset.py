"""The part of YAML that tools write and people write configuration in: maps, lists, scalars, in blocks and in flow.

Several documents, aliases and complex keys are not read, and a folded scalar (`>`) becomes one line. Each line is
looked at once, whatever it holds: these files are anybody's.

Why     not a YAML library: buildpacks have the standard library alone
Source  YAML 1.2.2, chapters 7 (flow styles) and 8 (block styles); PyYAML's emitter, which folds long scalars
"""

from __future__ import annotations

import re

MAX_BYTES = 1 << 20
MAX_LINES = 20_000
MAX_DEPTH = 30
_SINGLE, _DOUBLE = r"'[^']*(?:''[^']*)*'", r'"[^"\\]*(?:\\[\s\S][^"\\]*)*"'
_QUOTED = re.compile(f"{_SINGLE}|{_DOUBLE}")
_COLON = re.compile(r":(?=\s|$)")
_PROPERTY = re.compile(r"[&!]\S*\s*")  # an anchor or a tag
_TOKEN = re.compile(
    rf"\s*(?:#.*|(?P<quoted>{_SINGLE}|{_DOUBLE})|(?P<mark>[\[\]{{}},]|:(?=[\s\[\]{{}},]|$))"
    r"|(?P<plain>[^\s\[\]{},#'\"](?:(?!:(?:\s|$)|\s#)[^\[\]{},])*))"
)
_NUMBER = re.compile(r"[-+]?\d{1,18}")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[\s\S])")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "/": "/", '"': '"', "\\": "\\", " ": " ", "_": "\xa0"}
_NULLS = frozenset({"null", "~", ""})
_BOOLEANS = {"true": True, "false": False}


class NotRead(ValueError):  # noqa: N818 -- says what the text is, to a reader that asks
    """The text is no YAML of this subset; the message begins with the line."""


def parse_yaml(data: bytes, *, as_text: bool = False) -> object:
    """Maps, lists, strings, integers, booleans and None.

    as_text  every scalar but null stays the text that it is written as: 3.10 is a version there, no number. Anchors
             and tags are passed over, an alias is its own text
    Raises   NotRead
    """
    try:
        text = data[:MAX_BYTES].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotRead("it is not UTF-8") from error
    parser = _Parser(text.splitlines()[:MAX_LINES], as_text=as_text)
    if not parser.lines:
        return None
    value = parser.block(parser.lines[0][1], 0)
    if parser.at < len(parser.lines):
        raise NotRead(f"line {parser.lines[parser.at][0]} belongs to nothing")
    return value


class _Parser:
    """lines: (number, indentation, text) of each that is neither empty nor a comment; at: the next of them."""

    def __init__(self, raw: list[str], *, as_text: bool) -> None:
        self.raw, self.as_text, self.at = raw, as_text, 0
        self.lines = [
            (number, len(line) - len(line.lstrip(" ")), line.strip())
            for number, line in enumerate(raw, 1)
            if line.strip() and not line.lstrip().startswith("#") and line.strip() not in {"---", "..."}
        ]
        self._tokens: list[tuple[str, str]] = []  # of a flow collection's present line, the next one last

    def block(self, indent: int, depth: int) -> object:
        number, _, text = self.lines[self.at]
        if depth > MAX_DEPTH:
            raise NotRead(f"line {number} is too deep")
        if self.raw[number - 1][indent : indent + 1] == "\t":
            raise NotRead(f"line {number} is indented with a tab")
        if _is_item(text):
            return self._list(indent, depth)
        if _split_key(text) is not None:
            return self._map(indent, depth)
        self.at += 1
        return self._value(text, number, indent - 1, depth)

    def _map(self, indent: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while self.at < len(self.lines) and self.lines[self.at][1] == indent:
            number, _, text = self.lines[self.at]
            pair = _split_key(text)
            if self.raw[number - 1][indent : indent + 1] == "\t":
                raise NotRead(f"line {number} is indented with a tab")
            if pair is None:
                raise NotRead(f"line {number} is not KEY: VALUE: {text[:80]}")
            self.at += 1
            found[pair[0]] = self._value(pair[1], number, indent, depth)
        if self.at < len(self.lines) and self.lines[self.at][1] > indent:
            raise NotRead(f"line {self.lines[self.at][0]} is indented too far")
        return found

    def _value(self, rest: str, number: int, indent: int, depth: int) -> object:
        """What stands behind a key or a dash of line `number`, or beneath it."""
        if self.as_text:
            rest = _PROPERTY.sub("", rest, count=1) if rest[:1] in {"&", "!"} else rest
        if rest[:1] in {"|", ">"}:
            return self._block_scalar(rest, number, indent)
        if rest[:1] in {"[", "{"}:
            return self._flow(rest, number)
        if rest and not rest.startswith("#"):
            return self._scalar(rest, number, indent)
        if self.at < len(self.lines):
            _, next_indent, text = self.lines[self.at]
            if next_indent > indent or (next_indent == indent and _is_item(text)):
                return self.block(next_indent, depth + 1)
        return None

    def _list(self, indent: int, depth: int) -> list[object]:
        found = []
        while self.at < len(self.lines):
            number, here, text = self.lines[self.at]
            if here != indent or not _is_item(text):
                break
            rest = text[1:].lstrip()
            if rest and (_split_key(rest) is not None or _is_item(rest)):
                inner = indent + len(text) - len(rest)
                self.lines[self.at] = (number, inner, rest)
                found.append(self.block(inner, depth + 1))
                continue
            self.at += 1
            found.append(self._value(rest, number, indent, depth))
        return found

    def _scalar(self, text: str, number: int, indent: int) -> object:
        """One scalar, and the lines that it goes on in: those are indented further than its key."""
        if text[0] in "&*!%@`" and not self.as_text:
            raise NotRead(f"line {number} has more of YAML than is read here: {text[:80]}")
        quote = text[0] if text[0] in "'\"" else ""
        is_open = bool(quote) and not _closes(text[1:], quote)
        joined = [text]
        while self.at < len(self.lines) and (is_open or not quote):
            _, here, more = self.lines[self.at]
            if here <= indent or (not quote and _split_key(more) is not None):
                break
            # A line break is a space, but for one that a double-quoted text escapes.
            if quote == '"' and joined[-1].endswith("\\"):
                joined[-1] = joined[-1][:-1] + more
            else:
                joined += [" ", more]
            self.at += 1
            is_open = bool(quote) and not _closes(more, quote)
        whole = "".join(joined)
        if not quote:
            return self._typed(whole.split(" #", 1)[0].rstrip())
        match = _QUOTED.match(whole)
        if match is None:
            raise NotRead(f"line {number} has a quote without an end")
        if whole[match.end() :].strip() and not whole[match.end() :].lstrip().startswith("#"):
            raise NotRead(f"line {number} goes on behind its quote: {text[:80]}")
        return _unquoted(match[0])

    def _block_scalar(self, head: str, number: int, indent: int) -> str:
        body = []
        for line in self.raw[number:]:
            if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
                break
            body.append(line)
        while self.at < len(self.lines) and self.lines[self.at][0] <= number + len(body):
            self.at += 1
        margin = min((len(line) - len(line.lstrip(" ")) for line in body if line.strip()), default=0)
        if head[0] == ">":
            text = " ".join(line.strip() for line in body if line.strip())
        else:
            text = "\n".join(line[margin:] for line in body).rstrip("\n")
        return text if "-" in head[:3] or not text else f"{text}\n"

    def _flow(self, text: str, number: int) -> object:
        self._tokens = _split_flow(text, number)
        value = self._flow_value(number, 0)
        if self._tokens:
            raise NotRead(f"line {number} goes on behind its brackets")
        return value

    def _flow_value(self, number: int, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise NotRead(f"line {number} is too deep")
        kind, text = self._token(number)
        if kind == "quoted":
            return _unquoted(text)
        if kind == "plain":
            return self._typed(text)
        items: list[object] = []
        pairs: dict[str, object] = {}
        end = {"[": "]", "{": "}"}.get(text)
        if end is None:
            raise NotRead(f"line {number} has a '{text}' where a value belongs")
        token = self._token(number)
        while token != ("mark", end):
            self._tokens.append(token)
            if end == "]":
                items.append(self._flow_value(number, depth + 1))
            else:
                key = self._token(number)
                token = self._token(number)
                has_value = token == ("mark", ":")
                if key[0] == "mark" or not (has_value or token[1] in {",", "}"}):
                    raise NotRead(f"line {number} has braces without KEY: VALUE")
                name = _unquoted(key[1]) if key[0] == "quoted" else key[1]
                if not has_value:
                    self._tokens.append(token)
                pairs[name] = self._flow_value(number, depth + 1) if has_value else None
            token = self._token(number)
            if token == ("mark", ","):
                token = self._token(number)
            elif token != ("mark", end):
                raise NotRead(f"line {number} lacks a comma or a '{end}'")
        return items if end == "]" else pairs

    def _token(self, number: int) -> tuple[str, str]:
        while not self._tokens:
            if self.at >= len(self.lines):
                raise NotRead(f"line {number} opens a bracket that nothing closes")
            here, _, text = self.lines[self.at]
            self.at += 1
            self._tokens = _split_flow(text, here)
        return self._tokens.pop()

    def _typed(self, text: str) -> object:
        if text.lower() in _NULLS:
            return None
        if self.as_text:
            return text
        if text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        return int(text) if _NUMBER.fullmatch(text) else text


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _split_key(text: str) -> tuple[str, str] | None:
    """`key: rest`, with the key as text; None for a line that is no pair."""
    if text[0] in "'\"":
        quoted = _QUOTED.match(text)
        rest = text[quoted.end() :].lstrip() if quoted is not None else ""
        if quoted is None or _COLON.match(rest) is None:
            return None
        return _unquoted(quoted[0]), rest[1:].lstrip()
    if text[0] in "#[]{}&*!|>%@`," or _is_item(text):
        return None
    colon = _COLON.search(text)
    if colon is None or " #" in text[: colon.start()]:
        return None
    return text[: colon.start()].rstrip(), text[colon.end() :].lstrip()


def _split_flow(text: str, number: int) -> list[tuple[str, str]]:
    """(kind, text) of a line's tokens, the first one last."""
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotRead(f"line {number} has a quote without an end")
        at = match.end()
        if match.lastgroup is not None:  # none for a comment
            found.append((match.lastgroup, match[match.lastgroup].rstrip()))
    return found[::-1]


def _closes(text: str, quote: str) -> bool:
    return quote in (text.replace("''", "") if quote == "'" else re.sub(r"\\[\s\S]?", "", text))


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'") if text[0] == "'" else _ESCAPE.sub(_unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    word = match[1]
    if word[0] not in "xu" or len(word) == 1:
        return _ESCAPES.get(word, word)
    code = int(word[1:], 16)
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)  # half a character cannot be written anywhere
