"""Reads a YAML file of ours so that a fault can name its line: no aliases, no repeated keys, bounded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgemgr.errors import BundleError

#: What to do about a fault in such a file.
EXAMPLE = "inventory-examples/bundle.yaml, which comes with edgemgr, shows every key."
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 16
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)

Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class LinedYaml:
    """Plain data, and the line on which each part of it begins."""

    value: Any
    lines: dict[Keys, int]

    def line(self, keys: Keys) -> int:
        """The line of a part; of the nearest part around it, where it is missing itself."""
        while keys not in self.lines:
            keys = keys[:-1]
        return self.lines[keys]


def read_yaml(path: Path) -> LinedYaml:
    """Read a file.

    Raises:
        BundleError: it cannot be read, is too large, is no YAML, or says a key twice (E-BUNDLE-RECIPE).
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1).decode()
    except OSError as exc:
        raise _fault(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise _fault(f"{path} is no text in UTF-8") from exc
    if len(text) > _MAX_BYTES:
        raise _fault(f"{path} is larger than {_MAX_BYTES} bytes")
    try:
        _check_tokens(path, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise _fault(f"{path} is empty")
        lines: dict[Keys, int] = {}
        _note(path, node, (), lines)
        return LinedYaml(yaml.safe_load(text), lines)
    except (yaml.YAMLError, ValueError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise _fault(f"{path}{where}: {getattr(exc, 'problem', None) or exc}") from exc


def _check_tokens(path: Path, text: str) -> None:
    """Refuse what makes a small file large: aliases, and endless nesting."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if isinstance(token, yaml.AliasToken) or depth > _MAX_DEPTH:
            why = "aliases are not understood here" if depth <= _MAX_DEPTH else "this is nested too deep"
            raise _fault(f"{path}, line {token.start_mark.line + 1}: {why}")


def _note(path: Path, node: yaml.Node, keys: Keys, lines: dict[Keys, int]) -> None:
    lines.setdefault(keys, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _note(path, item, (*keys, number), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            name = (*keys, str(key.value))
            if name in lines:
                raise _fault(f"{path}, line {key.start_mark.line + 1}: {key.value} is there twice")
            lines[name] = key.start_mark.line + 1
            _note(path, item, name, lines)


def _fault(message: str) -> BundleError:
    return BundleError(message, hint=EXAMPLE, code="E-BUNDLE-RECIPE")
