"""From one state of the kernel to another: only what differs is written."""

from __future__ import annotations

import pytest

from netproxy.rules import render
from netproxy.services import chains
from netproxy.services.tests.builders import endpoint, ruleset, service, slice_of

NO_JUMPS: dict[str, list[str]] = {"nat": [], "filter": []}


def many(count: int) -> list:
    return [
        each
        for number in range(count)
        for each in (service(f"s{number}", f"10.96.2.{number}"), slice_of(f"s{number}", endpoint(f"10.244.1.{number}")))
    ]


def test_no_difference_is_no_script() -> None:
    assert render.script(chains.FAMILY, ruleset(*many(3)), ruleset(*many(3)), NO_JUMPS) == ""


def test_an_endpoint_more_touches_its_own_service_only() -> None:
    web = service("web", "10.96.1.1")
    before = ruleset(web, slice_of("web", endpoint("10.244.1.5")), *many(30))
    after = ruleset(web, slice_of("web", endpoint("10.244.1.5"), endpoint("10.244.1.6")), *many(30))
    own, new = chains.service_chain("shop/web", "tcp"), chains.endpoint_chain("shop/web", "tcp", "10.244.1.6:8080")
    lines = render.script(chains.FAMILY, before, after, NO_JUMPS).splitlines()
    assert lines[:3] == ["*nat", f":{own} - [0:0]", f":{new} - [0:0]"]
    assert lines[-1] == "COMMIT"
    assert {line.split()[1] for line in lines[3:-1]} == {own, new}


def test_a_service_less_in_a_long_chain_is_one_deletion_and_empties_before_it_removes() -> None:
    lines = render.script(chains.FAMILY, ruleset(*many(30)), ruleset(*many(29)), NO_JUMPS).splitlines()
    own, end = chains.service_chain("shop/s29", "tcp"), chains.endpoint_chain("shop/s29", "tcp", "10.244.1.29:8080")
    assert lines == [
        "*nat",
        f":{own} - [0:0]",
        f":{end} - [0:0]",
        '-D KUBE-SERVICES -d 10.96.2.29/32 -p tcp -m comment --comment "shop/s29 cluster IP" '
        f"-m tcp --dport 80 -j {own}",
        f"-X {own}",
        f"-X {end}",
        "COMMIT",
    ]


def test_a_service_more_comes_before_the_node_ports() -> None:
    lines = render.script(chains.FAMILY, ruleset(*many(29)), ruleset(*many(30)), NO_JUMPS).splitlines()
    assert [line for line in lines if line.startswith("-I")] == [
        '-I KUBE-SERVICES -d 10.96.2.29/32 -p tcp -m comment --comment "shop/s29 cluster IP" '
        f"-m tcp --dport 80 -j {chains.service_chain('shop/s29', 'tcp')}"
    ]


def test_few_chains_are_written_at_once() -> None:
    before, after = ruleset(*many(3)), ruleset(*many(30))
    assert list(render.steps(before, after)) == [after]
    assert list(render.steps(after, before)) == [before]


def test_many_chains_come_before_what_leads_to_them_and_go_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "BATCH", 10)
    one, other = many(1), ruleset(*many(30))
    for before, after in ((ruleset(*one), other), (other, ruleset(*one))):
        now, steps = before, list(render.steps(before, after))
        assert len(steps) > 3
        assert steps[-1] == after
        for step in steps:
            text = render.script(chains.FAMILY, now, step, NO_JUMPS)
            assert step["nat"]["KUBE-SERVICES"] in (before["nat"]["KUBE-SERVICES"], after["nat"]["KUBE-SERVICES"])
            named = {line.split()[1] for line in text.splitlines() if line[0] == "-"}
            assert len(named - {"KUBE-SERVICES"}) <= 10
            now = step


def test_what_was_saved_is_read_as_it_was_written() -> None:
    rules = ruleset(*many(2))["nat"]
    saved = "\n".join(
        ["*nat", ":PREROUTING ACCEPT [0:0]", ":SHIM-HOSTPORTS - [0:0]"]
        + [f":{chain} - [0:0]" for chain in rules]
        + [f"-A PREROUTING {chains.JUMPS['nat'][1].partition(' ')[2]}", "-A SHIM-HOSTPORTS -j RETURN"]
        + [f"-A {chain} {rule}" for chain, content in rules.items() for rule in content]
        + ["COMMIT"]
    )
    found, others = render.parse(chains.FAMILY, saved, "nat")
    assert found == rules
    assert others == [chains.JUMPS["nat"][1], "SHIM-HOSTPORTS -j RETURN"]
    assert render.missing_jumps(chains.FAMILY, "nat", others) == [chains.JUMPS["nat"][0], chains.JUMPS["nat"][2]]


def test_the_order_matters_only_where_it_does() -> None:
    assert render.same(chains.FAMILY, "KUBE-NODEPORTS", ("a", "b"), ("b", "a"))
    assert not render.same(chains.FAMILY, "KUBE-SVC-X", ("a", "b"), ("b", "a"))
    services = ruleset(*many(2))["nat"]["KUBE-SERVICES"]
    assert render.same(chains.FAMILY, "KUBE-SERVICES", services, (services[1], services[0], services[2]))
    assert not render.same(chains.FAMILY, "KUBE-SERVICES", services, (services[2], services[0], services[1]))
