"""What the cluster says of an extension server's Service, before it is asked itself."""

from __future__ import annotations

import pytest

from shim.api.meta import Object
from shim.server.aggregation.availability import obstacle

SERVICE: Object = {"spec": {"type": "ClusterIP", "ports": [{"port": 443, "name": "https"}]}}
READY: Object = {"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "https", "port": 8443}]}


@pytest.mark.parametrize(
    ("service", "slices", "reason", "message"),
    [
        (None, [], "ServiceNotFound", 'service/s in "ns" is not present'),
        ({"spec": {"ports": [{"port": 80}]}}, [], "ServicePortError", 'service/s in "ns" is not listening on port 443'),
        (SERVICE, [], "EndpointsNotFound", 'cannot find endpointslices for service/s in "ns"'),
        (
            SERVICE,
            [
                {**READY, "endpoints": [{"conditions": {"ready": False}}]},
                {**READY, "ports": [{"name": "x", "port": 1}]},
            ],
            "MissingEndpoints",
            'endpointslices for service/s in "ns" have no addresses with port name "https"',
        ),
    ],
)
def test_there_is_no_use_in_asking(service, slices, reason, message):
    found = obstacle("ns", "s", 443, service, slices)
    assert found == {"type": "Available", "status": "False", "reason": reason, "message": message}


@pytest.mark.parametrize("service", [SERVICE, {"spec": {"type": "ExternalName"}}])
def test_a_server_that_may_answer_is_asked(service):
    assert obstacle("ns", "s", 443, service, [READY]) is None
