"""The API server, put together: the store, what stands on it, and the sockets in front.

Reading starts here; a request then goes through :mod:`shim.server.dispatch`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import time
from collections.abc import Callable, Container, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from shim import pki
from shim.admission.chain import Chain, chosen
from shim.api import keys
from shim.api.schema import Schema
from shim.api.token_keys import SigningKey, verification_keys
from shim.codec.configuration import ConfigurationError
from shim.codec.definitions import load_schema
from shim.resources.metrics import METRICS
from shim.resources.table import RESOURCES
from shim.server import health
from shim.server.aggregation import Aggregator
from shim.server.allocation_repair import AllocationRepair
from shim.server.audit import policy as audit_policy
from shim.server.audit.log import AuditLog
from shim.server.audit.record import Auditor
from shim.server.authn import Authenticator
from shim.server.authz import Authorizer
from shim.server.bearers import Bearers
from shim.server.bodies import LIMIT
from shim.server.bootstrap import bootstrap
from shim.server.connection import HEADERS_WITHIN, HttpServer
from shim.server.custom import CustomResources
from shim.server.default_range import DefaultRange
from shim.server.discovery import Discovery
from shim.server.dispatch import Dispatcher
from shim.server.encryption import ConfiguredEncryption
from shim.server.flowcontrol.follow import FlowObjects
from shim.server.flowcontrol.levels import Levels
from shim.server.masters import FRESH, Masters
from shim.server.metric_parts import of_documents, of_identities, of_repair, of_services
from shim.server.oidc import config as oidc_config
from shim.server.oidc.config import Anonymous, Authentication
from shim.server.oidc.issuer import Issuer
from shim.server.openapi import OpenApi
from shim.server.own_events import OwnEvents
from shim.server.parts import Parts, index
from shim.server.reader import CacheReader
from shim.server.registry import Registry
from shim.server.removal import Removal
from shim.server.request_headers import RequestHeaders
from shim.server.routes import Routes
from shim.server.service_addresses import first_address
from shim.server.service_allocator import ServiceAllocator
from shim.server.tokens import Tokens
from shim.settings import ApiServerSettings
from shim.store.cache import Cache
from shim.store.compaction import Compactor
from shim.store.contract import Store
from shim.store.sqlite import open_sqlite

log = logging.getLogger(__name__)

STOP_PATIENCE = 2.0  # seconds for answers under way when the server stops
BACKLOG = 1024


def prepare(settings: ApiServerSettings) -> ApiServerSettings:
    """Make certificates and the admin's kubeconfig where they are missing, and settle port 0 to a free one."""
    if not settings.port:
        settings = replace(settings, port=_free_port(settings.bind[0]))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    addresses = [*settings.bind, *([settings.advertise_address] if settings.advertise_address else [])]
    service_ip = first_address(settings.service_cidr)
    pki.ensure_pki(settings.data_dir, addresses=addresses, service_ip=service_ip)
    url = f"https://{_url_host(settings.bind[0])}:{settings.port}"
    pki.ensure_kubeconfig(settings.data_dir, settings.data_dir / "admin.kubeconfig", url, pki.ADMIN)
    return settings


