"""What templates may cost, and what is refused before they run: bombs, typing errors, bad input."""

from __future__ import annotations

import contextlib
import statistics
import time

import pytest

from core import bounds
from core.errors import InvalidField, RenderingFailed
from core.model import Event, Family, Medium
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
