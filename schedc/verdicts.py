"""Verdicts of `schedc check`, kept on disk: a run that would say the same again is answered before any library is imported.

An entry belongs to one command line, in one folder, on one kind of terminal, of one installation. It lists what the
run depended on, each file with a digest of its content: programs, what they import, folders searched, and every
`pyproject.toml` on the way up, there or not. All of it is compared before the answer is given. Whatever looks odd, a
damaged entry for one, is no answer.

Nothing is imported here but `os` and `sys`, which Python has already loaded: the next import would cost as much as
the answer.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMAT = b"schedc verdict 1\n"
MAX_ENTRIES = 4096
"""Beyond it the oldest entries are removed."""
MAX_BYTES = 1 << 20
"""A longer answer is not kept."""
ABSENT = "-"
FILE, FOLDER, PLACE = "file", "folder", "place"

Dependency = tuple[str, str, str]
"""What a verdict depends on: FILE (its content), FOLDER (which programs lie below) or PLACE (where a path leads), the
path, and the digest of what was found there."""


def _blake2(data: bytes) -> str:
    try:
        from _blake2 import blake2b  # hashlib would load OpenSSL
    except ImportError:
        from hashlib import blake2b
    return blake2b(data, digest_size=20).hexdigest()


def folder() -> str | None:
    """Where entries lie; None if the cache is turned off or there is no place for it."""
    environ = os.environ
    if environ.get("SCHEDC_CACHE", "").lower() in ("off", "0", "no", "false"):
        return None
    base = environ.get("XDG_CACHE_HOME")
    if base and os.path.isabs(base):
        return base + os.sep + "schedc"
    if os.name == "nt":
        base = environ.get("LOCALAPPDATA")
        return base + "\\schedc\\Cache" if base else None
    home = environ.get("HOME")
    if not home:
        return None
    return home + ("/Library/Caches/schedc" if sys.platform == "darwin" else "/.cache/schedc")


def entry(arguments: Sequence[str]) -> str | None:
    """The file of the verdict for a command line; None where none is kept."""
    place = folder()
    if place is None or not arguments or arguments[0] != "check":
        return None
    try:
        out = sys.stdout
        if out is None or (os.name == "nt" and out.isatty()):
            return None
        environ = os.environ
        shown = [str(out.isatty()), out.encoding, str(out.errors)]
        shown += [environ.get(name, "") for name in ("NO_COLOR", "FORCE_COLOR", "TERM")]
        parts = [os.getcwd(), *shown, sys.version, str(sys.flags.optimize), *_installation(), *arguments]
        return place + os.sep + _blake2("\0".join(parts).encode("utf-8", "surrogateescape"))
    except (OSError, ValueError, UnicodeError, AttributeError):
        return None


def _installation() -> list[str]:
    """What tells this compiler from another one: its files, and where its libraries are installed."""
    here = os.path.dirname(os.path.abspath(__file__))
    found = [here]
    for inner in ("", "grammar", "compiler", "stdlib", "stdlib/dialects", "stdlib/recipes"):
        with os.scandir(f"{here}/{inner}") as entries:
            for one in entries:
                name = one.name
                if name.endswith((".py", ".sched", ".lark", ".tables", ".so", ".pyd")):
                    stat = one.stat()
                    found.append(f"{inner}/{name} {stat.st_size} {stat.st_mtime_ns}")
    found.sort()
    found += sys.path[1:]  # The first is the script's own folder.
    for path in sys.path:
        if path.endswith(("site-packages", "dist-packages")):
            try:
                found.append(f"{path} {os.stat(path).st_mtime_ns}")
            except OSError:
                found.append(path)
    return found


def of_file(path: str) -> str:
    """A digest of a file: where it really lies, and what it holds."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError):
        return ABSENT
    where = os.path.realpath(path).encode("utf-8", "surrogateescape")
    return _blake2(where + b"\0" + content)


def programs_below(path: str) -> list[str]:
    """The `.sched` files below a folder, but not in hidden folders; folders that are links are not entered."""
    found: list[str] = []
    waiting = [path]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for one in entries:
                    if one.name.startswith("."):
                        continue
                    if one.is_dir(follow_symlinks=False):
                        waiting.append(one.path)
                    elif one.name.endswith(".sched") and one.is_file():
                        found.append(one.path)
        except OSError:
            continue
    found.sort()
    return found


def of_folder(path: str) -> str:
    """A digest of which programs lie below a folder."""
    return _blake2("\0".join(programs_below(path)).encode("utf-8", "surrogateescape"))


def current(kind: str, path: str) -> str:
    """The digest of what a dependency is now."""
    if kind == PLACE:
        return _blake2(f"{os.path.realpath(path)} {os.path.isdir(path)}".encode("utf-8", "surrogateescape"))
    return of_folder(path) if kind == FOLDER else of_file(path)


def load(path: str) -> tuple[int, str] | None:
    """The exit status and the output that an entry holds, if all that it depends on is as it was."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(FORMAT) + 41)
            body = file.read(MAX_BYTES * 2)
        if not head.startswith(FORMAT) or head[len(FORMAT) :] != _blake2(body).encode() + b"\n":
            return None
        numbers, _, rest = body.partition(b"\n")
        status, count, length = (int(n) for n in numbers.split())
        fields = rest[:length].decode("utf-8", "surrogateescape").split("\0")
        for k in range(count):
            kind, place, digest = fields[3 * k : 3 * k + 3]
            if current(kind, place) != digest:
                return None
        return status, rest[length:].decode("utf-8", "surrogatepass")
    except (OSError, ValueError):
        return None


def keep(path: str, status: int, text: str, on: Iterable[Dependency]) -> None:
    """Write an entry, whole or not at all. What can't be written is not kept, and nobody is told."""
    found = list(on)
    fields = "\0".join(part for one in found for part in one).encode("utf-8", "surrogateescape")
    output = text.encode("utf-8", "surrogatepass")
    body = b"%d %d %d\n" % (status, len(found), len(fields)) + fields + output
    if len(body) > MAX_BYTES:
        return
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(FORMAT + _blake2(body).encode() + b"\n" + body)
        os.replace(temporary, path)
        _tidy(os.path.dirname(path))
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass


def _tidy(place: str) -> None:
    with os.scandir(place) as entries:
        names = [one.path for one in entries]
    if len(names) <= MAX_ENTRIES:
        return
    ages = []
    for name in names:
        try:
            ages.append((os.stat(name).st_mtime_ns, name))
        except OSError:  # Another run has removed it.
            continue
    for _, name in sorted(ages)[: len(ages) - MAX_ENTRIES // 2]:
        try:
            os.unlink(name)
        except OSError:
            continue


def answer(path: str) -> int | None:
    """Give the answer of an entry, if it holds one; its exit status."""
    found = load(path)
    if found is None:
        return None
    status, text = found
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
