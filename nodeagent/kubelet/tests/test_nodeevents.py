"""Events about the node."""

import pytest

from nodeagent.kubelet.nodeevents import of_spec, of_status


def status(**conditions):
    return {"conditions": [{"type": type, "status": told} for type, told in conditions.items()]}


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        ({}, status(MemoryPressure="False", Ready="False"), ["NodeHasSufficientMemory"]),
        (status(Ready="False"), status(Ready="True"), ["NodeReady"]),
        (status(Ready="Unknown"), status(Ready="True"), ["NodeReady"]),
        (status(Ready="True"), status(Ready="False"), ["NodeNotReady"]),
        (
            status(Ready="True", DiskPressure="False"),
            status(Ready="True", DiskPressure="True"),
            ["NodeHasDiskPressure"],
        ),
        (status(PIDPressure="False"), status(PIDPressure="False"), []),
    ],
)
def test_conditions_that_change(old, new, reasons):
    assert of_status(old, new) == reasons


def test_cordoning():
    assert of_spec({}, {"unschedulable": True}) == ["NodeNotSchedulable"]
    assert of_spec({"unschedulable": True}, {}) == ["NodeSchedulable"]
    assert of_spec({}, {"taints": []}) == []
