"""What a proxied server says of itself, as a client of the proxy must read it."""

from __future__ import annotations

import pytest

from shim.server.links import Links
from shim.server.paths import join

PREFIX = "/api/v1/namespaces/n/pods/p/proxy"
LINKS = Links(PREFIX, ("10.0.0.7:80", "api.example"))


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("/a?b=c#d", f"{PREFIX}/a?b=c#d"),
        ("/a/", f"{PREFIX}/a/"),
        ("/", f"{PREFIX}/"),
        ("http://10.0.0.7:80/a", f"{PREFIX}/a"),
        ("http://api.example/a", f"http://api.example{PREFIX}/a"),
        (f"{PREFIX}/a", f"{PREFIX}/a"),
        ("relative", "relative"),
        ("../up", "../up"),
        ("http://elsewhere/a", "http://elsewhere/a"),
        ("mailto:someone", "mailto:someone"),
        ("#here", "#here"),
    ],
)
def test_only_links_to_the_servers_own_root_change(address, seen):
    assert LINKS.rewrite(address) == seen


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ('<a href="/x">t</a>', f'<a href="{PREFIX}/x">t</a>'),
        ("<A HREF=/x class=b>t</A>", f'<a href="{PREFIX}/x" class="b">t</A>'),
        ("<p>1 < 2 &amp;\n<img\n src='/i.png'/></p>", f'<p>1 < 2 &amp;\n<img src="{PREFIX}/i.png"/></p>'),
        ('<a title="/x" href="y">t', '<a title="/x" href="y">t'),
        (
            '<script>"<a href=/x>"</script><!-- <a href="/x"> -->',
            '<script>"<a href=/x>"</script><!-- <a href="/x"> -->',
        ),
        ('<a href="http://[bad">t</a><a href="/x">u', f'<a href="http://[bad">t</a><a href="{PREFIX}/x">u'),
        ('<a href="/x?a=1&amp;b=2">t', f'<a href="{PREFIX}/x?a=1&amp;b=2">t'),
    ],
)
def test_pages_keep_all_but_their_links(page, seen):
    assert LINKS.rewrite_html(page) == seen


@pytest.mark.parametrize(
    ("path", "joined"),
    [("", ""), ("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a//b", "/a/b"), ("//", "/"), ("/../../a", "/a")],
)
def test_paths_are_cleaned(path, joined):
    assert join("", path) == joined
