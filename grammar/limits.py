"""How large a text may be. Each limit has an error of its own, in `compiler/messages_syntax.py`."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 1 << 20
"""Size of one source, in UTF-8."""

MAX_TOKENS: Final = 100_000
"""Words and signs in one source."""

MAX_ITEMS: Final = 10_000
"""Items in one source, entries of blocks included."""

MAX_DEPTH: Final = 100
"""Nesting of brackets, and of operators in one expression: later stages walk the tree by recursion."""

MAX_DIGITS: Final = 100
"""Digits of a number as written, its exponent aside."""

MAX_EXPONENT: Final = 400
"""Size of the exponent in `1e400`. Beyond it no float follows."""

MAX_INDEX_DIGITS: Final = 9
"""Digits of an index (`betas[1]`) and of a number of dimensions (`ndim < 2`)."""
