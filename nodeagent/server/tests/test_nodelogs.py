"""The node's own logs: files by their path, services by a query, and what is said to who asks wrongly."""

import datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from nodeagent.server import logquery
from nodeagent.server.logquery import BadQuery, LogQuery, Options
from nodeagent.server.nodelogs import NodeLogs

OWN = b"""\
2026-11-26T10:00:00.000 INFO    nodeagent: began
2026-11-26T10:00:01.000 ERROR   nodeagent: wrong
Traceback: of it
2026-11-26T10:00:02.000 INFO    nodeagent: over
"""


@pytest.fixture
async def logs(tmp_path):
    folder, outside = tmp_path / "log", tmp_path / "outside"
    folder.mkdir()
    outside.write_text("secret\n")
    (folder / "a.log").write_text("hello\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "sub.log").write_text("below\n")
    (folder / "out").symlink_to(outside)
    own = tmp_path / "own.log"
    own.write_bytes(OWN)
    app = web.Application()
    app.router.add_get("/logs/{path:.*}", NodeLogs(folder, own).serve)
    async with TestClient(TestServer(app)) as client:

        async def get(path):
            async with client.get(path, allow_redirects=False) as answer:
                return answer.status, await answer.text()

        yield get


LISTING = (
    '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n<a href="a.log">a.log</a>\n'
    '<a href="out">out</a>\n<a href="sub/">sub/</a>\n</pre>\n'
)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/logs/", 200, LISTING),
        ("/logs/a.log", 200, "hello\n"),
        ("/logs/sub/sub.log", 200, "below\n"),
        ("/logs/sub", 301, ""),
        ("/logs/nothing", 404, "404 page not found\n"),
        ("/logs/?query=../outside", 404, "404 page not found\n"),
        ("/logs/out", 404, "404 page not found\n"),
        ("/logs/?query=/a.log", 200, "hello\n"),
        ("/logs/?query=sub/sub.log", 200, "below\n"),
        ("/logs/?query=a", 200, "hello\n"),
        ("/logs/?query=sub", 200, "below\n"),
        ("/logs/?query=nobody", 200, "\nlog not found for nobody\n"),
        ("/logs/?query=kubelet", 200, OWN.decode()),
        ("/logs/?query=kubelet&tailLines=1", 200, OWN.decode().splitlines(keepends=True)[-1]),
        ("/logs/?query=kubelet&pattern=wr.ng", 200, OWN.decode().splitlines(keepends=True)[1]),
        ("/logs/?query=kubelet&pattern=nothing", 200, "-- No entries --\n"),
        (
            "/logs/?query=a&tailLines=1",
            200,
            "\noptions present and query resolved to log files for [a]\ntry without specifying options\n",
        ),
        ("/logs/?query=", 400, 'query: Invalid value: [""]: query cannot be empty\n'),
        (
            "/logs/?tailLines=x&query=a",
            400,
            'tailLines: Invalid value: "x": strconv.Atoi: parsing "x": invalid syntax\n',
        ),
        ("/logs/?tailLines=1", 406, "query: Required value: cannot be empty with options\n"),
        ("/logs/?query=/a&query=b", 406, 'query: Invalid value: "[/a], [b]": cannot specify a file and service\n'),
        ("/logs/?query=a;b", 406, 'query: Invalid value: "a;b": input contains unsupported characters\n'),
        ("/logs/?query=a&boot=1", 406, "boot: Invalid value: 1: must be less than 1\n"),
        ("/logs/a.log?query=a", 406, "path not allowed in query mode\n"),
    ],
)
async def test_answers(logs, path, status, text):
    assert await logs(path) == (status, text)


def test_several_problems_are_told_together():
    with pytest.raises(BadQuery) as refusal:
        logquery.parse({"sinceTime": "now", "boot": "x"}, ["a"])
    said = 'sinceTime: Invalid value: "now": invalid time format, boot: Invalid value: "x": strconv.Atoi: '
    assert str(refusal.value) == f'[{said}parsing "x": invalid syntax]'


def test_the_journal_is_asked_as_one_would_type_it():
    at = datetime.datetime(2026, 11, 26, 10, tzinfo=datetime.UTC)
    query = LogQuery(("cron", "ssh"), (), Options(since=at, until=at, tail=3, boot=-1, pattern="x"))
    assert logquery.journal_command(query)[4:] == [
        "--since=2026-11-26 10:00:00",
        "--until=2026-11-26 10:00:00",
        "--pager-end",
        "--lines=3",
        "--unit=cron",
        "--unit=ssh",
        "--grep=x",
        "--case-sensitive=false",
        "--boot",
        "-1",
    ]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (Options(), [0, 1, 2, 3]),
        (Options(tail=0), []),
        (Options(since=datetime.datetime(2026, 11, 26, 10, 0, 1).astimezone()), [1, 2, 3]),
        (Options(until=datetime.datetime(2026, 11, 26, 10, 0, 1).astimezone()), [0, 1, 2]),
        (Options(boot=0), [3]),
        (Options(boot=-1), [0, 1, 2]),
        (Options(boot=-1, tail=1), [2]),
    ],
)
def test_lines_are_chosen_by_their_time(options, kept):
    booted = datetime.datetime(2026, 11, 26, 10, 0, 2).astimezone()
    lines = OWN.splitlines(keepends=True)
    assert logquery.chosen(lines, options, booted) == [lines[each] for each in kept]
