"""Shops' own templates: rendering against the usual way, and against the library alone.

Run: `AFTERWORD_BENCH_N=2_000 python -m pytest bench/bench_templates.py -s`
Smoke: `AFTERWORD_BENCH_N=50 python -m pytest bench/bench_templates.py --benchmark-disable`

Units: messages a second, on one core. The usual way parses the template anew for each message, renders
it and makes an `email.message.EmailMessage` of it; the library alone renders a template that was parsed
before, and makes no message. All of them in the same run, taking turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP

from liquid import Environment

from bench.bench_senders import LETTER_COUNT, SENDER, compare, make_letters
from core.model import Family, Medium, Money
from core.registry.contents import Content, ContentTemplate, EmailParts
from core.sending import Letter
from senders.contents.messages import Mail, compiled_mail, text_source
from senders.contents.values import Scene

STYLE = "".join(
    f'<tr><td style="padding:{n}px;font-family:Arial,sans-serif;color:#333333">Words {n}</td></tr>\n'
    for n in range(60)
)
LOOP = (
    "<p>Hello {{ contact.first_name }},</p>"
    "<ul>{% for item in order.items %}<li>{{ item.name }} {{ item.price.amount }}</li>{% endfor %}</ul>"
    '{% if shipment.tracking_url %}<a href="{{ shipment.tracking_url }}">Parcel</a>{% endif %}'
)
PLAIN = (
    "<p>Hello {{ contact.first_name }}, your order {{ order.reference }} at {{ shop.name }}.</p>"
)


def template_of(words: str) -> ContentTemplate:
    page = f"<html><body><table>{STYLE}</table>{words}<p>{{{{ shop.name }}}}</p></body></html>"
    parts = EmailParts(subject="Order {{ order.reference }}", html=page)
    return ContentTemplate(
        account="acme", id="ours", medium=Medium.EMAIL, families=(Family.SERVICE_REVIEW,),
        contents=(Content("en", parts),), default_locale="en",
    )  # fmt: skip


def letters_with(template: ContentTemplate) -> list[Letter]:
    letters = make_letters(LETTER_COUNT)
    for letter in letters:
        letter.content = template
        for item in letter.event.order.items if letter.event.order is not None else ():
            item.price = Money("EUR", 12, 500_000_000)
    return letters


def the_usual_way(template: ContentTemplate) -> Callable[[Letter], bytes]:
    parts = template.contents[0].parts
    assert isinstance(parts, EmailParts)
    text, environment = (
        text_source(parts).replace("{{ _unsubscribe }}", ""),
        Environment(autoescape=True),
    )
    roots = compiled_mail(template.contents[0]).roots

    def made(letter: Letter) -> bytes:
        values = Scene(letter, "en", "").values(roots)
        message = EmailMessage(policy=SMTP)
        message["From"] = f"{SENDER.display_name} <{SENDER.address}>"
        message["To"] = letter.address
        message["Subject"] = environment.from_string(parts.subject).render(**values)
        message.set_content(environment.from_string(text).render(**values))
        message.add_alternative(
            environment.from_string(parts.html).render(**values), subtype="html"
        )
        return message.as_bytes()

    return made


def the_library_alone(template: ContentTemplate) -> Callable[[Letter], int]:
    parts = template.contents[0].parts
    assert isinstance(parts, EmailParts)
    environment = Environment(autoescape=True)
    text = text_source(parts).replace("{{ _unsubscribe }}", "")
    parsed = [environment.from_string(each) for each in (parts.subject, text, parts.html)]
    roots = compiled_mail(template.contents[0]).roots

    def rendered(letter: Letter) -> int:
        values = Scene(letter, "en", "").values(roots)
        return sum(len(each.render(**values)) for each in parsed)

    return rendered


def measure(name: str, words: str) -> tuple[float, float]:
    template = template_of(words)
    letters = letters_with(template)
    few = letters[: max(1, LETTER_COUNT // 10)]
    render, usual, library = Mail().render, the_usual_way(template), the_library_alone(template)
    ours, theirs = compare(
        lambda: [render(each) for each in letters], len(letters),
        lambda: [usual(each) for each in few], len(few),
    )  # fmt: skip
    again, alone = compare(
        lambda: [render(each) for each in letters], len(letters),
        lambda: [library(each) for each in letters], len(letters),
    )  # fmt: skip
    sys.stdout.write(
        f"\n{name}: {ours:,.0f}/s ({len(render(letters[0])):,} bytes), {ours / theirs:.1f} times the "
        f"usual way ({theirs:,.0f}/s), {again / alone:.2f} times the library alone ({alone:,.0f}/s)\n"
    )
    return ours / theirs, again / alone


def test_a_template_with_a_loop_and_a_condition() -> None:
    against_usual, _ = measure("loop over two items and a condition", LOOP)
    assert against_usual > 1


def test_a_template_without_tags() -> None:
    against_usual, _ = measure("no tags", PLAIN)
    assert against_usual > 1
