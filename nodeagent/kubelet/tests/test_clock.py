"""The machine's clock jumps, and nobody waits longer or shorter for it."""

from dataclasses import replace

import pytest
from stories import pod, seen

from nodeagent.engine.contract import ContainerState
from nodeagent.kubelet import names
from nodeagent.kubelet.clock import Clock
from nodeagent.kubelet.inventory import Inventory
from nodeagent.kubelet.observed import Delay
from nodeagent.kubelet.plan import BackOff, EndPod, StartContainer, Wait, plan
from nodeagent.kubelet.references import Tokens

HOUR = 3600.0


class Hands:
    """A clock as the test sets it."""

    def __init__(self):
        self.wall, self.steady = 1_800_000_000.0, 50.0
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def pass_(self, seconds):
        self.wall += seconds
        self.steady += seconds


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 0.0])
def test_a_back_off_lasts_as_long_as_ever(jump):
    hands = Hands()
    inventory = Inventory(hands.clock)
    hands.wall += jump
    labels = {names.POD_UID: "u", names.CONTAINER_NAME: "c"}
    running = ContainerState("c-0", "s1", "i", "running", labels, started_at=hands.wall)
    inventory.put_container(running)
    hands.pass_(5)
    inventory.put_container(replace(running, phase="exited", exit_code=1, finished_at=hands.wall))
    hands.wall -= jump  # and somebody sets it right again
    delay = Delay(10.0, hands.clock.now())

    def steps():
        observed = replace(seen(delays={"c": delay}), runs=inventory.runs("u"))
        return plan(pod(), observed, previous={}, now=hands.clock.now())

    hands.pass_(9)
    assert [type(each) for each in steps()] == [BackOff, Wait]
    hands.pass_(1)
    assert [type(each) for each in steps()] == [StartContainer]


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_deadline_is_as_far_as_ever(jump):
    hands = Hands()
    began = hands.clock.at(hands.wall - 3)
    hands.wall += jump
    late = pod(activeDeadlineSeconds=10)
    hands.pass_(6)
    assert EndPod(30) not in plan(late, seen(began=began), previous={}, now=hands.clock.now())
    hands.pass_(1)
    assert plan(late, seen(began=began), previous={}, now=hands.clock.now()) == [EndPod(30)]


def test_what_comes_with_a_time_is_taken_over_by_how_long_ago_it_was():
    hands = Hands()
    hands.wall += HOUR
    assert hands.clock.now() - hands.clock.at(hands.wall - 7) == 7
    assert hands.clock.at(hands.wall + 100) == hands.clock.now()  # nothing has been in the future


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_tokens_are_fetched_anew_in_time(jump):
    hands = Hands()

    class Server:
        asked = 0

        async def create(self, *args, **kwargs):
            self.asked += 1
            return {"spec": {"expirationSeconds": 600}, "status": {"token": f"t{self.asked}"}}

    tokens = Tokens(Server(), hands.clock)
    account = pod()
    assert await tokens.get(account, "", 600) == ("t1", hands.clock.now() + 480)
    hands.wall += jump
    hands.pass_(479)
    assert (await tokens.get(account, "", 600))[0] == "t1"
    hands.pass_(1)
    assert (await tokens.get(account, "", 600))[0] == "t2"
