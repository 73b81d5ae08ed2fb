"""HTTP calls to providers and webhooks: one pooled client, and the truth about what was sent.

Decides: where a call may go, how long it may take, how much of an answer is read, and whether a failed
call can have reached the other side.
Never: what an answer means (the transports say that), and never follows a redirect: a POST would arrive
where nobody has agreed to it.

Invariants:
1. `NotSent` is said only if no byte of the request left: then a retry cannot double anything.
2. With `Reach.PUBLIC` no connection is opened to an address that is not globally routable, whatever a
   name resolves to at the moment of connecting: the addresses checked are the addresses connected to, so
   a name cannot be rebound in between.
3. No exception quotes the URL, a header or the body: they hold tokens and people's data.

Source: the OWASP cheat sheet on server-side request forgery; RFC 6890 (special-purpose addresses).
"""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import socket
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec
import orjson
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from core.bounds import CLAIM_LEASE_MS, LEASE_MARGIN_MS, SECOND_MS

ANSWER_BYTES_MAX: Final = 64 * 1024
"""What is read of an answer; what follows is left unread and the connection closed."""

TIMEOUT_DEFAULT_MS: Final = 20 * SECOND_MS
CONNECT_TIMEOUT_MS: Final = 5 * SECOND_MS
KEEP_ALIVE_S: Final = 8
"""Shorter than servers keep an idle connection: a request into a closed one has an unknown outcome."""

assert TIMEOUT_DEFAULT_MS < CLAIM_LEASE_MS - LEASE_MARGIN_MS

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Reach(enum.Enum):
    """Where calls may go."""

    PUBLIC = "public"
    """Only to globally routable addresses."""
    ANY = "any"
    """Anywhere; for providers on this machine or in the same network, where an operator says so."""


class NotSent(Exception):
    """The other side has certainly got nothing; the text says why, for people."""


class NoAnswer(Exception):
    """The request may have arrived, but no answer came."""


class Forbidden(NotSent):
    """The address is one that calls may not go to."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """What came back. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_ms(self) -> int:
        """What `Retry-After` asks for in seconds; 0 without one, or with a date."""
        text = self.headers.get("retry-after", "").strip()
        return int(text) * 1_000 if text.isascii() and text.isdigit() and len(text) < 8 else 0

    @property
    def told(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is something else."""
        try:
            told = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return told if isinstance(told, dict) else {}


def is_public(address: str) -> bool:
    """Return whether an IP address is globally routable, the IPv4 address inside an IPv6 one too."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            ip = inner
        elif ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class _GuardedResolver(AbstractResolver):
    """Resolves names by the system's resolver and keeps only addresses that may be connected to."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a name.

        Raises:
            OSError: there is none.
        """
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        public = [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=proto,
                flags=int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
            )
            for kind, _, proto, _, address in found
            if is_public(str(address[0]))
        ]  # fmt: skip
        if not public:
            raise OSError(None, "no public address")
        return public

    async def close(self) -> None:
        """Nothing to release."""


class HttpClient:
    """Posts to other people's servers.

    Args:
        connections: calls under way at most.
        reach: where they may go.
        timeout_ms: the most that a call takes, connecting included.
    """

    def __init__(
        self, *, connections: int = 64, reach: Reach = Reach.PUBLIC,
        timeout_ms: int = TIMEOUT_DEFAULT_MS,
    ) -> None:  # fmt: skip
        self._connections = connections
        self._reach = reach
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_ms / 1_000, sock_connect=min(CONNECT_TIMEOUT_MS, timeout_ms) / 1_000
        )
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Post once.

        Raises:
            NotSent: the other side has got nothing.
            NoAnswer: it may have got it.
        """
        if self._reach is Reach.PUBLIC and _is_forbidden_literal(url):
            raise Forbidden("the address is not a public one")
        progress = SimpleNamespace(is_begun=False)
        try:
            async with self._open().post(
                url, headers=headers, data=body, allow_redirects=False, trace_request_ctx=progress
            ) as response:
                return HttpAnswer(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _read(response),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            told = f"the call failed: {type(error).__name__}"
            raise (NoAnswer(told) if progress.is_begun else NotSent(told)) from None

    def _open(self) -> aiohttp.ClientSession:
        # Made on first use, inside the loop that it belongs to.
        if self._session is None:
            resolver = _GuardedResolver() if self._reach is Reach.PUBLIC else None
            connector = aiohttp.TCPConnector(
                limit=self._connections, resolver=resolver, keepalive_timeout=KEEP_ALIVE_S,
                ttl_dns_cache=60,
            )  # fmt: skip
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_begin)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False, trust_env=False, trace_configs=[trace],
                headers={"Accept-Encoding": "identity", "User-Agent": "Afterword"},
            )  # fmt: skip
        return self._session

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _note_begin(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    context.trace_request_ctx.is_begun = True


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < ANSWER_BYTES_MAX:
        part = await response.content.read(ANSWER_BYTES_MAX - size)
        if not part:
            break
        parts.append(part)
        size += len(part)
    else:
        response.close()
    return b"".join(parts)


def _is_forbidden_literal(url: str) -> bool:
    """Return whether the host is an IP address that is not public; a name is looked at when resolved."""
    host = yarl.URL(url).host or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # "127.1", "0x7f000001" and the like: addresses to inet_aton, and so to a resolver.
        return (
            bool(host) and (host[0].isdigit() and host.replace(".", "").isalnum()) and _is_odd(host)
        )
    return not is_public(host)


def _is_odd(host: str) -> bool:
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return False
    return not is_public(socket.inet_ntoa(packed))
