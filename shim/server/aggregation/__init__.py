"""Extension API servers: group versions that a server behind a Service serves, as an APIService says.

What is ours to do (https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/): keep
an APIService for all we serve ourselves (``local``); look whether extension servers are there and what they serve
(``availability``, ``extension``, ``merging``); and pass on what is asked of them, saying who asks (``relay``), so
that they believe us (``trust``). ``aggregator`` holds it together.
"""

from shim.server.aggregation.aggregator import Aggregator
from shim.server.aggregation.extension import Extension

__all__ = ["Aggregator", "Extension"]
