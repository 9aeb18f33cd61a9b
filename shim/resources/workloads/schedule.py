"""Cron schedules: is this one, and if not, what does the parser upstream uses say of it?"""

from __future__ import annotations

import re
import zoneinfo

_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    # least, most, names
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: index + 1 for index, name in enumerate(_MONTHS)}),
    (0, 6, {name: index for index, name in enumerate(_DAYS)}),
)


def complaint(schedule: str) -> str:
    """Why this is no schedule; empty when it is one."""
    if not schedule:
        return "empty spec string"
    match = re.match(r"(?:CRON_)?TZ=(\S*) ", schedule)
    if match:
        if not known_zone(match[1]):
            return f"provided bad location {match[1]}: unknown time zone {match[1]}"
        schedule = schedule[match.end() :].strip()
    if schedule.startswith("@"):
        return _descriptor(schedule)
    parts = schedule.split()
    if len(parts) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
    for part, (least, most, names) in zip(parts, _FIELDS, strict=True):
        for alternative in part.split(","):
            found = _range(alternative, least, most, names)
            if found:
                return found
    return ""


def known_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _descriptor(schedule: str) -> str:
    if schedule in _DESCRIPTORS:
        return ""
    if schedule.startswith("@every "):
        duration = schedule.removeprefix("@every ")
        if re.fullmatch(r"([0-9.]+(ns|us|ms|s|m|h))+", duration):
            return ""
        return f'failed to parse duration {schedule}: time: invalid duration "{duration}"'
    return f"unrecognized descriptor: {schedule}"


def _range(text: str, least: int, most: int, names: dict[str, int]) -> str:
    """``*``, ``5``, ``1-5``, ``*/15``, ``1-30/2``."""
    bounds, slash, step = text.partition("/")
    if step.count("/"):
        return f"too many slashes: {text}"
    low_text, dash, high_text = bounds.partition("-")
    if high_text.count("-"):
        return f"too many hyphens: {text}"
    if low_text in ("*", "?"):
        low, high = least, most
    else:
        numbers = []
        for number in (low_text, high_text) if dash else (low_text,):
            found = names.get(number.lower())
            if found is None:
                if not re.fullmatch(r"[+-]?[0-9]+", number):
                    return f'failed to parse int from {number}: strconv.Atoi: parsing "{number}": invalid syntax'
                found = int(number)
                if found < 0:
                    return f"negative number ({found}) not allowed: {number}"
            numbers.append(found)
        low, high = numbers[0], numbers[-1]
        if slash and not dash:
            high = most
    if slash:
        if not re.fullmatch(r"[0-9]+", step):
            return f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
        if not int(step):
            return f"step of range should be a positive number: {text}"
    if low < least:
        return f"beginning of range ({low}) below minimum ({least}): {text}"
    if high > most:
        return f"end of range ({high}) above maximum ({most}): {text}"
    if low > high:
        return f"beginning of range ({low}) beyond end of range ({high}): {text}"
    return ""
