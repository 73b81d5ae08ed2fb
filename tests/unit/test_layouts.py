"""The language of layouts, and that what is committed is what its source says."""

from __future__ import annotations

import pytest

from senders.layouts import DATA, Layout
from tests.layouts import compile as compiler


def test_the_committed_pages_are_what_their_sources_compile_to() -> None:
    sources = compiler.sources()
    assert {path.suffix for path in DATA.iterdir()} == {".mjml", ".html"}
    assert len(list(DATA.iterdir())) == 2 * len(sources) > 0
    for source in sources:
        made = compiler.compiled(source.read_text(encoding="utf-8"))
        assert source.with_suffix(".html").read_text(encoding="utf-8") == made, "make templates"


@pytest.mark.parametrize(
    ("scope", "page"),
    [
        ({"name": "Anna"}, "<p>Anna</p>none"),
        ({"name": ""}, "<p></p>none"),
        ({"name": "Anna", "note": "!"}, "<p>Anna(!)</p>none"),
        ({"things": [{"thing": "a"}, {"thing": "b", "note": "x"}]}, "<p></p><i>a</i><i>b(x)</i>"),
        (
            {"name": "[[note]]", "note": "<!-- end:note -->"},
            "<p>[[note]](<!-- end:note -->)</p>none",
        ),
    ],
)
def test_blocks_are_shown_repeated_or_left_out(scope: dict[str, object], page: str) -> None:
    source = (
        "<p>[[name]]<!-- if:note -->([[note]])<!-- end:note --></p>"
        "<!-- each:things --><i>[[thing]]<!--if:note-->([[note]])<!--end:note--></i><!-- end:things -->"
        "<!-- unless:things -->none<!-- end:things -->"
    )
    assert Layout(source).page(scope) == page  # type: ignore[arg-type]


def test_values_and_other_comments_are_left_alone() -> None:
    source = "{{shop}}<!--[if mso]><td><![endif]--><!-- note -->"
    assert Layout(source).page({}) == source


@pytest.mark.parametrize(
    "source", ["<!-- if:a -->", "<!-- if:a --><!-- end:b -->", "<!-- end:a -->"]
)
def test_a_block_that_does_not_end_is_found_when_it_is_read(source: str) -> None:
    with pytest.raises(AssertionError):
        Layout(source)
