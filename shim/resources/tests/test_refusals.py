"""What is refused of each kind, or warned of, and in which words: the tables of refusals/*.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from shim.resources.tests.cases import changed, refusals, update_refusals, warnings

TABLES = sorted((Path(__file__).parent / "refusals").glob("*.yaml"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_what_is_refused(path: Path) -> None:
    for table in yaml.safe_load(path.read_text()):
        example: dict[str, Any] = table["example"]
        assert refusals(example) == [], example["kind"]
        for case in table.get("created", ()):
            found = refusals(changed(example, case["change"]))
            assert found == case["causes"], (example["kind"], case["change"])
        for case in table.get("warned", ()):
            found = warnings(changed(example, case["change"]))
            assert found == case["warnings"], (example["kind"], case["change"])
        for case in table.get("updated", ()):
            found = update_refusals(changed(example, case["change"]), example)
            assert found == case["causes"], (example["kind"], case["change"])
