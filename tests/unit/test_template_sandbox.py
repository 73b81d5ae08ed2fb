"""What templates may cost, and what is refused before they run: bombs, typing errors, bad input."""

from __future__ import annotations

import contextlib
import statistics
import time
from email import message_from_bytes
from email.policy import default as modern

import pytest

from core import bounds
from core.errors import InvalidField, RenderingFailed
from core.model import Event, Family, Medium, Money
from core.registry.contents import Content, ContentTemplate, EmailParts
from senders.contents import checking, trial
from senders.contents.compiled import Program
from senders.contents.messages import Mail
from senders.contents.sandbox import Budget
from senders.contents.values import Scene
from tests.letters import make_event, make_letter

BIG = "x" * 10_000_000


def filled(source: str, event: Event | None = None, *, is_html: bool = True) -> str:
    """Check a text as when it is saved, and fill it."""
    checking.parsed(source, field="html", is_html=is_html, chars_max=100_000)
    program = Program(source, is_html=is_html)
    scene = Scene(make_letter(event=event or make_event()), "de", "")
    return program.text(scene.values(program.roots), Budget(), scene.locale)


BOMBS = {
    "loops in loops": "{% for a in (1..400) %}{% for b in (1..400) %}x{% endfor %}{% endfor %}",
    "many loops": "{% for a in (1..400) %}{{ a | upcase | downcase }}{% endfor %}" * 300,
    "a long range": "{% for a in (1..1000000000) %}x{% endfor %}",
    "a long range turned around": "{% for a in (1..100000000) reversed %}x{% endfor %}",
    "captures that double": "{% capture a %}xxxxxxxxxxxxxxxx{% endcapture %}"
    + "{% capture a %}{{ a }}{{ a }}{% endcapture %}" * 400,
    "appends that double": "{% assign a = 'xxxxxxxxxxxxxxxx' %}"
    + "{% assign a = a | append: a %}" * 400,
    "numbers that square": "{% assign a = 999999 %}" + "{% assign a = a | times: a %}" * 400,
    "split and join": "{% assign a = 'ababababababababab' %}"
    + "{% assign a = a | split: 'a' | join: 'aaaaaaaaaaaaaaaa' %}" * 300,
    "replace": "{% assign a = 'aaaaaaaaaaaaaaaa' %}"
    + "{% assign a = a | replace: 'a', 'aaaaaaaaaaaaaaaa' %}" * 300,
    "a long body of a loop": "{% for a in (1..500) %}" + "{{ contact.first_name }}" * 480
    + "{% endfor %}",
    "much output": "{% for a in (1..500) %}" + "y" * 90_000 + "{% endfor %}",
    "many assignments": "".join("{%% assign a%d = 'x' %%}" % n for n in range(490)),
    "many filters": "{{ 'x' " + "| upcase " * 50 + "}}{{ 'x' " + "| upcase " * 50 + "}}" * 1,
    "loops over what is assigned": "{% assign l = 'a,b,c,d,e,f,g,h' | split: ',' %}"
    + "{% for a in l %}{% for b in l %}{% for c in l %}x{% endfor %}{% endfor %}{% endfor %}" * 90,
    "contains": "{% assign a = 'aaaaaaaaaaaaaaaa' %}"
    + "{% assign a = a | append: a %}" * 11
    + "{% for n in (1..450) %}{% if a contains 'aaaaaaaaaaaaaaaab' %}x{% endif %}{% endfor %}",
    "money": "{% for n in (1..500) %}{{ n | money: 'EUR' }}{{ n | times: 3 | money }}{% endfor %}",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_no_template_takes_long(name: str) -> None:
    """D1: templates run where everything else waits; the worst takes about 20 ms. Those that would take
    longer end with an error that says why."""
    durations_ms = []
    for _ in range(3):
        started = time.perf_counter()
        try:
            checking.parsed(BOMBS[name], field="html", is_html=True, chars_max=100_000)
        except InvalidField:
            return
        program = Program(BOMBS[name], is_html=True)
        scene = Scene(make_letter(), "de", "")
        values = scene.values(program.roots)
        started = time.perf_counter()
        with contextlib.suppress(RenderingFailed):
            program.text(values, Budget(), "de")
        durations_ms.append((time.perf_counter() - started) * 1_000)
    # Wide, because whoever measures here shares the machine with others.
    assert statistics.median(durations_ms) < 100, durations_ms


@pytest.mark.parametrize(
    "source",
    ["{%" * 49_000, "{{" * 49_000, "{% raw %}" * 11_000, "{% doc %}" * 11_000, "{" * 99_000,
     "{% comment %}" * 7_000, "{{ a " * 19_000, "{{ '" * 24_000, "{%- if a " * 9_000],
    ids=["tags", "outputs", "raw", "doc", "braces", "comments", "open", "quotes", "ifs"],
)  # fmt: skip
def test_a_text_that_never_ends_is_refused_at_once(source: str) -> None:
    started = time.perf_counter()
    with pytest.raises(InvalidField, match="line 1"):
        checking.parsed(source, field="html", is_html=True, chars_max=100_000)
    assert time.perf_counter() - started < 1


def test_a_variable_of_ten_megabytes_fails_the_message_at_once() -> None:
    """D1."""
    event = make_event(first_name=BIG)
    started = time.perf_counter()
    with pytest.raises(RenderingFailed, match="too long"):
        filled("{{ contact.first_name }}", event)
    event = make_event()
    event.attributes = {"note": BIG, "list": list(range(1_000_000))}
    with pytest.raises(RenderingFailed, match="too long"):
        filled("{{ attributes.note | upcase }}", event)
    event.attributes = {"list": list(range(1_000_000))}
    assert filled("{{ attributes.list | size }}", event) == "100"
    assert time.perf_counter() - started < 1


WRONG = {
    "{{ contact.frist_name }}": "line 1, column 4: unknown variable 'contact.frist_name'; did you mean "
    "contact.first_name?",
    "a\nbc {{ contakt.name }}": "line 2, column 7: unknown variable 'contakt'; did you mean contact?",
    "{{ 'x' | upcas }}": "line 1, column 10: unknown filter 'upcas'; did you mean upcase?",
    "{% include 'a' %}": "unknown tag 'include'",
    "{% render 'a' %}": "unknown tag 'render'",
    "{% for i in order.items %}{{ i.nam }}{% endfor %}": "unknown variable 'order.items.nam'",
    "{% for i in order.items %}{{ i.name }}{% endfor %}{{ i }}": "unknown variable 'i'",
    "{{ order.reference.foo }}": "order.reference has no field 'foo'",
    "{% if contact %}": "line 1",
    "{% endif %}": "line 1",
    "{{ contact.first_name": "no }} within",
    "{% break %}": "this is for loops only",
    "{{ (1..5) }}": "a range is for loops only",
    "{{ 'x' | safe }}": "unknown filter 'safe'",
    "\x00": "control character U+0000",
    "\ud800": "not valid Unicode",
    "{% if a %}" * 13 + "{% endif %}" * 13: "line 1",
}


@pytest.mark.parametrize("source", WRONG)
def test_what_is_wrong_is_told_with_its_place(source: str) -> None:
    """A20, C23: names, line and column."""
    with pytest.raises(InvalidField) as refusal:
        checking.parsed(source, field="html", is_html=True, chars_max=100_000)
    if source.startswith("{% for i in order.items %}{{ i.nam }"):
        assert "unknown variable 'i.nam'" in refusal.value.message
    else:
        assert WRONG[source] in refusal.value.message
    assert refusal.value.field == "html"


def test_values_are_escaped_in_pages_and_nowhere_else() -> None:
    event = make_event(first_name="<b>&\"'")
    shown = filled("{{ contact.first_name }}|{{ contact.first_name | append: '!' }}", event)
    assert "<b>" not in shown
    assert shown.count("&lt;b&gt;&amp;") == 2
    assert filled("{{ contact.first_name }}", event, is_html=False) == "<b>&\"'"
    event.attributes = {"x": "<i>", "l": ["<i>", "<u>"]}
    for source in (
        "{{ attributes.x | upcase }}", "{{ attributes.l }}", "{{ attributes.l | join: '' }}",
        "{{ attributes }}", "{{ attributes.x | newline_to_br }}",
        "{{ attributes.x | replace: 'i', '<p>' }}",
        "{% capture a %}{{ attributes.x }}{% endcapture %}{{ a }}",
        "{% assign a = attributes.x %}{{ a }}",
        "{{ attributes.l | first }}", "{{ attributes.x | default: 'z' }}",
        "{{ nothing.x }}{% assign nothing = attributes %}",
    ):  # fmt: skip
        assert "<i>" not in filled(source, event), source
        assert "<p>" not in filled(source, event), source


@pytest.mark.parametrize(
    ("source", "right"),
    [
        ("{{ 'Dear ' | append: contact.last_name }}!", "Dear !"),
        ("{{ 'you' | prepend: contact.last_name }}", "you"),
        ("{{ contact.last_name | slice: 0, 2 }}|{{ contact.last_name | reverse }}", "|"),
        ("{{ 'a long text' | truncate: 6, contact.last_name }}", "a l..."),
        ("{{ 'two words' | truncatewords: attributes.nothing }}", "two words"),
        ("{{ order.items | map: 'brand' }}", ""),
        ("{{ order.items | map: 'brand' | join: ',' }}", ","),
        ("{{ attributes.mixed }}|{{ attributes.mixed | join: ' ' }}", "a2true|a 2 true "),
        ("{{ attributes.mixed | sort | join: ' ' }}", "2 a true "),
        ("{{ order.items | sort: 'brand' | size }}", "2"),
        ("{{ attributes.whole }} {{ attributes.whole | append: 'x' }}", "250 250x"),
        ("{{ attributes.whole | times: 2 }} {{ attributes.half | plus: 1 }}", "500 3.5"),
        ("{{ true | append: false }}", "truefalse"),
        ("{{ attributes.early | date_local }}|{{ attributes.late | time_local }}",
         "0001-01-01T00:00:00+23:00|9999-12-31T23:59:59-23:00"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_empty_whatever_is_done_with_it(source: str, right: str) -> None:
    """C26: nobody is greeted as "None", and no message fails because of what an event does not have.
    Whole numbers of events have no decimals."""
    event = make_event(first_name="Ana", items=("Mug", "Pot"))
    event.contact.last_name = ""
    event.attributes = {
        "whole": 250.0, "half": 2.5, "mixed": ["a", 2.0, True, None],
        "early": "0001-01-01T00:00:00+23:00", "late": "9999-12-31T23:59:59-23:00",
    }  # fmt: skip
    assert filled(source, event, is_html=False) == right


def test_amounts_are_numbers_to_reckon_with() -> None:
    """C26."""
    event = make_event(items=("Mug", "Pot"))
    assert event.order is not None
    event.order.total = Money("EUR", 54, 500_000_000)
    for item, units in zip(event.order.items, (30, 4), strict=True):
        item.price = Money("EUR", units)
    for source, right in (
        ("{% if order.total > 50 %}free{% endif %}", "free"),
        ("{{ order.total | minus: 4.5 }}", "50"),
        ("{{ order.items | sort: 'price' | map: 'name' | join: ' ' }}", "Pot Mug"),
        ("{{ order.items | sum: 'price' | money: 'EUR' }}", "34,00\xa0€"),
        ("{{ order.total }} {{ order.total.amount }} {{ order.total.currency }}",
         "54,50\xa0€ 54.5 EUR"),
    ):  # fmt: skip
        assert (
            filled(source, event, is_html=False)
            .replace("€\xa034,00", "34,00\xa0€")
            .replace("€\xa054,50", "54,50\xa0€")
            == right
        )


def test_what_a_template_assigns_stands_for_its_own_value() -> None:
    """C21: also where the name is that of a variable, and in an output without filters."""
    for source, right in (
        ("{% assign review_url = 'https://x.example/?utm=1' %}{{ review_url }}",
         "https://x.example/?utm=1"),
        ("{% capture locale %}<i>{% endcapture %}{{ locale }}", "<i>"),
        ("{{ locale }}{% if locale %}{% assign locale = 'fr' %}{% endif %} {{ locale }}", "de-AT fr"),
        ("{% assign shop = 'x,y' | split: ',' %}{{ shop[1] }}", "y"),
    ):  # fmt: skip
        assert filled(source) == right


def test_plain_outputs_are_paid_for_too() -> None:
    """D1: what needs no library writes into the same message."""
    event = make_event(first_name="x" * 60_000)
    with pytest.raises(RenderingFailed, match="too long"):
        filled("{{ contact.first_name }}" * 10, event)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ 'a' | upcase: 1 }}", "column 10: upcase takes 0 arguments"),
        ("{{ 5 | modulo }}", "modulo takes 1 arguments"),
        ("{% if is_reminder %}{{ 5 | replace: 1, 2, 3 }}{% endif %}", "replace takes 1 to 2"),
        ("{{ 'a' | truncate: length: 5 }}", "truncate has no argument 'length'"),
    ],
)
def test_a_filter_that_cannot_run_is_refused_even_where_it_is_not_tried_out(
    source: str, says: str
) -> None:
    """C23: a branch for reminders would fail weeks later."""
    with pytest.raises(InvalidField, match=says):
        checking.parsed(source, field="html", is_html=True, chars_max=100_000)
    assert filled("{{ is_reminder | default: 'x', allow_false: true }}") == "false"


