"""The way to a Service, read back from rules as a kernel prints them with its counters."""

from __future__ import annotations

import pytest

from netproxy.services import walk
from netproxy.services.model import service_ports
from netproxy.services.tests.builders import endpoint, ruleset, service, slice_of

WEB = service("web", "10.96.1.1", {"port": 80, "nodePort": 30080}, type="NodePort")
FOUR = slice_of("web", *(endpoint(f"10.244.1.{number}") for number in range(2, 6)))


def printed(*objects: object) -> tuple[dict[str, list[walk.Rule]], dict[str, list[walk.Rule]]]:
    """The tables nat and filter, every rule having counted as many packets as it is long."""
    tables = []
    for table in ("nat", "filter"):
        rules = ruleset(*objects)[table]
        lines = [f":{chain} - [0:0]" for chain in rules]
        lines += [f"[{len(rule)}:99] -A {chain} {rule}" for chain, content in rules.items() for rule in content]
        tables.append(walk.parse("\n".join(lines)))
    return tables[0], tables[1]


def test_each_endpoint_has_its_share_and_the_kernels_count() -> None:
    nat, filters = printed(WEB, FOUR)
    (port,) = service_ports(WEB)
    (where, entry), (node, _) = walk.entries(port, nat, filters)
    assert (where, entry.chain, node) == ("10.96.1.1:80", "KUBE-SERVICES", "node:30080")
    choices = [step for step in walk.behind(entry, nat) if step.share is not None]
    assert [step.share for step in choices] == pytest.approx([0.25] * 4)
    ends = [below.rule for step in choices for below in walk.behind(step, nat)]
    assert [rule.option("--to-destination") for rule in ends if rule.target == "DNAT"] == [
        f"10.244.1.{number}:8080" for number in range(2, 6)
    ]
    assert all(rule.packets == len(rule.text) for rule in ends)


def test_the_ways_to_a_pod_are_found_backwards() -> None:
    nat, _ = printed(WEB, FOUR)
    ways = list(walk.leading_to("10.244.1.3", nat))
    assert ways
    for way in ways:
        assert way[0].chain in ("KUBE-SERVICES", "KUBE-NODEPORTS")
        assert [step.rule.target for step in way[:-1]] == [step.chain for step in way[1:]]
        assert way[-1].rule.option("--to-destination").startswith("10.244.1.3:")
    assert list(walk.leading_to("203.0.113.9", nat)) == []


def test_without_endpoints_the_way_ends_at_the_door() -> None:
    nat, filters = printed(WEB)
    (port,) = service_ports(WEB)
    assert [step.rule.target for _, step in walk.entries(port, nat, filters)] == ["REJECT", "REJECT"]
