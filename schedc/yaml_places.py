"""YAML with places: texts that know where they stand in the file, and where a key's value is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from schedc.compiler.source import Source
from schedc.config import PlacedText


class _Loader(yaml.SafeLoader):
    """Safe YAML whose texts are `PlacedText`, and in which no key may stand twice."""

    file: Source

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"`{key.value}` is given twice", problem_mark=key.start_mark)
                seen[key.value] = key
        return {
            str.__str__(k) if isinstance(k, PlacedText) else k: v
            for k, v in super().construct_mapping(node, deep).items()
        }


def _text(loader: _Loader, node: yaml.ScalarNode) -> PlacedText:
    text = PlacedText(node.value)
    raw = loader.file.text[node.start_mark.index : node.end_mark.index]
    text.file = loader.file
    text.offsets = offsets(raw, node.value, node.style or "", node.start_mark.index)
    first = text.offsets[0] if text.offsets else node.start_mark.index
    line = loader.file.line_of(first)
    text.start = (line, loader.file.column_of(first))
    return text


_Loader.add_constructor("tag:yaml.org,2002:str", _text)


def load(file: Source) -> tuple[Any, yaml.Node | None]:
    """The file's data, and the tree it was read from. Raises yaml.MarkedYAMLError."""
    loader = _Loader(file.text)
    loader.file = file
    try:
        root = loader.get_single_node()
        return (None if root is None else loader.construct_document(root)), root
    finally:
        loader.dispose()


def offsets(raw: str, value: str, style: str, start: int) -> list[int] | None:
    """Where each character of a scalar's value, and its end, stands in the file; None if they cannot be lined up.

    `raw` is the scalar as written, from the file's offset `start` on.
    """
    found: list[int] = []
    i = 0
    if style in ("'", '"'):
        i = 1
    elif style in ("|", ">"):
        i = raw.find("\n") + 1
    for c in value:
        while i < len(raw):
            if raw[i] == c and not (style == '"' and c == "\\") and not (c == " " and _folds(raw, i, style)):
                found.append(start + i)
                # In single quotes a quote is written twice.
                i += 2 if style == "'" and c == "'" else 1
                break
            if style == '"' and raw[i] == "\\":
                width = {"x": 4, "u": 6, "U": 10}.get(raw[i + 1 : i + 2], 2)
                if raw[i + 1 : i + 2] == "\n":
                    i += 2
                    continue
                found.append(start + i)
                i += width
                break
            if c in " \n" and raw[i] in " \t\n" and "\n" in raw[i : i + len(raw[i:]) - len(raw[i:].lstrip())]:
                # A line break, folded into one blank.
                found.append(start + i)
                i += len(raw[i:]) - len(raw[i:].lstrip())
                break
            if raw[i] not in " \t\n":
                return None
            i += 1
        else:
            # The last line of a block needs no line break in the file.
            if c != "\n":
                return None
            found.append(start + len(raw) - 1)
    return [*found, found[-1] + 1 if found else start]


def _folds(raw: str, i: int, style: str) -> bool:
    """Whether the blank at `i` belongs to a line break that is folded."""
    blanks = raw[i : i + len(raw[i:]) - len(raw[i:].lstrip())]
    return style in ("", "'", '"', ">") and "\n" in blanks


def place(root: yaml.Node | None, path: Sequence[str | int], file: Source) -> str:
    """`file:line:column` of the value that the path of keys leads to, or of the last one on it that is there."""
    node = root
    for part in path:
        if isinstance(node, yaml.MappingNode):
            inner = next((v for k, v in node.value if isinstance(k, yaml.ScalarNode) and k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            inner = node.value[part]
        else:
            inner = None
        if inner is not None:
            node = inner
    if node is None:
        return file.name
    return f"{file.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
