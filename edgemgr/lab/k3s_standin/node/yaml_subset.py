"""A reader for the part of YAML that k3s configuration and simple manifests use; the node has no YAML library.

Read are: several documents, mappings and lists by indentation, flow lists and mappings on one line, plain and quoted
scalars, literal (`|`) and folded (`>`) blocks, comments, and JSON. Not read are anchors, tags, and plain scalars over
several lines: they are an error.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEY = re.compile(r"""("[^"]*"|'[^']*'|[^\s\-?#&*!|>'"%@`{}\[\],][^#]*?|-[^\s#][^#]*?):(?:\s+(.*))?$""")
_BLOCK = re.compile(r"([|>])([+-]?)\s*(#.*)?$")
_INTEGER = re.compile(r"[+-]?\d+$")
_FLOAT = re.compile(r"[+-]?\d+\.\d*$")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class YamlError(ValueError):
    """A text that is not in the part of YAML that is read here."""


def documents(text: str) -> list[Any]:
    """All documents of a text; an empty text has one empty document.

    Raises:
        YamlError: with the line's number.
    """
    parts = re.split(r"(?m)^---(?:[ \t].*)?$", text)
    found = [_document(part) for part in parts]
    return [document for document in found if document is not None] or [None]


def _document(text: str) -> Any:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            pass  # a flow collection that is not JSON
    reader = _Reader(text.splitlines())
    first = reader.peek()
    if first is None:
        return None
    value = reader.block(first[0])
    if reader.peek() is not None:
        raise reader.error("unexpected indentation")
    return value


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0

    def error(self, what: str) -> YamlError:
        return YamlError(f"yaml: line {self.at + 1}: {what}")

    def peek(self) -> tuple[int, str] | None:
        """Indentation and content of the next line that says something."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            content = line.strip()
            if content and not content.startswith("#"):
                if "\t" in line[: len(line) - len(line.lstrip())]:
                    raise self.error("found character that cannot start any token")
                return len(line) - len(line.lstrip()), content
            self.at += 1
        return None

    def block(self, indent: int) -> Any:
        following = self.peek()
        if following is None or following[0] < indent:
            return None
        column, content = following
        if content == "-" or content.startswith("- "):
            return self._sequence(column)
        if _KEY.match(content):
            return self._mapping(column)
        self.at += 1
        return self._scalar(content)

    def _sequence(self, column: int) -> list[Any]:
        items: list[Any] = []
        while (following := self.peek()) is not None:
            indent, content = following
            if indent != column or not (content == "-" or content.startswith("- ")):
                break
            rest = content[1:].lstrip()
            if not rest or rest.startswith("#"):
                self.at += 1
                items.append(self.block(column + 1))
            elif rest.startswith("- ") or _KEY.match(rest):
                inner = column + len(content) - len(rest)
                self.lines[self.at] = " " * inner + rest
                items.append(self.block(inner))
            else:
                self.at += 1
                items.append(self._value(rest, column))
        return items

    def _mapping(self, column: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while (following := self.peek()) is not None:
            indent, content = following
            match = _KEY.match(content)
            if indent != column or match is None:
                if indent >= column and not content.startswith("- "):
                    raise self.error("did not find expected key")
                break
            key = str(_plain(match.group(1)))
            self.at += 1
            rest = (match.group(2) or "").strip()
            if rest and not rest.startswith("#"):
                found[key] = self._value(rest, column)
                continue
            inner = self.peek()
            if inner is not None and inner[0] == column and (inner[1] == "-" or inner[1].startswith("- ")):
                found[key] = self._sequence(column)
            else:
                found[key] = self.block(column + 1)
        return found

    def _value(self, rest: str, column: int) -> Any:
        match = _BLOCK.match(rest)
        return self._block_scalar(match.group(1), match.group(2), column) if match else self._scalar(rest)

    def _block_scalar(self, style: str, chomp: str, column: int) -> str:
        lines: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and len(line) - len(line.lstrip()) <= column:
                break
            lines.append(line)
            self.at += 1
        margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        text = "\n".join(line[margin:] for line in lines).rstrip("\n")
        if style == ">":
            text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
        return text if chomp == "-" or not text else text + "\n"

    def _scalar(self, text: str) -> Any:
        try:
            return _plain(_without_comment(text))
        except ValueError as exc:
            raise self.error(str(exc)) from exc


def _without_comment(text: str) -> str:
    quote = ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (at == 0 or text[at - 1] in " [{,:"):
            quote = character
        elif character == "#" and (at == 0 or text[at - 1].isspace()):
            return text[:at].rstrip()
    return text.strip()


def _plain(text: str) -> Any:
    if text[:1] == '"':
        return json.loads(text)
    if text[:1] == "'" and text[-1:] == "'" and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text[:1] in "[{" and text:
        return _flow(text)
    if text[:1] in ("&", "*", "!", "%", "@", "`", "|", ">"):
        raise YamlError(f"{text[:1]} is not read by the stand-in")
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


def _flow(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    closing = {"[": "]", "{": "}"}[text[0]]
    if not text.endswith(closing):
        raise YamlError(f"no {closing} at the end of the line")
    parts = _split(text[1:-1])
    if text[0] == "[":
        return [_plain(part) for part in parts]
    pairs = (part.partition(":") for part in parts)
    return {str(_plain(key.strip())): _plain(value.strip()) for key, _, value in pairs}


def _split(text: str) -> list[str]:
    """The parts between commas that are not inside brackets or quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]
