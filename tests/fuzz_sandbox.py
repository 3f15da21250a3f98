"""A compiler in a box: each text is compiled in a process of its own, with a limit on time and memory.

`Sandbox` keeps one server that has the compiler imported and forks for each text, so that a test costs milliseconds.
What comes back says how it ended: a Plan or messages, or that it raised, hung, or ate too much.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

SECONDS = 2.0
"""The time that the issue allows."""
SLOW = 3.0
"""How much slower than a developer's machine the machine of the tests may be."""
ADDRESS_SPACE = 1_500_000_000
"""The most memory that a compilation can ask for at all."""
MEBIBYTES = 500
"""The memory that the issue allows."""


@dataclass(frozen=True)
class Outcome:
    """How one compilation ended. `ended`: plan, refused, raised or hung; `said`: level, code and title of each message."""

    ended: str
    said: tuple[tuple[str, str, str], ...] = ()
    seconds: float = 0.0
    mebibytes: float = 0.0
    trace: str = ""
    value: Any = None

    @property
    def errors(self) -> list[str]:
        """The codes of the errors."""
        return [code for level, code, _ in self.said if level == "error"]

    @property
    def titles(self) -> str:
        return "\n".join(f"{code} {title}" for _, code, title in self.said)


class Sandbox:
    """Compiles texts, each in a process of its own."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
        )

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()

    def compile(self, text: str, **options: Any) -> Outcome:
        """Compile the text. `options`: name, parameters, context, base, root, and `seconds`, the time allowed."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps({"text": text, **options}) + "\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        return Outcome(**{**answer, "said": tuple(map(tuple, answer.get("said", ())))})


def compiled(request: dict[str, Any]) -> dict[str, Any]:
    """What compiling the text of a request leads to, drawn and serialised as the command line would."""
    from schedc.compiler.diagnostics import draw, errors
    from schedc.compiler.pipeline import Options, compile_source
    from schedc.compiler.source import Source

    root = request.get("root")
    options = Options(
        request.get("parameters", {}), request.get("context", {}), request.get("base"), Path(root) if root else None
    )
    staged = compile_source(Source(request.get("name", "<hostile>"), request["text"]), options)
    for said in staged.said:
        draw(said)
    refused = bool(errors(staged.said))
    if refused == (staged.value is not None):
        raise AssertionError("a Plan and errors, or neither: " + "\n".join(map(str, staged.said)))
    if staged.value is not None:
        staged.value.model_dump_json()
    return {
        "ended": "refused" if refused else "plan",
        "said": [(str(d.level), d.code.number, d.title) for d in staged.said],
    }


def _child(request: dict[str, Any], write: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        answer = compiled(request)
    except BaseException as fault:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        lines = traceback.format_exception(type(fault), fault, fault.__traceback__, limit=-12)
        answer = {"ended": "raised", "trace": "".join(lines)[-6000:]}
    after = resource.getrusage(resource.RUSAGE_SELF)
    answer["seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer["mebibytes"] = (after.ru_maxrss - before.ru_maxrss) / 1024
    with os.fdopen(write, "w", encoding="ascii") as out:
        out.write(json.dumps(answer))


def _serve_one(request: dict[str, Any]) -> dict[str, Any]:
    allowed = float(request.get("seconds", SECONDS * SLOW))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            _child(request, write)
        finally:
            os._exit(0)
    os.close(write)
    said = b""
    # Time on the wall, which other processes share: the time that counts is measured inside.
    end = time.monotonic() + 2 * allowed
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([read], [], [], left)[0]:
            os.kill(pid, signal.SIGKILL)
            break
        chunk = os.read(read, 1 << 16)
        if not chunk:
            break
        said += chunk
    os.close(read)
    os.waitpid(pid, 0)
    if said:
        with contextlib.suppress(ValueError):
            answer: dict[str, Any] = json.loads(said)
            return answer
    return {"ended": "hung" if time.monotonic() >= end else "died", "seconds": 2 * allowed}


def _serve() -> None:
    from schedc.compiler.pipeline import compile_source
    from schedc.compiler.source import Source

    # What is loaded once is not counted against a text.
    compile_source(Source("<warm>", "lr = warmup 5 to=1 -> cosine(10, to=10%) | staircase 2\nlr(3)"))
    compile_source(
        Source("<warm>", "train { length = 9 steps }\nlr = warmup 5 to=1 -> cosine to=10%\nassert max(lr) <= 1")
    )
    for line in sys.stdin:
        print(json.dumps(_serve_one(json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
