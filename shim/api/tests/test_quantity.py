from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.api import quantity
from shim.api.quantity import QuantityError


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0Mi", "0"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("1000m", "1"),
        ("0.5Gi", "512Mi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000", "1k"),
        ("100Ki", "100Ki"),
        ("512", "512"),
        ("0.5Ki", "512"),
        ("0.1m", "100u"),
        ("0.0000000001", "1n"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e4", "120e3"),
        ("-1.5Gi", "-1536Mi"),
        ("+5", "5"),
        ("1G", "1G"),
        ("2Ei", "2Ei"),
        ("9999Ei", "9223372036854775807"),
        (1, "1"),
        (0.5, "500m"),
        ("1.", "1"),
        (".5", "500m"),
        ("0.000001Ki", "1024u"),
    ],
)
def test_quantities_are_written_in_canonical_form(text: str | float, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", quantity.WRONG_FORMAT),
        ("1.5GiB", quantity.WRONG_FORMAT),
        ("1 Gi", quantity.WRONG_FORMAT),
        ("ten", quantity.WRONG_FORMAT),
        ("1gi", quantity.WRONG_FORMAT),
        ("1Kii", quantity.WRONG_SUFFIX),
        ("1e", quantity.WRONG_SUFFIX),
    ],
)
def test_what_is_no_quantity_is_refused(text: str, message: str) -> None:
    with pytest.raises(QuantityError) as refused:
        quantity.parse(text)
    assert str(refused.value) == message


def test_amounts_are_exact_and_rounded_up_when_counted() -> None:
    total = quantity.parse("100m") + quantity.parse("1") - quantity.parse("0.05")
    assert str(total) == "1050m"
    assert (total.value, total.milli) == (2, 1050)
    assert quantity.parse("1Gi") > quantity.parse("1G")
    assert quantity.parse("1024Mi") == quantity.parse("1Gi")
    assert quantity.parse("-1.5").value == -2


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "u", "n", "k", "Ki", "Mi"]))
def test_the_canonical_form_means_the_same_and_is_stable(number: int, suffix: str) -> None:
    parsed = quantity.parse(f"{number}{suffix}")
    again = quantity.parse(str(parsed))
    assert again == parsed
    assert str(again) == str(parsed)
