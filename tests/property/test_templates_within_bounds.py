"""Whatever is written as a template is refused by name, or renders within bounds."""

from __future__ import annotations

import time
from email import message_from_bytes
from email.policy import default as modern

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from afterword.v1 import rule_service_pb2
from afterword.v1 import template_service_pb2 as pb2
from control.conversion.templates import template_from_proto, template_to_proto
from core.errors import InvalidField, OutOfRange, RenderingFailed
from core.registry.contents import ContentTemplate
from senders.contents.filters import FILTERS
from senders.contents.messages import Mail
from tests.letters import make_event, make_letter

RENDER_S_MAX = 0.5
"""About 20 ms on a machine of its own; these tests share theirs."""

PATHS = st.sampled_from([
    "contact.first_name", "order.reference", "order.items", "order.items.first.name", "order.total",
    "item.name", "item.price", "shipment.promised", "attributes", "attributes.a.b", "shop.name",
    "review_url", "x", "y", "forloop.index", "is_reminder", "contact.nothing", "order.items[0].tags",
])  # fmt: skip
NUMBERS = st.integers(-(10**20), 10**20).map(str)
WORDS = st.text(st.sampled_from("ab<&'é \\|%{}"), max_size=5).map(
    lambda word: '"' + word.replace('"', "") + '"'
)
VALUES = st.one_of(PATHS, NUMBERS, WORDS, st.just("(1..9)"), st.just("nil"))
FILTER = st.tuples(st.sampled_from([*FILTERS, "nonsense"]), st.lists(VALUES, max_size=2)).map(
    lambda used: f"| {used[0]}" + (": " + ", ".join(used[1]) if used[1] else "")
)
OUTPUT = st.tuples(VALUES, st.lists(FILTER, max_size=3)).map(
    lambda parts: "{{ %s %s }}" % (parts[0], " ".join(parts[1]))
)
TESTS = st.tuples(
    VALUES, st.sampled_from(["==", "!=", "<", ">", "contains", "and", "or"]), VALUES
).map(" ".join)
PLAIN = st.text(st.sampled_from("ab <p></p>\n&é=\u2028"), max_size=12)


def _blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.tuples(TESTS, inner).map(lambda x: "{%% if %s %%}%s{%% endif %%}" % x),
        st.tuples(PATHS, inner).map(lambda x: "{%% for item in %s %%}%s{%% endfor %%}" % x),
        st.tuples(st.integers(0, 900), inner).map(
            lambda x: "{%% for x in (1..%d) reversed %%}%s{%% endfor %%}" % x
        ),
        inner.map(lambda text: "{% capture y %}" + text + "{{ y }}{% endcapture %}"),
        st.tuples(VALUES, FILTER).map(lambda x: "{%% assign x = %s %s %%}" % x),
    )


GRAMMAR = st.recursive(st.one_of(PLAIN, OUTPUT), _blocks, max_leaves=12)
RAW = st.text(st.characters(codec="utf-8"), max_size=60)
PIECES = st.lists(
    st.sampled_from(["{{", "}}", "{%", "%}", "-", "|", ":", "if", "for", "raw", "endraw", " x ", "'",
                     "#", "comment", "endcomment", "\n", "\r", "\x00", "\ud800"]),
    max_size=20,
).map("".join)  # fmt: skip


def saved(subject: str, html: str) -> ContentTemplate:
    content = pb2.TemplateContent(locale="de", email=pb2.EmailContent(subject=subject, html=html))
    pb = pb2.Template(
        kind=pb2.Template.KIND_EMAIL, contents=[content],
        families=[rule_service_pb2.Rule.FAMILY_SERVICE_REVIEW],
    )  # fmt: skip
    return template_from_proto(pb, "acme", "fuzzed")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(GRAMMAR, RAW, PIECES), st.one_of(OUTPUT, RAW, PIECES))
@example("{% for item in order.items %}{{ item.name }}{% endfor %}", "{{ order.reference }}")
def test_a_template_is_refused_or_renders_within_bounds(html: str, subject: str) -> None:
    """D1, C23: refused with its field, else a message that any parser reads, in time, or a failure
    that names no value."""
    started = time.perf_counter()
    try:
        subject.encode()
        html.encode()
    except UnicodeEncodeError:
        # Protobuf takes no such text; `checking` refuses it too, see the unit tests.
        return
    try:
        template = saved(subject, html)
    except (InvalidField, OutOfRange) as refusal:
        if not refusal.field.startswith("template.contents"):
            raise
        return
    finally:
        assert time.perf_counter() - started < 4 * RENDER_S_MAX
    assert template_from_proto(template_to_proto(template), "acme", "fuzzed") == template
    event = make_event(first_name="<script>", items=("A & B", "<i>"), tracking_url="javascript:x")
    event.attributes = {"a": {"b": ["<script>", 1, None, 2.5, True]}, "c": "<script>"}
    letter = make_letter(event=event, content=template)
    started = time.perf_counter()
    try:
        raw = Mail(unsubscribe_url=lambda _: "https://u.example/1").render(letter)
    except RenderingFailed as failure:
        if "<script>" in failure.message:
            raise
        return
    finally:
        assert time.perf_counter() - started < RENDER_S_MAX
    message = message_from_bytes(raw, policy=modern)
    assert not message.defects
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert {"From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe"} <= set(
        message.keys()
    )
    page = message.get_body(("html",))
    assert page is not None
    shown = str(page.get_content())
    assert "<script>" not in shown
    assert "https://u.example/1" in shown
