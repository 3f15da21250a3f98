"""Schedules in a YAML file: checked when it is loaded, with messages that point at its lines.

Run it with `python examples/config.py`. It needs `pip install 'schedc[config]'`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import BaseModel

from schedc.config import ConfigError, Schedule, load_yaml


class Run(BaseModel):
    """What the YAML file says."""

    model: str
    seed: int
    pretrain: Schedule
    finetune: Schedule


def main() -> None:
    here = Path(__file__).with_name("config.yaml")
    run = load_yaml(here, Run)
    print(f"{run.model}: {run.pretrain.plan}")
    for update in (0, 3130, 6260, 59470, 112_679):
        print(f"  update {update:>6}  lr {run.pretrain.plan['lr'](update):.6g}")

    print("\nThe same file with a slip in it:\n")
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "config.yaml"
        broken.write_text(here.read_text().replace("-> cosine to=1%", "-> cosin to=1%"))
        try:
            load_yaml(broken, Run)
        except ConfigError as error:
            print(str(error).replace(folder + "/", ""))


if __name__ == "__main__":
    main()
