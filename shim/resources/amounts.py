"""Lists of resource amounts (``{"cpu": "500m", "memory": "64Mi"}``): canonical spelling and sums.

A text that is no quantity is left as it is: decoding refuses it before anyone asks here.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from shim.api import quantity
from shim.api.quantity import Quantity
from shim.api.quantity import amount as amount  # here for the rules of kinds

_MILLI = 10**6  # nanos; admitted amounts are rounded up to this, as upstream does


def canonical(amounts: MutableMapping[str, Any] | None) -> None:
    """Spell each amount as upstream would write it back, rounded up to thousandths, in place."""
    if not amounts:
        return
    for name, text in amounts.items():
        try:
            found = quantity.parse(text)
        except quantity.QuantityError:
            continue
        if found.nanos % _MILLI:
            found = Quantity(found.milli * _MILLI, found.format)
        amounts[name] = str(found)
