"""Durations as Go writes and reads them."""

from __future__ import annotations

import pytest

from shim.api.duration import go_duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (158e-9, "158ns"),
        (47.748e-6, "47.748µs"),
        (0.704647423, "704.647423ms"),
        (1.45202363, "1.45202363s"),
        (60.25, "1m0.25s"),
        (3600, "1h0m0s"),
        (5400.5, "1h30m0.5s"),
    ],
)
def test_durations_are_written_and_read(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
    assert parse_duration(text) == pytest.approx(seconds)
