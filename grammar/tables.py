"""The parser made from `sched.lark`, and its tables made beforehand.

Working out the tables takes ten times as long as reading them, and a one-line schedule should compile at once. So
`sched.tables` lies beside the grammar; it is made by `python -m schedc.grammar.tables`, and names the grammar and the
Lark it was made with. Where either differs, the parser is built from the grammar.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from functools import cache
from importlib.resources import files
from pathlib import Path

import lark

STARTS = ("file", "item", "bind", "rule")
GRAMMAR = "sched.lark"
TABLES = "sched.tables"


def grammar_text() -> str:
    """The grammar as it stands in the package."""
    return (files(__package__) / GRAMMAR).read_text(encoding="utf-8")


def signature(grammar: str) -> bytes:
    """What the tables depend on."""
    return hashlib.sha256(f"{lark.__version__}\n{grammar}".encode()).digest()


def build(grammar: str) -> lark.Lark:
    """The parser, from the grammar."""
    return lark.Lark(grammar, parser="lalr", lexer="contextual", start=list(STARTS), maybe_placeholders=False)


def pack(grammar: str) -> bytes:
    """The tables as bytes, behind their signature."""
    out = io.BytesIO()
    build(grammar).save(out)
    return signature(grammar) + zlib.compress(out.getvalue(), 9)


def unpack(grammar: str, packed: bytes) -> lark.Lark | None:
    """The parser from tables, or None where they belong to another grammar or another Lark."""
    signed = signature(grammar)
    if not packed.startswith(signed):
        return None
    return lark.Lark.load(io.BytesIO(zlib.decompress(packed[len(signed) :])))


@cache
def parser() -> lark.Lark:
    """The parser of this process."""
    grammar = grammar_text()
    tables = files(__package__) / TABLES
    ready = unpack(grammar, tables.read_bytes()) if tables.is_file() else None
    return ready or build(grammar)


if __name__ == "__main__":
    (Path(__file__).parent / TABLES).write_bytes(pack(grammar_text()))
