"""The rules in a real kernel: written, adopted, repaired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netproxy import firewall
from netproxy.links import namespaces
from netproxy.rules import render
from netproxy.rules.kernel import KernelRules
from netproxy.services import chains
from netproxy.services.tests.builders import endpoint, ruleset, service, slice_of
from netproxy.services.tests.test_render import many
from netproxy.tests.kernel import namespace, needs_root, run

pytestmark = needs_root

EVERYTHING = [
    service("web", "10.96.1.1", {"port": 80, "nodePort": 30080}, type="NodePort", externalTrafficPolicy="Local"),
    slice_of("web", endpoint("10.244.1.5"), endpoint("10.244.1.6"), endpoint("10.244.2.7", "node-2")),
    service("sticky", "10.96.1.2", sessionAffinity="ClientIP"),
    slice_of("sticky", endpoint("10.244.1.5"), endpoint("10.244.1.6")),
    service(
        "lb",
        "10.96.1.3",
        {"port": 80, "nodePort": 30082},
        type="LoadBalancer",
        ingress=("198.51.100.5",),
        loadBalancerSourceRanges=["192.168.0.0/16"],
        externalIPs=["203.0.113.9"],
        externalTrafficPolicy="Local",
        healthCheckNodePort=30099,
    ),
    slice_of("lb", endpoint("10.244.2.7", "node-2")),
    service("empty", "10.96.1.4", {"port": 53, "protocol": "UDP", "nodePort": 30053}, type="NodePort"),
]


@pytest.fixture(autouse=True)
def inside() -> Iterator[None]:
    with namespace("npr") as path, namespaces.inside(path):
        yield


def test_the_kernel_says_what_was_written_word_for_word() -> None:
    wanted = ruleset(*EVERYTHING)
    kernel = KernelRules(chains.FAMILY)
    assert kernel.apply(wanted)
    assert not kernel.apply(wanted)
    assert not kernel.check(wanted)


def test_many_services_come_and_go_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "BATCH", 10)
    wanted = ruleset(*EVERYTHING, *many(30))
    kernel = KernelRules(chains.FAMILY)
    assert kernel.apply(wanted)
    assert not kernel.check(wanted)
    assert kernel.apply(ruleset())
    assert not kernel.check(ruleset())
    assert "KUBE-SEP" not in firewall.save("nat")


def test_a_restart_adopts_the_rules() -> None:
    wanted = ruleset(*EVERYTHING)
    KernelRules(chains.FAMILY).apply(wanted)
    assert not KernelRules(chains.FAMILY).apply(wanted)
    assert KernelRules(chains.FAMILY).apply(ruleset())
    assert "KUBE-SEP" not in firewall.save("nat")


def test_rules_of_others_stay() -> None:
    run("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "203.0.113.1", "-j", "ACCEPT")
    kernel = KernelRules(chains.FAMILY)
    kernel.apply(ruleset(*EVERYTHING))
    kernel.apply(ruleset())
    assert "-A POSTROUTING -s 203.0.113.1/32 -j ACCEPT" in firewall.save("nat")


@pytest.mark.parametrize(
    "damage",
    [
        ("iptables", "-t", "nat", "-F"),
        ("iptables", "-t", "nat", "-F", "KUBE-SERVICES"),
        ("iptables", "-D", "INPUT", "-j", "KUBE-FIREWALL"),
        ("iptables", "-t", "nat", "-I", "KUBE-MARK-MASQ", "-j", "RETURN"),
        ("iptables", "-t", "nat", "-N", "KUBE-SVC-LEFTFROMBEFORE00"),
    ],
    ids=" ".join,
)
def test_what_others_change_is_put_right(damage: tuple[str, ...]) -> None:
    wanted = ruleset(*EVERYTHING)
    kernel = KernelRules(chains.FAMILY)
    kernel.apply(wanted)
    before = sorted(
        rule for table in ("nat", "filter") for rule in firewall.save(table).splitlines() if rule[0] in "-:"
    )
    run(*damage)
    assert kernel.check(wanted)
    assert not kernel.check(wanted)
    after = sorted(rule for table in ("nat", "filter") for rule in firewall.save(table).splitlines() if rule[0] in "-:")
    assert after == before


def test_a_refused_script_is_told_and_the_next_one_begins_with_what_is_there() -> None:
    kernel = KernelRules(chains.FAMILY)
    good = ruleset(*EVERYTHING)
    bad = {**good, "nat": {**good["nat"], "KUBE-SVC-BAD": ("-j NOWHERE",)}}
    with pytest.raises(firewall.FirewallError, match="iptables-restore"):
        kernel.apply(bad)
    assert kernel.apply(good)
    assert not kernel.check(good)
