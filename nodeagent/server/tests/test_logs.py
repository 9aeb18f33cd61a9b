"""Logs as kubectl asks for them, from files in CRI's format."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.server.logs import Invalid, LogOptions, Unreadable, read_log

TIME = "2026-01-01T00:00:{:02d}.123456789Z"


def write(path: Path, *lines: tuple[str, str, str]) -> Path:
    path.write_text(
        "".join(f"{TIME.format(number)} {stream} {tag} {text}\n" for number, (stream, tag, text) in enumerate(lines))
    )
    return path


async def read(path: Path, **options: object) -> str:
    return b"".join([piece async for piece in read_log(path, LogOptions(**options), lambda: False)]).decode()


async def test_parts_of_a_line_are_joined(tmp_path: Path) -> None:
    path = write(tmp_path / "log", ("stdout", "P", "ab"), ("stdout", "F", "cd"), ("stderr", "F", "oops"))
    assert await read(path) == "abcd\noops\n"
    assert await read(path, stream="Stderr") == "oops\n"
    assert await read(path, tail=1) == "oops\n"
    assert await read(path, tail=2) == "abcd\noops\n"
    assert await read(path, limit=3) == "abc"


async def test_times_are_shown_and_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "log", ("stdout", "F", "first"), ("stdout", "F", "second"))
    since = datetime.datetime(2026, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
    assert await read(path, since=since) == "second\n"
    assert await read(path, tail=1, timestamps=True) == "2026-01-01T00:00:01.123456789Z second\n"


async def test_a_followed_log_ends_with_its_container(tmp_path: Path) -> None:
    path = write(tmp_path / "log", ("stdout", "F", "before"))
    alive, seen, begun = True, [], asyncio.Event()

    async def follow() -> None:
        async for piece in read_log(path, LogOptions(follow=True), lambda: alive):
            seen.append(piece)
            begun.set()

    following = asyncio.create_task(follow())
    await begun.wait()
    with path.open("a") as file:
        file.write(TIME.format(9) + " stdout F last words\n")
    alive = False
    await following
    assert b"".join(seen) == b"before\nlast words\n"


@given(
    st.lists(
        st.tuples(
            st.sampled_from("PF"),
            st.text(st.characters(codec="ascii", exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e"), max_size=9),
        ),
        max_size=30,
    ),
    st.integers(0, 12),
)
def test_a_tail_is_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]], tail: int
) -> None:
    path = write(
        tmp_path_factory.mktemp("log") / "log", *(("stdout", tag, text) for tag, text in lines), ("stdout", "F", "")
    )
    whole = asyncio.run(read(path)).split("\n")[:-1]
    cut = asyncio.run(read(path, tail=tail)).split("\n")[:-1]
    assert cut == (whole[-tail:] if tail else [])


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"tailLines": "-1"}, Invalid),
        ({"tail": "-1"}, Invalid),
        ({"limitBytes": "x"}, Unreadable),
        ({"limitBytes": "0"}, Invalid),
        ({"sinceSeconds": "0"}, Invalid),
        ({"sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"}, Invalid),
        ({"sinceTime": "yesterday"}, Unreadable),
        ({"stream": "Stdin"}, Invalid),
        ({"stream": "Stdout", "tailLines": "1"}, Invalid),
    ],
)
def test_wrong_options(query: dict[str, str], error: type[ValueError]) -> None:
    with pytest.raises(error):
        LogOptions.of(query)


def test_options_are_read_as_by_go() -> None:
    assert LogOptions.of({"follow": "", "timestamps": "False", "tail": "all"}) == LogOptions(follow=True)
    assert LogOptions.of({"tail": "3", "tailLines": "4"}) == LogOptions(tail=3)
