"""Messages on the terminal and for machines: coloured text, JSON, GitHub annotations, SARIF."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

import click

from schedc.compiler.codes import Code
from schedc.compiler.diagnostics import Diagnostic, Level, draw
from schedc.compiler.source import Span

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "cyan"}


def in_colour(err: bool = False) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set; FORCE_COLOR asks for it anywhere."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    stream = sys.stderr if err else sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def report(said: Iterable[Diagnostic], err: bool = False) -> None:
    """Print the messages, drawn, with an empty line behind each."""
    click.echo(drawn(said, in_colour(err)), err=err, nl=False, color=in_colour(err))


def drawn(said: Iterable[Diagnostic], colour: bool) -> str:
    """The messages, drawn, with an empty line behind each."""
    return "".join((painted(one) if colour else draw(one)) + "\n\n" for one in said)


def painted(said: Diagnostic) -> str:
    """The drawn message with colours."""
    colour = _COLOURS[said.level]
    first, *rest = draw(said).split("\n")
    head, _, title = first.partition(": ")
    out = [click.style(head, fg=colour, bold=True) + click.style(f": {title}", bold=True)]
    for line in rest:
        edge = re.match(r"( *\d* \||\s*-->|\s*:::|\s*= (?:note|help):|\.\.\.)", line)
        if edge is None:
            out.append(line)
            continue
        body = line[edge.end() :]
        marks = re.match(r"\s*(\^+|-+)(?= |$)", body)
        if marks and edge[0].strip() == "|":
            body = click.style(body, fg=colour if "^" in marks[1] else "blue", bold="^" in marks[1])
        mark = edge[0]
        if "= " in mark:
            before, word = mark.split("= ")
            out.append(click.style(f"{before}= ", fg="blue") + click.style(word, bold=True) + body)
        else:
            out.append(click.style(mark, fg="blue", bold=True) + body)
    return "\n".join(out)


def counted(number: int, word: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def summary(sources: int, said: Sequence[Diagnostic], what: str = "file") -> str:
    """`2 files, 3 errors, 1 warning`."""
    levels = Counter(d.level for d in said)
    parts = [counted(sources, what), counted(levels[Level.ERROR], "error") if levels[Level.ERROR] else "no errors"]
    parts += [counted(levels[level], level.value) for level in (Level.WARNING, Level.NOTE) if levels[level]]
    return ", ".join(parts)


def _region(span: Span) -> dict[str, Any]:
    line, column = span.source.place(span.start)
    end_line, end_column = span.source.place(max(span.start, span.end))
    return {"file": span.source.name, "line": line, "column": column, "end_line": end_line, "end_column": end_column}


def record(said: Diagnostic) -> dict[str, Any]:
    """The message as plain data. Lines and columns count from 1; the end column lies behind the last character."""
    return {
        "code": said.code.number,
        "name": said.code.name,
        "level": said.level.value,
        "title": said.title,
        **_region(said.span),
        "label": said.primary.text,
        "labels": [{**_region(label.span), "label": label.text} for label in said.labels],
        "notes": list(said.notes),
        "help": said.help,
        "fix": None
        if said.fix is None
        else {**_region(said.fix.span), "text": said.fix.text, "certain": said.fix.certain},
    }


def as_json(files: Sequence[str], said: Sequence[Diagnostic]) -> str:
    """The messages as one JSON object."""
    levels = Counter(d.level.value for d in said)
    return json.dumps(
        {
            "files": list(files),
            "diagnostics": [record(d) for d in said],
            "summary": {f"{level.value}s": levels[level.value] for level in Level},
        },
        indent=2,
        ensure_ascii=False,
    )


def _escaped(text: str, in_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text


def as_github(said: Iterable[Diagnostic]) -> str:
    """The messages as GitHub workflow commands, which show them beside the changed lines."""
    lines = []
    for one in said:
        at = _region(one.span)
        properties = {"file": at["file"], "line": at["line"], "endLine": at["end_line"]}
        if at["line"] == at["end_line"]:
            properties |= {"col": at["column"], "endColumn": max(at["column"], at["end_column"] - 1)}
        properties["title"] = f"{one.code.number} {one.code.name}"
        command = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}[one.level]
        words = "\n".join([one.title, *one.notes, *([f"help: {one.help}"] if one.help else [])])
        given = ",".join(f"{k}={_escaped(str(v), True)}" for k, v in properties.items())
        lines.append(f"::{command} {given}::{_escaped(words)}")
    return "\n".join(lines)


def _sarif_region(at: dict[str, Any]) -> dict[str, Any]:
    return {
        "startLine": at["line"],
        "startColumn": at["column"],
        "endLine": at["end_line"],
        "endColumn": at["end_column"],
    }


def _sarif_file(name: str) -> dict[str, Any]:
    # What is no path, `<string>` for one, must still be a URI.
    return {"uri": quote(name.replace("\\", "/"), safe="/:~" if re.match(r"[A-Za-z]:", name) else "/~")}


def _sarif_location(span: Span, text: str = "") -> dict[str, Any]:
    at = _region(span)
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": _sarif_file(at["file"]), "region": _sarif_region(at)}
    }
    return {**location, "message": {"text": text}} if text else location


def as_sarif(said: Sequence[Diagnostic], version: str) -> str:
    """The messages as a SARIF 2.1.0 log, as code-scanning services read it."""
    codes = {d.code.number: d.code for d in said}
    order = sorted(codes)
    results = []
    for one in said:
        result: dict[str, Any] = {
            "ruleId": one.code.number,
            "ruleIndex": order.index(one.code.number),
            "level": one.level.value,
            "message": {"text": "\n".join([one.title, *one.notes, *([f"help: {one.help}"] if one.help else [])])},
            "locations": [_sarif_location(one.span)],
        }
        if one.labels:
            result["relatedLocations"] = [_sarif_location(label.span, label.text or "here") for label in one.labels]
        if one.fix is not None:
            at = _region(one.fix.span)
            change = {"deletedRegion": _sarif_region(at), "insertedContent": {"text": one.fix.text}}
            result["fixes"] = [
                {
                    "description": {"text": one.help or "put it right"},
                    "artifactChanges": [
                        {"artifactLocation": _sarif_file(at["file"]), "replacements": [change]},
                    ],
                }
            ]
        results.append(result)
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "schedc", "version": version, "rules": [_sarif_rule(codes[n]) for n in order]}
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }
    return json.dumps(log, indent=2, ensure_ascii=False)


def _sarif_rule(code: Code) -> dict[str, Any]:
    """What is known of a message besides its words: its page is the help text."""
    rule: dict[str, Any] = {"id": code.number, "name": code.name, "shortDescription": {"text": code.meaning}}
    page = resources.files("schedc.compiler") / "explain" / f"{code.number}.md"
    if page.is_file():
        text = page.read_text(encoding="utf-8")
        rule["help"] = {"text": re.sub(r"(?m)^(#+ |```.*$\n?)", "", text).strip(), "markdown": text.strip()}
    return rule
