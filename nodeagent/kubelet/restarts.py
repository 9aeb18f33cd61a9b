"""When to try again: delays that double from 10 s to 5 min, forgotten after 10 quiet minutes.

And how often users are told of what goes on: a kubelet tells of it each time it looks at the pod. It looks again when
it hears of the new sandbox, within a second, 10 to 15 s after a failure, and 60 to 90 s after it found a container
that has to wait for longer than that. Nothing here depends on looking, so the middle will do.
"""

from __future__ import annotations

from nodeagent.kubelet.observed import Delay

FIRST = 10.0
LONGEST = 300.0
FORGET_AFTER = 600.0
FIRST_LOOK = 1.0
LOOK = 12.5
LONG_LOOK = 75.0


def next_delay(delay: Delay | None, *, event_at: float, now: float) -> Delay:
    """The delay after one more failure, which happened at ``event_at``."""
    if delay is None or event_at - delay.updated_at > FORGET_AFTER:
        return Delay(FIRST, now)
    return Delay(min(delay.seconds * 2, LONGEST), now)


def waits_until(delay: Delay | None, *, event_at: float, now: float) -> float:
    """Until when the next try must wait, 0.0 if it need not."""
    if delay is None or event_at - delay.updated_at > FORGET_AFTER:
        return 0.0
    until = event_at + delay.seconds
    return until if now < until else 0.0
