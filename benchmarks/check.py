"""What `schedc check` costs beside starting Python: an unchanged file, and one that must be checked.

    python benchmarks/check.py [--rounds 60]

The contenders take turns, so that a busy machine is busy for all of them; shown are the medians, and the medians of
the ratios to the floor of the same round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """\
param peak = 3e-4
train { length = 90 epochs; steps_per_epoch = 1252 }
batch { global = 1024 }
lr = warmup 2000 to=peak -> hold until 30 epochs -> cosine to=10%
weight_decay = 0.1
group "*.bias", "*norm*" { weight_decay = 0 }
assert max(lr) <= 1e-3
"""
# What pip writes into bin/ (as of version 23).
SCRIPT = """\
import re
import sys
from schedc.__main__ import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
# What uv and newer installers write.
SHORT_SCRIPT = SCRIPT.replace("import re\n", "").replace(
    "    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n", ""
)


def seconds(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """How long the command takes."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.sched").write_text(PROGRAM)
        (folder / "script.py").write_text(SCRIPT)
        (folder / "short.py").write_text(SHORT_SCRIPT)
        # Without `site`: editable installs import half the standard library at every start, for the floor as well.
        paths = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
        environment = {**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(folder / "cache")}
        environment.pop("SCHEDC_CACHE", None)
        python, check = [sys.executable, "-S"], ["check", "train.sched"]
        hits = {
            "python -c pass": [*python, "-c", "pass"],
            "hit, script of uv": [*python, "short.py", *check],
            "hit, script of pip": [*python, "script.py", *check],
            "hit, python -m schedc": [*python, "-m", "schedc", *check],
            "python -c 'import click'": [*python, "-c", "import click"],
        }
        misses = {
            "importing sympy, lark, pydantic": [*python, "-c", "import sympy, lark, pydantic"],
            "checked anew": [*python, "-m", "schedc", *check, "--no-cache"],
        }
        for commands, turns in ((hits, rounds), (misses, max(3, rounds // 10))):
            for command in commands.values():
                seconds(command, folder, environment)
            found: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(turns):
                for what, command in commands.items():
                    found[what].append(seconds(command, folder, environment))
            floor = next(iter(found.values()))
            print(f"{'':<34}{'median':>10}{'ratio':>8}")
            for what, times in found.items():
                ratio = statistics.median(t / f for t, f in zip(times, floor, strict=True))
                print(f"{what:<34}{statistics.median(times) * 1000:>7.1f} ms{ratio:>8.2f}")
            print()


if __name__ == "__main__":
    main()
