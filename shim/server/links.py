"""Links in what a proxied server answers: they must lead back through the proxy, or a browser would leave it.

Pure functions. Which links: those to the server's own absolute paths, in the Location header and in the attributes of
HTML that hold addresses (https://html.spec.whatwg.org/multipage/indices.html#attributes-3).
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import quote, urlsplit, urlunsplit

from shim.server.paths import join

_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "command": ("icon",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
"""Attributes that hold an address, by element."""


@dataclass(frozen=True, slots=True)
class Links:
    """How addresses change: ``prefix`` is where the proxied server's root is here, ``hosts`` are the names the
    server may call itself by (its own address, and the name in the client's request)."""

    prefix: str
    hosts: tuple[str, ...]

    def rewrite(self, address: str) -> str:
        """One address as a client of the proxy has to use it. Raises ValueError for what is none."""
        found = urlsplit(address)
        elsewhere = found.netloc and found.netloc not in self.hosts
        if elsewhere or not found.path.startswith("/"):
            return address
        asked_host = self.hosts[-1]
        place = (found.scheme, found.netloc) if found.netloc == asked_host else ("", "")
        path = found.path
        if not path.startswith(self.prefix):
            path = quote(self.prefix, safe="/:@!$&'()*+,;=~") + join("/", path)
        return urlunsplit((*place, path, found.query, found.fragment))

    def rewrite_html(self, text: str) -> str:
        """The same in every attribute of a page that holds an address; all else stays as it is written."""
        finder = _StartTags(self, text)
        finder.feed(text)
        finder.close()
        pieces, end = [], 0
        for start, length, tag in finder.changed:
            pieces += [text[end:start], tag]
            end = start + length
        return "".join([*pieces, text[end:]])


class _StartTags(HTMLParser):
    """Collects start tags to be replaced: where they begin, how long they are, and what comes instead."""

    def __init__(self, links: Links, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self._links = links
        self._lines = [0]
        for line in text.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        self.changed: list[tuple[int, int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._replace(tag, attrs, ">")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._replace(tag, attrs, "/>")

    def _replace(self, tag: str, attrs: list[tuple[str, str | None]], end: str) -> None:
        holding = _ATTRIBUTES.get(tag, ())
        written = [f"<{tag}"]
        touched = False
        for name, value in attrs:
            if name in holding and value is not None:
                new = self._rewritten(value)
                touched = touched or new != value
                value = new
            written.append(f' {name}="{html.escape(value or "")}"')
        if touched:
            line, column = self.getpos()
            raw = self.get_starttag_text() or ""
            self.changed.append((self._lines[line - 1] + column, len(raw), "".join(written) + end))

    def _rewritten(self, address: str) -> str:
        try:
            return self._links.rewrite(address)
        except ValueError:
            return address
