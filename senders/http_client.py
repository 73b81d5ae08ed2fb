"""HTTP calls to providers and webhooks: one pooled client, and the truth about what was sent.

Decides: where a call may go, how long it may take, how much of an answer is read, and whether a failed
call can have reached the other side.
Never: what an answer means (the transports say that), and never follows a redirect: a POST would arrive
where nobody has agreed to it.

Invariants:
1. `NotSent` is said only if no byte of the request left: then a retry cannot double anything.
2. With `Reach.PUBLIC` no socket is made for an address that is not globally routable, however it was
   written and whatever a name resolves to at the moment of connecting: what is looked at is the address
   that the socket is connected to, so a name cannot be rebound in between.
3. No exception quotes the URL, a header or the body: they hold tokens and people's data.

Source: the OWASP cheat sheet on server-side request forgery; RFC 6890 (special-purpose addresses).
"""

from __future__ import annotations

import asyncio
import email.utils
import enum
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec
import orjson
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from core.bounds import CLAIM_LEASE_MS, DAY_MS, LEASE_MARGIN_MS, SECOND_MS

ANSWER_BYTES_MAX: Final = 64 * 1024
"""What is read of an answer; what follows is left unread and the connection closed."""

TIMEOUT_DEFAULT_MS: Final = 20 * SECOND_MS
CONNECT_TIMEOUT_MS: Final = 5 * SECOND_MS
KEEP_ALIVE_S: Final = 8
"""Shorter than servers keep an idle connection: a request into a closed one has an unknown outcome."""
RETRY_AFTER_MAX_MS: Final = DAY_MS
"""An answer that asks for more is looked at again after this: it may not bury a message."""

assert TIMEOUT_DEFAULT_MS < CLAIM_LEASE_MS - LEASE_MARGIN_MS

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a name; raises OSError if there are none."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NEVER: Final = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16", "3fff::/20", "fec0::/10"),
    )
)
"""What `ipaddress` takes for global, in some versions or all: metadata servers of Oracle's and Azure's
clouds, relays of 6to4, examples, and site-local addresses, long withdrawn."""
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
)
_NUMERIC_END: Final = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)
_LOCAL_ENDS: Final = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa")


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
    now_ms: int = 0
    """When it came, by the wall clock."""

    @property
    def retry_after_ms(self) -> int:
        """What `Retry-After` asks for, in seconds or as a date; 0 without one, bounded."""
        text = self.headers.get("retry-after", "").strip()
        if not text:
            return 0
        if text.isascii() and text.isdigit():
            return min(int(text[:12]) * 1_000, RETRY_AFTER_MAX_MS)
        try:
            instant = email.utils.parsedate_to_datetime(text)
            # A date that names no zone, or "-0000", is one of UTC too (RFC 9110 5.6.7).
            instant_ms = int(instant.replace(tzinfo=instant.tzinfo or UTC).timestamp() * 1_000)
        except (ValueError, TypeError, OverflowError, IndexError):
            return 0
        return min(max(instant_ms - self.now_ms, 0), RETRY_AFTER_MAX_MS)

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
        elif ip.teredo is not None or int(ip) >> 32 == 0:
            # The second: "IPv4-compatible", long withdrawn, and 4 bytes of IPv4 at the end.
            return False
    is_listed = any(ip in network for network in _NEVER)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not is_listed


def is_public_host(host: str) -> bool:
    """Return whether a host, as it stands in an address, is a public IP address, or a full name that
    does not say itself that it is local. What the name leads to is looked at when it is called."""
    host = host.strip("[]").lower()
    if ":" in host or _NUMERIC_END.fullmatch(host):
        # Whatever ends in a number is an address to a resolver: "127.1", "0x7f.1", "2130706433".
        return "%" not in host and is_public(host)
    return _NAME.fullmatch(host) is not None and not f".{host}".endswith(_LOCAL_ENDS)


async def system_resolve(host: str) -> Sequence[str]:
    """Return the addresses of a name by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class _Resolver(AbstractResolver):
    """Resolves names and keeps only addresses that may be connected to."""

    def __init__(self, resolve: Resolve, reach: Reach) -> None:
        self._resolve = resolve
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name that may be called.

        Raises:
            OSError: there is none.
        """
        found = [
            ResolveResult(
                hostname=host, host=address, port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET, proto=0,
                flags=int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
            )
            for address in await self._resolve(host)
            if self._reach is Reach.ANY or is_public(address)
        ]  # fmt: skip
        if not found:
            raise _NoPublicAddress
        return found

    async def close(self) -> None:
        """Nothing to release."""


class _NoPublicAddress(OSError):
    """A name leads to nothing that may be called."""


def guarded_socket(info: Any) -> socket.socket:
    """Return a socket for an address, if that is public: the last look before a connection is opened.

    Args:
        info: an entry as `getaddrinfo` returns it.
    """
    family, kind, proto, _, address = info
    if not is_public(str(address[0])):
        raise _NoPublicAddress
    return socket.socket(family=family, type=kind, proto=proto)


class HttpClient:
    """Posts to other people's servers.

    Args:
        connections: calls under way at most.
        reach: where they may go.
        timeout_ms: the most that a call takes, connecting and waiting for a connection included.
        now_ms: wall clock.
        resolve: resolves names.
    """

    def __init__(
        self, *, connections: int = 64, reach: Reach = Reach.PUBLIC,
        timeout_ms: int = TIMEOUT_DEFAULT_MS, now_ms: Callable[[], int] = lambda: 0,
        resolve: Resolve = system_resolve,
    ) -> None:  # fmt: skip
        self._connections = connections
        self._reach = reach
        self._now_ms = now_ms
        self._resolve = resolve
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_ms / 1_000, sock_connect=min(CONNECT_TIMEOUT_MS, timeout_ms) / 1_000
        )
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Post once.

        Raises:
            NotSent: the other side has got nothing.
            NoAnswer: it may have got it.
        """
        if self._is_closed:
            raise NotSent("closing")
        if any(not value.isprintable() for value in headers.values()):
            raise NotSent("a header has control characters")
        progress = SimpleNamespace(is_begun=False)
        try:
            if self._reach is Reach.PUBLIC and not is_public_host(yarl.URL(url).raw_host or ""):
                raise Forbidden("the address is not a public one")
            async with self._open().post(
                url, headers=headers, data=body, allow_redirects=False, trace_request_ctx=progress
            ) as response:
                return HttpAnswer(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _read(response),
                    self._now_ms(),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RuntimeError) as error:
            if _is_forbidden(error):
                raise Forbidden("the name leads to no public address") from None
            told = f"the call failed: {type(error).__name__}"
            raise (NoAnswer(told) if progress.is_begun else NotSent(told)) from None

    def _open(self) -> aiohttp.ClientSession:
        # Made on first use, inside the loop that it belongs to.
        if self._session is None:
            is_guarded = self._reach is Reach.PUBLIC
            connector = aiohttp.TCPConnector(
                limit=self._connections, resolver=_Resolver(self._resolve, self._reach),
                keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=60,
                socket_factory=guarded_socket if is_guarded else None,
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
        self._is_closed = True
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


def _is_forbidden(error: BaseException | None) -> bool:
    """Return whether an error says that nothing public was there to be called."""
    while error is not None:
        if isinstance(error, _NoPublicAddress):
            return True
        error = getattr(error, "os_error", None) or error.__cause__
    return False
