"""From a text to its syntax tree.

A text without faults is parsed in one go. Where that fails, `recover.py` takes it apart to find every fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from lark import UnexpectedInput

from schedc.compiler import messages_syntax as say
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.source import Source, Span
from schedc.compiler.staged import Staged
from schedc.grammar import layout, syntax
from schedc.grammar.build import Builder
from schedc.grammar.limits import MAX_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_TOKENS
from schedc.grammar.tables import parser


def parse(source: Source) -> Staged[syntax.Program]:
    """The syntax tree of a text. Every fault of the text is said; with any, there is no tree."""
    too_large = _too_large(source)
    if too_large is not None:
        return Staged(None, (too_large,))
    tokens, remarks = layout.scan(source.text)
    if len(tokens) > MAX_TOKENS:
        return Staged(None, (say.tokens(_place(source, tokens[MAX_TOKENS]), MAX_TOKENS),))
    items = layout.separate(tokens)
    if items.deepest > MAX_DEPTH:
        return Staged(None, (say.nesting(source.span(items.deepest_at, items.deepest_at + 1), MAX_DEPTH),))
    if len(items.starts) > MAX_ITEMS:
        return Staged(None, (say.items(_place(source, tokens[items.starts[MAX_ITEMS].token]), MAX_ITEMS),))
    file_doc, docs = _docs(source, remarks)
    builder = Builder(source, docs=docs)
    try:
        tree = parser().parse(layout.clean(source.text, tokens, items), start="file")
    except UnexpectedInput:
        # Only a faulty text needs what is known of mistakes.
        from schedc.grammar.recover import Recovery

        said = sorted(Recovery(source, docs).faults(tokens, items), key=lambda d: d.span.start)
        return Staged(None, tuple(said))
    built = builder.build(tree)
    if builder.said:
        return Staged(None, tuple(sorted(builder.said, key=lambda d: d.span.start)))
    comments = tuple(syntax.Comment(source.span(r.start, r.start + len(r.text)), r.text, r.alone) for r in remarks)
    return Staged(syntax.Program(source, built, comments, file_doc))


def _too_large(source: Source) -> Diagnostic | None:
    size = len(source.text)
    if size <= MAX_BYTES and not source.text.isascii():
        size = len(source.text.encode("utf-8", "surrogatepass"))
    return say.source_size(source.span(0, 0), size, MAX_BYTES) if size > MAX_BYTES else None


def _place(source: Source, token: layout.Token) -> Span:
    return source.span(token.start, token.end)


def _docs(source: Source, remarks: Sequence[layout.Remark]) -> tuple[str | None, dict[int, str]]:
    """The file's doc comment, and those that stand directly above a line, by that line."""
    docs: dict[int, str] = {}
    file_doc: str | None = None
    run: list[str] = []
    last = -2
    for i, remark in enumerate(remarks):
        is_doc = remark.alone and remark.text.startswith("##") and not remark.text.startswith("###")
        if not is_doc:
            run = []
            continue
        line = source.line_of(remark.start)
        if line != last + 1:
            run = []
        run.append(remark.text[2:].removeprefix(" "))
        last = line
        docs.pop(line, None)
        docs[line + 1] = "\n".join(run)
        opens_text = len(run) == i + 1 and not source.text[: remarks[0].start].strip("\ufeff \t\r\n\f\v")
        if opens_text:
            file_doc = docs[line + 1] if _is_blank(source, line + 1) else None
    return file_doc, docs


def _is_blank(source: Source, line: int) -> bool:
    """Whether a line is empty, or behind the last one."""
    return line >= len(source.line_starts) or not source.line_text(line).strip()
