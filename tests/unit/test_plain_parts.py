"""The plain part made from a page, and money and dates as people write them."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from core.model import Family, Medium
from core.registry.contents import Content, ContentTemplate, SmsParts, content_for
from senders.contents.formats import Moment, money
from senders.contents.messages import page_source
from senders.contents.plain_text import text_of

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two</p>", "One\n\nTwo\n"),
        ("a<br>b<div>c</div>", "a\nb\nc\n"),
        ("a<br/>b<BR />c", "a\nb\nc\n"),
        ("<head><title>x</title><body>the head need not be ended", "the head need not be ended\n"),
        ("<style>a > b {}</STYLE >y<script>if (a<b) '</p>'</script>z", "yz\n"),
        ("a<!-- x > y --> b<!doctype html> c < d", "a b c < d\n"),
        ("<IMG ALT='a > b' src=x><a HREF=https://x.example>y</a>", "a > by: https://x.example\n"),
        ("what does not <b end='", "what does not\n"),
        ('<a href="https://x.example/{{ id }}">Go {{ a }}</a>',
         "Go {{ a }}: https://x.example/{{ id }}\n"),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example\n"),
        ('<a href="mailto:a@b.example"><img src="x" alt="Mail us"></a>', "Mail us: a@b.example\n"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b\n"),
        ("<style>p{}</style><head><title>x</title></head><p>y</p>", "y\n"),
        ('<div style="display:none">unseen <b>x</b></div>seen', "seen\n"),
        ("{% if a < b %}<p>x &amp; y</p>{% endif %}", "{% if a < b %}\n\nx & y\n\n{% endif %}\n"),
        ("<td>1</td><td>2</td>", " 1 2\n"),
        ("a  \n  b", "a b\n"),
    ],
)  # fmt: skip
def test_a_page_becomes_text(html: str, text: str) -> None:
    """A20."""
    assert text_of(html).lstrip() == text.lstrip()


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<!", "</a", "</", "<?", "<a ", "<a a=", "<a a a=b ", "<a b='", "<svg/", "<body", "<td> ",
     "<b> ", "<p> \t", "&", "&#", "<![CDATA[", "<script>", "<style></style", "<title></x>",
     "<div style='display:none'>", "<body {{ locale }} "],
)  # fmt: skip
def test_no_page_takes_long_to_read(piece: str) -> None:
    """C23: pages come from outside and are read where every message waits. A parser that looks for the
    end of an element again and again takes minutes for one of these."""
    page = (piece * 100_000)[:99_000]
    started = time.perf_counter()
    text_of(page)
    text_of(page[:50_000] + "</title>" * 6_000)
    page_source(page)
    # It takes 0.1 s at most; wide, because whoever measures here shares the machine with others.
    assert time.perf_counter() - started < 1.5


def test_the_preheader_stands_in_the_body_whatever_its_attributes() -> None:
    for opening in ("<body>", '<BODY class="a" style="x">', '<body lang="{{ locale }}">'):
        page = f"<!doctype html><html>{opening}<p>Hi</p></body></html>"
        source = page_source(page)
        assert f"{opening}{{{{ _preheader }}}}<p>" in source
        assert "</p>{{ _unsubscribe }}</body>" in source


def test_money_and_dates_are_written_by_locale() -> None:
    """C22, C26."""
    shown = [money(Decimal("1234.5"), "EUR", locale) for locale in ("de", "en_GB", "xx", "fr_CH")]
    assert [text.replace("\xa0", " ").replace("\u202f", " ") for text in shown] == [
        "1.234,50 €", "€1,234.50", "€1,234.50", "1 234,50 €",
    ]  # fmt: skip
    # 20:00 in UTC is the next day in Auckland.
    evening_ms = 20_000 * DAY_MS + 20 * 3_600_000
    assert Moment(evening_ms, "Pacific/Auckland", "de").date("long") == "5. Oktober 2024"
    assert Moment(evening_ms, "UTC", "en").date("short") == "10/4/24"
    assert Moment(evening_ms, "No/Where", "de").time() == "20:00"


def test_the_locale_falls_back_step_by_step() -> None:
    """C22."""
    template = ContentTemplate(
        account="a", id="t", medium=Medium.SMS, families=(Family.NOTIFICATION,), default_locale="fr",
        contents=tuple(Content(tag, SmsParts(text=tag)) for tag in ("fr", "de", "pt_BR", "es")),
    )  # fmt: skip
    for wanted, right in (
        (("pt-br", ""), "pt_BR"), (("de_AT", "es"), "de"), (("pt_PT", "es_ES"), "es"),
        (("pl", "it"), "fr"), (("", ""), "fr"),
    ):  # fmt: skip
        assert content_for(template, *wanted).locale == right
