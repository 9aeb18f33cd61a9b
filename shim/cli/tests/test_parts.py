"""Parts that are run alone, in the foreground."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.cli import parts
from shim.cluster import ClusterError
from shim.codec.configuration import ConfigurationError


def test_a_file_that_is_no_configuration_is_told_in_a_line(tmp_path: Path) -> None:
    async def run(ready: Callable[[], None]) -> None:
        raise ConfigurationError(f"{tmp_path}: resources: Required value")

    with pytest.raises(ClusterError, match="resources: Required value"):
        parts._run(run, "")
