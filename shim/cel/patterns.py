"""Regular expressions as Go has them: matched in linear time, whatever the pattern.

Patterns come from users (schemas, expressions), so that Python's own engine, which backtracks, would let one of
them stop the server. Google's RE2 has the same syntax as Go's and no pattern that takes long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False

_WORDS = {  # RE2's words for what is wrong, and Go's
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "trailing \\": "trailing backslash at end of expression",
    "invalid escape sequence": "invalid escape sequence",
    "invalid character class range": "invalid character class range",
    "invalid named capture group": "invalid named capture",
}


class PatternError(ValueError):
    """No regular expression; the text is Go's."""


@lru_cache(maxsize=2048)
def pattern(text: str) -> Any:
    """The compiled pattern: ``search``, ``fullmatch``, ``findall`` as in :mod:`re`. Raises PatternError."""
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error as error:
        message = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        kind, _, what = message.partition(": ")
        quoted = f": `{what}`" if what else ""
        raise PatternError(f"error parsing regexp: {_WORDS.get(kind, kind)}{quoted}") from None
