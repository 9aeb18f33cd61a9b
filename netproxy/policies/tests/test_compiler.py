"""Policies and pods as the API has them, and the rules they become."""

from __future__ import annotations

from typing import Any

import pytest

from netproxy.policies import chains
from netproxy.policies.compiler import ANSWERS, NOTHING, AddressSet, Enforced, compile_policies
from netproxy.policies.model import pod_of, policy_of

NODE = "node-1"
NAMESPACES = {"shop": {"kubernetes.io/metadata.name": "shop"}, "jobs": {"team": "batch"}, "other": {}}
HTTP = {"containerPort": 8080, "name": "http"}


def pod(key: str, address: str, node: str = NODE, ports: tuple[dict[str, Any], ...] = (), **labels: str) -> Any:
    namespace, name = key.split("/")
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{key}", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "main", "ports": list(ports)}]},
        "status": {"podIP": address, "phase": "Running"},
    }


PODS = [
    pod("shop/web", "10.244.1.2", ports=(HTTP,), app="web"),
    pod("shop/db", "10.244.1.3", app="db"),
    pod("shop/far", "10.244.2.2", "node-2", ports=({**HTTP, "containerPort": 9090},), app="web"),
    pod("jobs/run", "10.244.2.3", "node-2", app="run"),
    pod("other/web", "10.244.1.4", app="web"),
]


def policy(name: str = "p", **spec: Any) -> Any:
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"podSelector": {}, **spec}}


def enforced(*policies: Any, pods: list[Any] = PODS) -> Enforced:
    known = [found for found in (pod_of(each, NODE) for each in pods) if found]
    return compile_policies([policy_of(each) for each in policies], known, NAMESPACES)


def accepted(made: Enforced, key: str) -> list[str]:
    """The rules of a pod's ingress chain between "itself" and the drop, without comments."""
    return _between(made, chains.ingress_chain(key))


def sent(made: Enforced, key: str) -> list[str]:
    return _between(made, chains.egress_chain(key))


def _between(made: Enforced, chain: str) -> list[str]:
    rules = made.rules[chains.TABLE][chain]
    assert rules[0].endswith("-j RETURN")
    assert rules[-1].endswith("-j DROP")
    return [rule.replace('-m comment --comment "shop/p" ', "") for rule in rules[1:-1]]


def members(made: Enforced, rule: str) -> set[str]:
    """What the set that a rule asks holds."""
    return set(made.sets[rule.split("--match-set ")[1].split()[0]].members)


def test_without_policies_there_is_nothing() -> None:
    assert enforced() == NOTHING
    assert NOTHING.rules == {"mangle": {"KUBE-POLICIES": ()}}


def test_a_closed_namespace_as_a_whole() -> None:
    made = enforced(policy(policyTypes=["Ingress"]))
    web, db = chains.ingress_chain("shop/web"), chains.ingress_chain("shop/db")
    assert made.rules == {
        "mangle": {
            "KUBE-POLICIES": (
                ANSWERS,
                "-m set --match-set KUBE-NEW-PODS src -j DROP",
                "-m set --match-set KUBE-NEW-PODS dst -j DROP",
                f"-d 10.244.1.3/32 -j {db}",
                f"-d 10.244.1.2/32 -j {web}",
            ),
            db: (
                '-s 10.244.1.3/32 -m comment --comment "shop/db" -j RETURN',
                '-m comment --comment "shop/db" -j DROP',
            ),
            web: (
                '-s 10.244.1.2/32 -m comment --comment "shop/web" -j RETURN',
                '-m comment --comment "shop/web" -j DROP',
            ),
        }
    }
    assert made.sets == {}


@pytest.mark.parametrize(
    ("peer", "addresses"),
    [
        ({"podSelector": {"matchLabels": {"app": "web"}}}, {"10.244.1.2", "10.244.2.2"}),
        ({"podSelector": {}}, {"10.244.1.2", "10.244.1.3", "10.244.2.2"}),
        ({"namespaceSelector": {"matchLabels": {"team": "batch"}}}, {"10.244.2.3"}),
        ({"namespaceSelector": {}}, {"10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.2.2", "10.244.2.3"}),
        (
            {
                "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
                "podSelector": {"matchLabels": {"app": "web"}},
            },
            {"10.244.1.2", "10.244.1.4", "10.244.2.2"},
        ),
        ({"podSelector": {"matchLabels": {"app": "nobody"}}}, set()),
    ],
)
def test_peers_are_a_set_of_addresses(peer: dict[str, Any], addresses: set[str]) -> None:
    (rule,) = accepted(made := enforced(policy(ingress=[{"from": [peer]}])), "shop/db")
    assert members(made, rule) == addresses
    assert rule.endswith(" src -j RETURN")