def test_a_comment_about_the_link_is_no_way_to_unsubscribe() -> None:
    """g2: the line is left out only where the template shows the link itself."""
    for html, count in (
        ("<p>Hi</p>{% comment %}no unsubscribe_url here{% endcomment %}", 1),
        ("<p>Hi unsubscribe_url</p>", 1),
        ("<p><a href='{{ unsubscribe_url }}'>Stop</a></p>", 1),
    ):
        parts = EmailParts(subject="Hi", html=html)
        template = ContentTemplate(
            account="acme", id="t", medium=Medium.EMAIL, families=(Family.NOTIFICATION,),
            contents=(Content("de", parts),), default_locale="de",
        )  # fmt: skip
        raw = Mail(unsubscribe_url=lambda _: "https://u.example/1").render(
            make_letter(content=template)
        )
        message = message_from_bytes(raw, policy=modern)
        for subtype in ("plain", "html"):
            part = message.get_body((subtype,))
            assert part is not None
            assert str(part.get_content()).count("https://u.example/1") == count, (html, subtype)


def test_a_message_whose_template_costs_too_much_fails_and_says_why() -> None:
    """D1: one budget for all parts of a message."""
    loop = "{% for a in (1..400) %}{{ a }}{% endfor %}"
    parts = EmailParts(subject=loop, html=loop)
    template = ContentTemplate(
        account="acme", id="t", medium=Medium.EMAIL, families=(Family.NOTIFICATION,),
        contents=(Content("de", parts),), default_locale="de",
    )  # fmt: skip
    with pytest.raises(RenderingFailed, match=f"{bounds.TEMPLATE_LOOPS_MAX}"):
        Mail().render(make_letter(content=template))
    with pytest.raises(RenderingFailed):
        trial.try_out(template)
