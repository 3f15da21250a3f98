"""The verdicts of `schedc check` that are kept on disk: never wrong, whatever changes, and quick."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import schedc
from schedc import verdicts

GOOD = "param peak = 3e-4\nlr = peak * (warmup 500 -> cosine 10k)\n"
FAULTY = "lr = cosin 5\n"


class Place:
    """A folder with programs, and `schedc check` in it, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder.parent / f"{folder.name}-cache"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(Path(schedc.__file__).parents[1]),
            "XDG_CACHE_HOME": str(self.cache),
        }
        self.environment.pop("SCHEDC_CACHE", None)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def check(self, *arguments: str, **environment: str) -> tuple[int, str, bool]:
        """The status, the output, and whether it was answered from disk."""
        # In a verbose run Python tells what it imports.
        command = [sys.executable, "-X", "importtime", "-m", "schedc", "check", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, " click" not in done.stderr

    def entries(self) -> list[Path]:
        return sorted((self.cache / "schedc").glob("*")) if self.cache.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "work")
    made.write("a.sched", GOOD)
    made.write("bad.sched", FAULTY)
    return made


def test_a_hit_says_the_same_and_imports_nothing(place: Place) -> None:
    for arguments in (["a.sched"], ["bad.sched"], ["a.sched", "bad.sched", "--format", "json"], ["-e", "lr = 0.1"]):
        first, again = place.check(*arguments), place.check(*arguments)
        assert not first[2]
        assert again[2]
        assert first[:2] == again[:2]


def test_a_hit_imports_next_to_nothing(place: Place) -> None:
    place.check("a.sched")
    command = [sys.executable, "-X", "importtime", "-c", "from schedc.__main__ import main; main()", "check", "a.sched"]
    done = subprocess.run(command, cwd=place.folder, env=place.environment, capture_output=True, text=True, check=True)
    loaded = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    after = loaded[loaded.index("site") + 1 :] if "site" in loaded else loaded
    assert {"typing", "re", "click", "hashlib", "pathlib", "json"}.isdisjoint(after)


class TestChanges:
    """Each of these must not be answered from disk, though the command line is the same."""

    def settle(self, place: Place, *arguments: str) -> None:
        place.check(*arguments)
        assert place.check(*arguments)[2]

    def test_the_file(self, place: Place) -> None:
        self.settle(place, "a.sched")
        place.write("a.sched", FAULTY)
        assert place.check("a.sched")[::2] == (1, False)
        place.write("a.sched", GOOD)
        assert place.check("a.sched")[0] == 0

    def test_an_import(self, place: Place) -> None:
        place.write("inner/x.sched", "lr = 0.1\n")
        place.write("b.sched", 'use "inner/y.sched" as y\nlr = y.lr\n')
        place.write("inner/y.sched", 'use "x.sched" as x\nlr = x.lr\n')
        self.settle(place, "b.sched")
        place.write("inner/x.sched", FAULTY)
        assert place.check("b.sched")[::2] == (1, False)

    def test_an_import_that_was_not_there(self, place: Place) -> None:
        place.write("b.sched", 'use "x.sched" as x\nlr = x.lr\n')
        self.settle(place, "b.sched")
        assert place.check("b.sched")[0] == 1
        place.write("x.sched", "lr = 0.1\n")
        assert place.check("b.sched")[::2] == (0, False)

    def test_what_is_given(self, place: Place) -> None:
        self.settle(place, "a.sched")
        assert not place.check("a.sched", "-D", "peak=1e-3")[2]
        assert not place.check("a.sched", "--length", "10k")[2]

    def test_the_configuration(self, place: Place) -> None:
        place.write("deep/w.sched", "warmup 500 to=0.01 -> cosine 10k\n")
        self.settle(place, "deep/w.sched")
        place.write("pyproject.toml", "[tool.schedc]\nstrict = true\n")
        assert place.check("deep/w.sched")[::2] == (1, False)
        self.settle(place, "deep/w.sched")
        place.write("deep/pyproject.toml", "[tool.schedc]\nstrict = false\n")
        assert place.check("deep/w.sched")[::2] == (0, False)

    def test_a_folder(self, place: Place) -> None:
        self.settle(place, ".")
        place.write("more/c.sched", GOOD)
        status, output, hit = place.check(".")
        assert not hit
        assert output.endswith("3 files, 1 error\n")
        assert status == 1

    def test_colours(self, place: Place) -> None:
        self.settle(place, "bad.sched")
        _, output, hit = place.check("bad.sched", FORCE_COLOR="1")
        assert not hit
        assert "\033" in output

    def test_the_folder_it_runs_in(self, place: Place) -> None:
        self.settle(place, "a.sched")
        other = Place(place.folder.parent / "other")
        other.cache, other.environment = place.cache, place.environment
        other.write("a.sched", GOOD)
        assert not other.check("a.sched")[2]