async def run(
    settings: ApiServerSettings, ready: Callable[[], None], sockets: Sequence[socket.socket] | None = None
) -> None:
    """Serve until cancelled. ``sockets`` are listening already, where whoever starts this process has made them."""
    if not settings.port:  # taken before anyone is told of it: what was only looked up may be another's by then
        first = _listen(settings.bind[0], 0)
        settings = prepare(replace(settings, port=first.getsockname()[1]))
        sockets = [first, *(_listen(address, settings.port) for address in settings.bind[1:])]
    if not (settings.data_dir / "pki" / "ca.crt").exists():
        settings = prepare(settings)
    routes = Routes((*RESOURCES, *METRICS) if settings.metric_resolution else RESOURCES)
    store = await _open_store(settings)
    stale: Container[str] = ()
    if (encryption := _encryption(settings, routes, store)) is not None:
        store, stale = encryption.store, encryption.store.stale
    cache = Cache(store, partial(index, routes), stale, {keys.EVENTS: settings.event_ttl, keys.MASTER_LEASES: FRESH})
    await cache.start()
    gc.freeze()  # what was loaded stays: to look through it again and again would stop the loop for long
    works: dict[str, asyncio.Task[None] | None] = {}

    def begin(name: str, work: Coroutine[Any, Any, None]) -> None:
        works[name] = asyncio.create_task(work, name=name)

    schema = load_schema()
    authorizer = Authorizer(cache, open=settings.authorization_mode == "AlwaysAllow")
    plugins = chosen(settings.enable_admission_plugins, settings.disable_admission_plugins)
    reader = CacheReader(cache, routes, authorizer, schema)
    chain = Chain(reader, plugins)
    auditor = _auditor(settings, schema)
    authentication = _authentication(settings)
    issuers = [Issuer(each) for each in authentication.issuers]
    try:
        services = ServiceAllocator(cache, schema, settings.node_port_range)
        registry = Registry(cache, chain, schema, {("", "services"): services})
        tokens = _tokens(cache, settings)
        removal = Removal(registry)
        bearers = Bearers(cache, tokens, issuers)
        parts = Parts(settings, cache, routes, schema, tokens, bearers, authorizer, registry, removal)
        listening = list(sockets) if sockets else [_listen(address, settings.port) for address in settings.bind]
        port = listening[0].getsockname()[1]
        address = f"{settings.advertise_address or settings.bind[0]}:{port}"

        def republish() -> None:
            discovery.rebuild()
            openapi.rebuild()

        def reordered() -> None:
            discovery.regroup()

        aggregator = Aggregator(cache, routes, registry, removal, settings.data_dir, republish, reordered)

        def redefined() -> None:
            republish()
            aggregator.wake()

        discovery = Discovery(routes, aggregator.all, lambda: aggregator.places, address)
        openapi = OpenApi(routes, schema, aggregator.all)
        authenticator = Authenticator(bearers, authorizer.require, _proxies(settings), authentication.anonymous)
        levels = _levels(settings)
        dispatcher = Dispatcher(parts, authenticator, discovery, openapi, aggregator, auditor, levels)
        custom = CustomResources(cache, routes, schema, registry, removal, reader, redefined)
        dispatcher.health.works = works
        dispatcher.health.expires = pki.expiry((settings.data_dir / "pki" / "apiserver.crt").read_bytes())
        await bootstrap(cache, routes)
        works[health.BOOTSTRAP] = None
        aggregator.load()
        custom.load()
        begin(health.ROLES, authorizer.follow())
        events = OwnEvents(cache)
        default_range = DefaultRange(cache, settings.service_cidr, events)
        await default_range.publish()
        masters = Masters(cache, settings, services.addresses, port)
        await masters.publish()
        repair = AllocationRepair(cache, services, events)
        dispatcher.metrics.sources += [
            partial(of_services, services),
            partial(of_repair, repair),
            partial(of_identities, authenticator, authorizer),
            partial(of_documents, discovery, custom),
        ]
        await repair.check()
        authorizer.forget()
        for issuer in issuers:
            begin(f"find {issuer.url}", issuer.run())
        if encryption is not None and settings.encryption_provider_config_automatic_reload:
            begin("encryption configuration", encryption.follow())
        begin(health.MASTERS, masters.run())
        begin(health.SERVICE_NETWORK, default_range.run())
        begin(health.REPAIR, repair.run())
        if levels is not None:
            flow_objects = FlowObjects(cache, schema, levels)
            flow_objects.load()
            begin(health.FAIRNESS, flow_objects.run())
        begin(health.CUSTOM, custom.follow())
        begin(health.EXTENSIONS, aggregator.run())
        begin("compaction", Compactor(store, lambda: cache.revision).run())
        await _serve(settings, cache, dispatcher, listening, ready)
    finally:
        tasks = [task for task in works.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for issuer in issuers:
            issuer.close()
        await chain.close()
        await cache.close()
        if auditor is not None:
            auditor.close()


def _levels(settings: ApiServerSettings) -> Levels | None:
    """Priority and fairness, with the seats of both limits together."""
    if not settings.enable_priority_and_fairness:
        return None
    return Levels(settings.max_requests_inflight + settings.max_mutating_requests_inflight, time.perf_counter())


def _tokens(cache: Cache, settings: ApiServerSettings) -> Tokens:
    """Raises OSError and ValueError for key files that cannot be used."""
    own = settings.data_dir / "pki"
    signing = SigningKey((settings.service_account_signing_key_file or own / "sa.key").read_bytes())
    files = settings.service_account_key_file
    believed = [key for file in files for key in verification_keys(Path(file).read_bytes())]
    issuers, audiences = settings.service_account_issuer, settings.api_audiences
    return Tokens(cache, signing, believed, issuers, audiences, settings.service_account_jwks_uri)


def _authentication(settings: ApiServerSettings) -> Authentication:
    """Raises OSError, and ConfigurationError for a configuration that is none."""
    found, file = Authentication(), settings.authentication_config
    if file is not None:
        try:
            found = oidc_config.read(file.read_text(), settings.service_account_issuer)
        except ConfigurationError as error:
            raise ConfigurationError(f"{file}: {error}") from None
    if found.anonymous is None and not settings.anonymous_auth:
        found = replace(found, anonymous=Anonymous(enabled=False))
    return found


def _proxies(settings: ApiServerSettings) -> RequestHeaders | None:
    """Raises OSError and ValueError."""
    authority = settings.requestheader_client_ca_file
    if authority is None:
        return None
    return RequestHeaders(authority.read_bytes(), (settings.data_dir / "pki" / "ca.crt").read_bytes(), settings)


def _auditor(settings: ApiServerSettings, schema: Schema) -> Auditor | None:
    """Raises OSError, and ConfigurationError for a policy that is none."""
    if settings.audit_policy_file is None or not settings.audit_log_path:
        return None
    try:
        policy = audit_policy.read(settings.audit_policy_file.read_text())
    except ConfigurationError as error:
        raise ConfigurationError(f"{settings.audit_policy_file}: {error}") from None
    sizes = {"max_size": settings.audit_log_maxsize, "max_age": settings.audit_log_maxage}
    return Auditor(policy, AuditLog(settings.audit_log_path, **sizes, max_backup=settings.audit_log_maxbackup), schema)


async def _open_store(settings: ApiServerSettings) -> Store:
    """The store that the settings name. Raises StoreError."""
    if not settings.store:
        return open_sqlite(settings.data_dir / "store.db")
    from shim.store.etcd import open_etcd  # grpc takes 0.1 s to load, which a server without etcd need not wait for
    from shim.store.etcd.members import Access

    access = Access.of(settings.store, settings.etcd_cafile, settings.etcd_certfile, settings.etcd_keyfile)
    return await open_etcd(access)


def _encryption(settings: ApiServerSettings, routes: Routes, store: Store) -> ConfiguredEncryption | None:
    """Raises OSError, and ConfigurationError for a configuration that is none."""
    path = settings.encryption_provider_config
    if path is not None:
        return ConfiguredEncryption(path, routes, store)
    if settings.encryption_provider_config_automatic_reload:
        flag = "--encryption-provider-config"
        raise ConfigurationError(f"{flag}-automatic-reload must be set with {flag}")
    return None


async def _serve(
    settings: ApiServerSettings,
    cache: Cache,
    dispatcher: Dispatcher,
    listening: list[socket.socket],
    ready: Callable[[], None],
) -> None:
    http = HttpServer(dispatcher.handle, LIMIT, audited=settings.audit_policy_file is not None)
    context = _tls(settings)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(http, sock=sock, ssl=context, ssl_handshake_timeout=HEADERS_WITHIN, backlog=BACKLOG)
        for sock in listening
    ]
    log.info("serving %s", ", ".join("{}:{}".format(*sock.getsockname()) for sock in listening))
    ready()
    try:
        await cache.lost()  # or until cancelled
    finally:
        dispatcher.health.stopping = True
        for server in servers:
            server.close()
        dispatcher.watchers.end_all()
        dispatcher.usage.close()
        http.pre_shutdown()
        await http.shutdown(STOP_PATIENCE)


def _tls(settings: ApiServerSettings) -> ssl.SSLContext:
    directory = settings.data_dir / "pki"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "apiserver.crt", directory / "apiserver.key")
    context.load_verify_locations(directory / "ca.crt")
    if settings.requestheader_client_ca_file is not None:
        context.load_verify_locations(settings.requestheader_client_ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL  # who brings no certificate may have a token
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 0  # to go on with a session: Go's clients keep none, and making them is a sixth of a greeting
    return context


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"listening on {address} port {port}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def _free_port(address: str) -> int:
    with _listen(address, 0) as sock:
        return int(sock.getsockname()[1])


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
