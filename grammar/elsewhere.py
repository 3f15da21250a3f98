"""What the language's words and signs are called elsewhere: in papers, in editors, in other languages."""

from __future__ import annotations

LOOKALIKES = {
    "→": "->", "⇒": "->", "⟶": "->", "➜": "->", "➔": "->", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/",
    "−": "-", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "≠": "!=", "“": '"', "”": '"', "„": '"', "‘": '"', "’": '"',
    "«": '"', "»": '"', "（": "(", "）": ")", "，": ",", "：": ":", "；": ";", "＝": "=", "∞": "inf", "π": "pi",
    "²": "^2", "³": "^3",
}  # fmt: skip
"""Characters that editors and papers put in place of a sign of the language."""

FOREIGN = {
    "=>": ("->", True), ">>": ("->", True), "~>": ("->", True), ">>=": ("->", True), "**": ("^", True),
    ":=": ("=", True), "<-": ("=", True), "||": ("|", True), "//": ("floor(a / b)", False), "%": ("mod(a, b)", False),
    "+=": ("= base + …", False), "-=": ("= base - …", False), "/=": ("*= 1 / …", False),
}  # fmt: skip
"""Operators of other languages: what to write, and whether it simply takes their place."""

KINDS = {
    "float": "number", "real": "number", "int": "count", "integer": "count", "bool": "flag", "boolean": "flag",
    "str": "text", "string": "text", "time": "duration", "steps": "duration", "function": "curve",
    "numbers": "number", "durations": "duration", "Number": "number", "Duration": "duration",
}  # fmt: skip
"""What other languages call a kind."""

TRUE_KINDS = frozenset({"number", "count", "duration", "level", "curve", "schedule", "flag", "text"})

UNITS = {
    "iter": "steps", "iters": "steps", "iterations": "steps", "iteration": "steps", "updates": "steps",
    "update": "steps", "it": "steps", "its": "steps", "batches": "steps", "s": "steps",
    "ep": "epochs", "eps": "epochs", "e": "epochs", "Epochs": "epochs",
    "tok": "tokens", "toks": "tokens", "images": "samples", "examples": "samples", "percent": "%",
} | {u: u for one in ("step", "epoch", "sample", "token") for u in (one, one + "s")}  # fmt: skip
"""What units are called, here and elsewhere."""

SUFFIXES = {
    "K": "k", "m": "M", "b": "B", "t": "T", "G": "B", "g": "B", "ki": "Ki", "mi": "Mi", "gi": "Gi", "KB": "Ki",
    "mil": "M",
}  # fmt: skip
"""Suffixes as others write them."""
