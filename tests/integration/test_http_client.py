"""Where calls may go (P25, server-side request forgery), and what is known of one that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from core.registry.senders import SenderKind
from core.sending import Delivery
from senders.credentials import Secrets
from senders.http_client import (
    Forbidden,
    HttpClient,
    NoAnswer,
    NotSent,
    Reach,
    is_public,
    is_public_host,
)
from senders.making import TransportMaker
from senders.provider_sink import Manner, Reply
from tests.support.providers import SECRETS, letter_for, open_sink, sender

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

PRIVATE = (
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.192", "168.63.129.16", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1",
    "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::",
    "fec0::1", "3fff::1", "5f00::1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1", "100::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "not an address", "",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")
ODD_HOSTS = (
    "127.1", "127.0.1", "0", "0x7f000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "017700000001", "0177.0.0.1",
    "2130706433", "127.0.0.1.", "1.2.3", "localhost", "LOCALHOST", "a.localhost", "redis", "metadata",
    "metadata.google.internal", "printer.local", "router.lan", "x.home.arpa", "nas.intranet",
    "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "[::7f00:1]", "8.8.8.8.", "*.example", "",
    "a b.example", "x_.example", "-", ".example", "xn--.",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
async def test_p25_what_is_not_globally_routable_is_not_called(address: str) -> None:
    """P25: IPv4 inside of IPv6 counts as what it is."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
async def test_what_is_globally_routable_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ODD_HOSTS)
async def test_p25_odd_ways_to_write_an_address_are_refused(host: str) -> None:
    """P25: before anything is resolved: what ends in a number is an address to a resolver."""

    async def resolve(_: str) -> Sequence[str]:
        raise AssertionError("nothing is to be resolved")

    assert not is_public_host(host)
    client = HttpClient(resolve=resolve)
    with pytest.raises(NotSent):
        await client.post(f"http://{host}:80/", headers={}, body=b"x")
    await client.close()


@pytest.mark.parametrize("host", ["shop.example", "a.b.shop.example", "xn--u.example", "8.8.8.8"])
async def test_full_names_are_taken(host: str) -> None:
    assert is_public_host(host)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"])
async def test_p25_a_name_that_leads_to_a_private_address_is_not_called(address: str) -> None:
    async with open_sink() as sink:

        async def resolve(_: str) -> Sequence[str]:
            return [address]

        client = HttpClient(resolve=resolve)
        with pytest.raises(Forbidden, match="no public address"):
            await client.post(f"http://shop.example:{sink.port}/", headers={}, body=b"x")
        assert not sink.connections
        await client.close()