class TestNoCache:
    def test_turned_off(self, place: Place) -> None:
        place.check("a.sched", "--no-cache")
        place.check("a.sched", SCHEDC_CACHE="off")
        assert place.entries() == []
        place.check("a.sched")
        assert not place.check("a.sched", SCHEDC_CACHE="off")[2]

    def test_fixing_and_stdin_keep_nothing(self, place: Place) -> None:
        place.check("a.sched", "--fix")
        command = [sys.executable, "-m", "schedc", "check", "-"]
        subprocess.run(command, input=GOOD, text=True, cwd=place.folder, env=place.environment, check=True)
        assert place.entries() == []

    def test_wrong_usage_keeps_nothing(self, place: Place) -> None:
        assert place.check("nowhere.sched")[0] == 2
        assert place.entries() == []

    def test_a_place_that_cannot_be_written(self, place: Place) -> None:
        place.cache.write_text("this is no folder")
        assert place.check("a.sched") == place.check("a.sched")
        assert place.check("a.sched")[::2] == (0, False)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other", "folder"])
def test_a_damaged_entry_is_no_answer(place: Place, damage: str) -> None:
    _, wanted, _ = place.check("bad.sched")
    (entry,) = place.entries()
    data = entry.read_bytes()
    match damage:
        case "cut":
            entry.write_bytes(data[: len(data) // 2])
        case "flipped":
            entry.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
        case "empty":
            entry.write_bytes(b"")
        case "other":
            entry.write_bytes(os.urandom(500))
        case "folder":
            entry.unlink()
            entry.mkdir()
    assert place.check("bad.sched") == (1, wanted, False)


def test_many_at_once(place: Place) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: place.check("bad.sched")[:2], range(12)))
    assert len(set(found)) == 1
    assert place.check("bad.sched")[2]
    # Nothing half-written stays behind.
    assert all(len(entry.name) == 40 for entry in place.entries())


def test_old_entries_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "MAX_ENTRIES", 10)
    for number in range(25):
        verdicts.keep(str(tmp_path / f"{number:02}"), 0, "x\n", [])
    assert len(list(tmp_path.iterdir())) <= 10
    assert verdicts.load(str(tmp_path / "24")) == (0, "x\n")


def test_any_text_is_given_back(tmp_path: Path) -> None:
    text = "α\0\r\n\udc80 \ud800"
    verdicts.keep(str(tmp_path / "x"), 1, text, [(verdicts.FILE, "none\udc80", verdicts.ABSENT)])
    assert verdicts.load(str(tmp_path / "x")) == (1, text)


def test_where_entries_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SCHEDC_CACHE", raising=False)
    assert verdicts.folder() == str(tmp_path / "schedc")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/x")
    assert verdicts.folder() == "/home/x/.cache/schedc"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert verdicts.folder() == "/home/x/Library/Caches/schedc"
    monkeypatch.setenv("SCHEDC_CACHE", "off")
    assert verdicts.folder() is None