def test_blocks_are_rules_and_their_exceptions_a_set() -> None:
    blocks = [
        {"ipBlock": {"cidr": "192.168.0.0/16", "except": ["192.168.7.0/24", "192.168.9.9/32"]}},
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}},
        {"ipBlock": {"cidr": "203.0.113.0/24"}},
        {"ipBlock": {"cidr": "2001:db8::/32"}},
    ]
    made = enforced(policy(ingress=[{"from": blocks}]))
    excepting, world, plain = accepted(made, "shop/web")
    assert excepting.startswith("-s 192.168.0.0/16 -m set ! --match-set ")
    assert members(made, excepting) == {"192.168.7.0/24", "192.168.9.9"}
    assert world.startswith("-m set ! --match-set ")
    assert members(made, world) == {"10.0.0.0/8"}
    assert plain == "-s 203.0.113.0/24 -j RETURN"


@pytest.mark.parametrize(
    ("ports", "rules"),
    [
        ([{"port": 80}], ["-p tcp -m tcp --dport 80 -j RETURN"]),
        ([{"port": 53, "protocol": "UDP"}], ["-p udp -m udp --dport 53 -j RETURN"]),
        ([{"port": 8000, "endPort": 8010}], ["-p tcp -m tcp --dport 8000:8010 -j RETURN"]),
        ([{"protocol": "SCTP"}], ["-p sctp -j RETURN"]),
        ([{"port": "http"}], ["-p tcp -m tcp --dport 8080 -j RETURN"]),
        ([{"port": "http", "protocol": "UDP"}], []),
        ([{"port": "nowhere"}, {"port": 1}], ["-p tcp -m tcp --dport 1 -j RETURN"]),
        ([], ["-j RETURN"]),
    ],
)
def test_ports_in(ports: list[Any], rules: list[str]) -> None:
    assert accepted(enforced(policy(ingress=[{"ports": ports}])), "shop/web") == rules


def test_what_a_port_is_called_depends_on_whom_a_packet_goes_to() -> None:
    rule = {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "http"}, {"port": 53}]}
    made = enforced(policy(egress=[rule], policyTypes=["Egress"]))
    numbered, named = sent(made, "shop/db")
    assert members(made, numbered) == {"10.244.1.2", "10.244.2.2"}
    assert numbered.endswith(" dst -m tcp --dport 53 -j RETURN")
    assert members(made, named) == {"10.244.1.2,tcp:8080", "10.244.2.2,tcp:9090"}
    assert named.endswith(" dst,dst -j RETURN")
    assert chains.ingress_chain("shop/db") not in made.rules["mangle"]


def test_without_peers_a_name_means_the_ports_of_all_pods_and_to_blocks_of_none() -> None:
    block = {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": "http"}]}
    assert sent(enforced(policy(egress=[block], policyTypes=["Egress"])), "shop/db") == []
    made = enforced(policy(egress=[{"ports": [{"port": "http"}]}, block], policyTypes=["Egress"]))
    (rule,) = sent(made, "shop/db")
    assert members(made, rule) == {"10.244.1.2,tcp:8080", "10.244.2.2,tcp:9090"}


def test_policies_add_up_and_each_direction_is_closed_by_itself() -> None:
    one = policy("one", podSelector={"matchLabels": {"app": "web"}}, ingress=[{"ports": [{"port": 1}]}])
    two = policy("two", ingress=[{"ports": [{"port": 2}]}], egress=[{}])
    made = enforced(one, two)
    assert [rule.split("--dport ")[1][0] for rule in accepted(made, "shop/web")] == ["1", "2"]
    assert [rule.split("--dport ")[1][0] for rule in accepted(made, "shop/db")] == ["2"]
    assert sent(made, "shop/web") == ['-m comment --comment "shop/two" -j RETURN']


def test_pods_without_an_address_of_their_own_are_not_meant() -> None:
    host, ended, waiting = pod("shop/host", "172.30.0.11"), pod("shop/ended", "10.244.1.8"), pod("shop/new", "")
    host["spec"]["hostNetwork"] = True
    ended["status"]["phase"] = "Succeeded"
    assert [pod_of(each, NODE) for each in (host, ended, waiting)] == [None, None, None]


def test_the_same_peers_share_a_set() -> None:
    peers = [{"from": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": n}]} for n in (1, 2)]
    assert list(enforced(policy(ingress=peers)).sets.values()) == [AddressSet("hash:ip", frozenset({"10.244.1.3"}))]