async def test_p25_a_name_that_is_rebound_is_not_called() -> None:
    """P25: looked at with the first answer, connected with the second: there is no second."""
    answers = iter((["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]))
    asked: list[str] = []

    async def resolve(host: str) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    async with open_sink() as sink:
        client = HttpClient(resolve=resolve, timeout_ms=200)
        # The address that was looked at is connected to, whoever may listen there.
        with pytest.raises(NotSent):
            await client.post(f"http://shop.example:{sink.port}/", headers={}, body=b"x")
        await client.close()
        assert asked == ["shop.example"]
        client = HttpClient(resolve=resolve, timeout_ms=200)
        with pytest.raises(Forbidden):
            await client.post(f"http://shop.example:{sink.port}/", headers={}, body=b"x")
        await client.close()
        assert not sink.connections


async def test_p25_of_several_addresses_only_public_ones_are_tried() -> None:
    async def resolve(_: str) -> Sequence[str]:
        return ["127.0.0.1", "10.0.0.1", "8.8.8.8"]

    async with open_sink() as sink:
        client = HttpClient(resolve=resolve, timeout_ms=200)
        with pytest.raises(NotSent):
            await client.post(f"http://shop.example:{sink.port}/", headers={}, body=b"x")
        assert not sink.connections
        await client.close()


async def test_p25_the_socket_itself_is_the_last_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """P25: even if both looks before were wrong, no socket is made for a private address."""
    import senders.http_client as module

    monkeypatch.setattr(module, "is_public_host", lambda _: True)
    async with open_sink() as sink:
        client = HttpClient()
        for host in ("127.0.0.1", "127.1", "2130706433"):
            with pytest.raises(NotSent):
                await client.post(f"http://{host}:{sink.port}/", headers={}, body=b"x")
        with pytest.raises(Forbidden):
            await client.post(f"http://127.0.0.1:{sink.port}/", headers={}, body=b"x")
        assert not sink.connections
        await client.close()


async def test_p25_redirects_lead_nowhere() -> None:
    async with open_sink() as target:
        away = Reply(307, headers={"location": f"{target.url}/inner"})
        async with open_sink(decide=lambda _: away) as sink:
            client = HttpClient(reach=Reach.ANY)
            answer = await client.post(sink.url, headers={}, body=b"x")
            assert answer.status == 307
            assert not target.connections
            await client.close()


async def test_environment_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_sink() as sink, open_sink() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        client = HttpClient(reach=Reach.ANY)
        await client.post(sink.url, headers={}, body=b"x")
        assert (sink.connections, proxy.connections) == (1, 0)
        await client.close()


async def test_p25_a_webhook_on_a_private_address_fails_for_good() -> None:
    """P25: however it came to be configured."""
    async with open_sink() as sink:
        maker = TransportMaker(Secrets(environment=SECRETS))
        for endpoint in (f"https://127.0.0.1:{sink.port}", f"https://127.1:{sink.port}"):
            transport = maker.make(sender(SenderKind.WEBHOOK, endpoint))
            letter = letter_for(SenderKind.WEBHOOK)
            (delivery,) = await transport.send([(letter, transport.prepare(letter))])
            assert delivery == Delivery(Delivery.Kind.FAILED, "the address is not a public one")
            await transport.close()
        assert not sink.connections


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://", "http://[::1", "http://a b/", "ftp://shop.example/", "http://x:99999/"],
)
async def test_what_is_no_address_is_not_sent(url: str) -> None:
    for reach in Reach:
        client = HttpClient(reach=reach, timeout_ms=500)
        with pytest.raises(NotSent):
            await client.post(url, headers={}, body=b"x")
        await client.close()


async def test_headers_that_break_lines_are_not_sent() -> None:
    async with open_sink() as sink:
        client = HttpClient(reach=Reach.ANY)
        with pytest.raises(NotSent) as caught:
            await client.post(sink.url, headers={"authorization": "a\r\nb: canary"}, body=b"x")
        assert "canary" not in str(caught.value)
        assert not sink.calls
        await client.close()


async def test_an_idle_connection_that_was_closed_is_never_used_twice_for_one_letter() -> None:
    """A request into a connection that the server has just closed has an unknown outcome, and is not
    repeated by the library."""
    replies = [Reply(204), Reply(manner=Manner.DROP), Reply(204)]
    async with open_sink(decide=lambda _: replies.pop(0)) as sink:
        client = HttpClient(reach=Reach.ANY)
        await client.post(sink.url, headers={}, body=b"1")
        with pytest.raises(NoAnswer):
            await client.post(sink.url, headers={}, body=b"2")
        await client.post(sink.url, headers={}, body=b"3")
        assert [call.body for call in sink.calls] == [b"1", b"2", b"3"]
        await client.close()


async def test_waiting_for_a_free_connection_counts_as_not_sent() -> None:
    async with open_sink(decide=lambda _: Reply(manner=Manner.NEVER)) as sink:
        client = HttpClient(reach=Reach.ANY, connections=1, timeout_ms=300)
        calls = [client.post(sink.url, headers={}, body=b"x") for _ in range(2)]
        first, second = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(first, NoAnswer)
        assert isinstance(second, NotSent)
        assert len(sink.calls) == 1
        await client.close()


async def test_a_closed_client_opens_nothing() -> None:
    async with open_sink() as sink:
        client = HttpClient(reach=Reach.ANY)
        await client.close()
        await client.close()
        with pytest.raises(NotSent):
            await client.post(sink.url, headers={}, body=b"x")
        assert not sink.connections
