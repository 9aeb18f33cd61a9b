"""How every part speaks to the API server: requests, local copies kept current by watches, queues of work, events."""

from shim.client import resource
from shim.client.events import EventRecorder
from shim.client.informer import Informer
from shim.client.transport import Client, Unreachable
from shim.client.workqueue import WorkQueue

__all__ = ["Client", "EventRecorder", "Informer", "Unreachable", "WorkQueue", "resource"]
