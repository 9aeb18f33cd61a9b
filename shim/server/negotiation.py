"""In which form does the client want the answer? The Accept header, read once per distinct text.

What is stored is JSON bytes, so JSON is sent whenever the client takes it at all, whatever it lists first: the
others are converted per answer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from shim.server import errors

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
ACCEPTED = f"{JSON}, {YAML}, {PROTOBUF}"
FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_ANY = ("*/*", "application/*", "")
_META_VERSIONS = ("v1", "v1beta1")


class Rendering(NamedTuple):
    """A media type, and the form (``as=``) with its version in meta.k8s.io; no form is the object as it is."""

    media: str = JSON
    form: str = ""
    version: str = ""
    pretty: bool = False

    @property
    def plain(self) -> bool:
        """Stored bytes can be sent as they are."""
        return self.media == JSON and not self.form


AS_STORED = Rendering()


@lru_cache(maxsize=256)
def rendering(accept: str) -> Rendering:
    """The first acceptable of what an Accept header lists. Raises 406."""
    choices: list[Rendering] = []
    wrong_form = False
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media in _ANY:
            media = JSON
        if media not in (JSON, YAML, PROTOBUF):
            continue
        options = dict(parameter.partition("=")[::2] for parameter in parameters)
        form, version = options.get("as", ""), options.get("v", "")
        if form and (form not in FORMS or options.get("g") != "meta.k8s.io" or version not in _META_VERSIONS):
            wrong_form = True
            continue
        choices.append(Rendering(media, form, version if form else "", options.get("pretty") == "1"))
    if not choices:
        raise errors.no_such_rendering(ACCEPTED) if wrong_form else errors.not_acceptable(ACCEPTED)
    first = choices[0]
    for other in choices:  # the same form in JSON costs nothing, or less
        if other.media == JSON and other.form == first.form and other.version == first.version:
            return other
    return first
