"""Addresses: held by one, kept over a restart, the longest unused first."""

from __future__ import annotations

from pathlib import Path

import pytest

from netproxy.links.ipam import Leases, NoFreeAddress


def leases(tmp_path: Path, cidr: str = "10.244.1.0/29") -> Leases:
    made = Leases(tmp_path / "addresses.json")
    made.use(cidr)
    return made


def test_each_sandbox_has_its_own_address_and_the_first_is_the_gateways(tmp_path: Path) -> None:
    made = leases(tmp_path)
    assert made.gateway == "10.244.1.1"
    assert [made.acquire(name, []).address for name in ("a", "b", "a")] == ["10.244.1.2", "10.244.1.3", "10.244.1.2"]


def test_what_was_never_used_comes_first_then_what_is_unused_for_longest(tmp_path: Path) -> None:
    made = leases(tmp_path)
    for name in ("a", "b", "c"):
        made.acquire(name, [])
    made.release("b")
    made.release("a")
    assert [made.acquire(name, []).address for name in ("d", "e", "f", "g")] == [
        "10.244.1.5",
        "10.244.1.6",
        "10.244.1.3",
        "10.244.1.2",
    ]
    with pytest.raises(NoFreeAddress, match=r"all 5 addresses of 10.244.1.0/29 are in use"):
        made.acquire("h", [])


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    before = leases(tmp_path)
    before.acquire("a", [(8080, 80, "TCP", "")])
    before.acquire("b", [])
    before.release("b")
    after = leases(tmp_path)
    assert after.held["a"].address == "10.244.1.2"
    assert after.held["a"].ports == [(8080, 80, "TCP", "")]
    assert after.acquire("c", []).address == "10.244.1.4"


def test_a_new_network_is_used_from_its_beginning_and_held_addresses_stay_held(tmp_path: Path) -> None:
    made = leases(tmp_path)
    made.acquire("a", [])
    made.use("10.244.7.0/29")
    assert made.acquire("b", []).address == "10.244.7.2"
    assert made.acquire("a", []).address == "10.244.1.2"


def test_releasing_twice_is_nothing(tmp_path: Path) -> None:
    made = leases(tmp_path)
    made.acquire("a", [])
    assert made.release("a") is not None
    assert made.release("a") is None
