"""In which form does the client want the answer? The Accept header, read once per distinct text.

What is stored is JSON bytes, so JSON is sent to those who would rather have protobuf but take JSON too: the others
are converted per answer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from shim.api.status import ApiError
from shim.server import errors

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
ACCEPTED = f"{JSON}, {YAML}, {PROTOBUF}"
FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
STREAMED = f"{JSON};stream=watch, {PROTOBUF};stream=watch"
LISTED = f"{ACCEPTED}, {STREAMED}"
_ANY = ("*/*", "application/*", "")
_META_VERSIONS = ("v1", "v1beta1")


class Rendering(NamedTuple):
    """A media type, and the form (``as=``) with its version in meta.k8s.io; no form is the object as it is."""

    media: str = JSON
    form: str = ""
    version: str = ""

    @property
    def plain(self) -> bool:
        """Stored bytes can be sent as they are."""
        return self.media == JSON and not self.form


AS_STORED = Rendering()


@lru_cache(maxsize=256)
def rendering(accept: str, tables: bool = True) -> Rendering:
    """The first acceptable of what an Accept header lists. ``tables``: this kind can be shown as one. Raises 406."""
    choices: list[Rendering] = []
    for media, options in _by_quality(accept):
        if media not in (JSON, YAML, PROTOBUF):
            continue
        form, version = options.get("as", ""), options.get("v", "")
        if not _streams(media, options) or (form and not _has_form(media, form, options.get("g", ""), version, tables)):
            continue
        choices.append(Rendering(media, form, version if form else ""))
    if not choices:
        raise errors.no_such_rendering(ACCEPTED)
    first = choices[0]
    if first.media == PROTOBUF:
        for other in choices:  # who takes protobuf wants it for its speed, and the same form in JSON costs less here
            if other.media == JSON and other.form == first.form and other.version == first.version:
                return other
    return first


@lru_cache(maxsize=256)
def check_accepted(accept: str, offered: str = ACCEPTED) -> None:
    """Refuse with 406 who takes nothing of what is offered; upstream's router looks no further than the types' names.

    ``application/*`` is not one of them, although :func:`rendering` would know what to make of it.
    """
    taken = {part.partition(";")[0].strip() for part in accept.split(",")}
    if taken.isdisjoint(("*/*", *offered.split(", "))):
        raise errors.not_acceptable(offered)


@lru_cache(maxsize=256)
def form_of_status(accept: str) -> str:
    """The media type in which a refusal is told: what the client takes, and JSON when it takes nothing."""
    try:
        wanted = rendering(accept)
    except ApiError:
        return JSON
    return JSON if wanted.form else wanted.media


@lru_cache(maxsize=256)
def form_of_document(accept: str) -> str:
    """The media type for what is neither object nor list: discovery. Raises 406."""
    for media, options in _by_quality(accept):
        if media in (JSON, YAML, PROTOBUF) and not options.get("as"):
            return media
    raise errors.no_such_rendering(ACCEPTED)


def _by_quality(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Media types with their parameters, the most wanted first; upstream takes even those with ``q=0``."""
    found = []
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        options = dict(parameter.partition("=")[::2] for parameter in parameters)
        try:
            quality = float(options.get("q", 1))
        except ValueError:
            quality = 1.0
        found.append((quality, JSON if media in _ANY else media, options))
    found.sort(key=lambda each: -each[0])
    return [(media, options) for _, media, options in found]


def _has_form(media: str, form: str, group: str, version: str, tables: bool) -> bool:
    if group != "meta.k8s.io" or version not in _META_VERSIONS or form not in FORMS:
        return False
    return form != "Table" or (tables and media != PROTOBUF)  # tables have no protobuf form, not even upstream


def _streams(media: str, options: dict[str, str]) -> bool:
    """Whether a media type can be had as the stream that is asked for, if one is."""
    return "stream" not in options or (options["stream"] == "watch" and media != YAML)


def streamed(wanted: Rendering) -> Rendering:
    """The form for the events of a watch. Raises 406: YAML cannot be streamed."""
    if wanted.media == YAML:
        raise errors.no_such_rendering(STREAMED)
    return wanted
