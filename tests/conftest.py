"""The options and marks of the test suite."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bless", action="store_true", help="write what was found into the golden cases, instead of comparing"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        # Only here: most runs have no such test, and torch takes seconds to import.
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def spawnable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets processes that a test spawns import the test's own module, by the name that pytest gives it."""
    # A spawned process takes over this one's search path, whatever its environment says.
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent))
