"""Where templates run: the library's engine with few tags, and a budget for each message.

Decides: which tags there are, and when a message has cost too much.
Never: what a filter does (`filters.py`), or whether a template is right (`checking.py`).

The library bounds single loops and single outputs, not their sum, and counts what is assigned anew at
every assignment; so all of it is counted here. A step is one output, tag, name or filter. What stands
in a loop is paid for when the loop begins, by its length; long texts are paid for by their length.

Units: steps of a few microseconds (`core.bounds.TEMPLATE_STEPS_MAX`); sizes in characters.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO

from liquid import Environment, Mode
from liquid.ast import Node
from liquid.builtin.content import Literal
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.illegal import Illegal
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.assign_tag import AssignTag
from liquid.builtin.tags.capture_tag import CaptureTag
from liquid.builtin.tags.case_tag import CaseTag
from liquid.builtin.tags.comment_tag import CommentTag
from liquid.builtin.tags.for_tag import BreakTag, ContinueTag, ForNode, ForTag
from liquid.builtin.tags.if_tag import IfTag
from liquid.builtin.tags.inline_comment_tag import InlineCommentTag
from liquid.builtin.tags.unless_tag import UnlessTag
from liquid.context import RenderContext
from liquid.exceptions import ResourceLimitError
from liquid.expression import Expression
from liquid.stringify import to_liquid_string
from liquid.template import BoundTemplate

from core import bounds
from senders.contents.filters import FILTERS, shown

TAGS: Final = (
    "if", "elsif", "else", "endif", "unless", "endunless", "case", "when", "endcase", "for", "break",
    "continue", "endfor", "assign", "capture", "endcapture", "comment", "endcomment", "#",
)  # fmt: skip
"""All words that may begin a tag."""

CONTAINS_STEPS: Final = 8


class Budget:
    """What one message may still cost."""

    __slots__ = ("_locals_chars", "_loops", "_output_chars", "_steps")

    def __init__(self) -> None:
        self._steps = bounds.TEMPLATE_STEPS_MAX
        self._loops = bounds.TEMPLATE_LOOPS_MAX
        self._locals_chars = bounds.TEMPLATE_LOCALS_CHARS_MAX
        self._output_chars = bounds.TEMPLATE_OUTPUT_CHARS_MAX

    def spend(self, steps: int) -> None:
        """Pay for steps."""
        self._steps -= steps
        if self._steps < 0:
            raise ResourceLimitError("the template takes too many steps", token=None)

    def enter_loop(self, length: int, weight: int) -> None:
        """Pay for all rounds of a loop."""
        self._loops -= length
        if self._loops < 0:
            raise ResourceLimitError(
                f"loops go around more than {bounds.TEMPLATE_LOOPS_MAX} times in all", token=None
            )
        self.spend(length * weight)

    def write(self, text: str) -> None:
        """Pay for a text that is written."""
        size = len(text)
        self._output_chars -= size
        if self._output_chars < 0:
            raise ResourceLimitError("the message is too long", token=None)
        self.spend(size // bounds.TEMPLATE_STEP_CHARS)

    def keep(self, value: object) -> None:
        """Pay for a value that is assigned or captured."""
        if isinstance(value, str):
            if len(value) > bounds.TEMPLATE_VALUE_CHARS_MAX:
                raise ResourceLimitError("a variable of the template is too long", token=None)
            self._locals_chars -= len(value)
            if self._locals_chars < 0:
                raise ResourceLimitError("the template keeps too much text", token=None)


class Buffer(io.StringIO):
    """Where a template writes to."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def write(self, text: str) -> int:
        """Write, and pay for it."""
        self._budget.write(text)
        return super().write(text)


class Context(RenderContext):
    """What the library runs a message's templates in."""

    def __init__(
        self, template: BoundTemplate, values: Mapping[str, object], budget: Budget, locale: str
    ) -> None:
        super().__init__(template, globals=values)
        self.budget = budget
        self.locale = locale
        self.weights: list[int] = []
        """Of the loops that were begun, innermost last."""

    def assign(self, key: str, val: Any) -> None:
        """Keep a value."""
        self.budget.keep(val)
        self.locals[key] = val

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Pay for a loop; the library asks when it begins."""
        self.budget.enter_loop(length, self.weights[-1])

    def get_buffer(self, buf: TextIO | None = None) -> io.StringIO:
        """Return where a capture goes."""
        del buf
        return Buffer(self.budget)


def weight_of(node: Node) -> int:
    """Return what running a node costs, but for the rounds of loops in it."""
    total = 1 + sum(_expression_weight(each) for each in node.expressions())
    if isinstance(node, ForNode):
        return total + (weight_of(node.default) if node.default is not None else 0)
    return total + sum(weight_of(child) for child in children_of(node))


def children_of(node: Node) -> Iterable[Node]:
    """Return the nodes below a node."""
    return node.children(None, include_partials=False)  # type: ignore[arg-type]


def _expression_weight(expression: Expression) -> int:
    if isinstance(expression, Path):
        own = len(expression.path)
    elif isinstance(expression, FilteredExpression):
        own = 1 + 2 * len(expression.filters or ())
    elif type(expression).__name__ == "ContainsExpression":
        own = CONTAINS_STEPS
    else:
        own = 1
    return own + sum(_expression_weight(child) for child in expression.children())


class _BoundedFor(ForNode):
    """A loop that is paid for when it begins."""

    __slots__ = ("weight",)

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.weight = weight_of(self.block)

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Go around."""
        assert isinstance(context, Context)
        several = self.expression.iterable.evaluate(context)
        if isinstance(several, range) and several.stop - several.start > bounds.TEMPLATE_LOOPS_MAX:
            # Asked before: the library turns a range around by making a list of it.
            raise ResourceLimitError("the range of a loop is too long", token=self.token)
        context.weights.append(self.weight)
        try:
            return super().render_to_output(context, buffer)
        finally:
            context.weights.pop()


class _BoundedForTag(ForTag):
    node_class = _BoundedFor


class _Shown(OutputNode):
    """An output; a list shows its values, and nil as nothing."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write the value."""
        value = shown(self.expression.evaluate(context))
        return buffer.write(to_liquid_string(value, context.autoescape))


class _ShownOutput(Output):
    node_class = _Shown


class Sandbox(Environment):
    """The library's engine with the tags and filters that templates may use, and no files."""

    block_nesting_limit = bounds.TEMPLATE_NESTING_MAX
    loop_iteration_limit = bounds.TEMPLATE_LOOPS_MAX
    output_stream_limit = bounds.TEMPLATE_OUTPUT_CHARS_MAX

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register them."""
        del extra
        for tag in (
            Literal, _ShownOutput, AssignTag, CaptureTag, CaseTag, CommentTag, _BoundedForTag, BreakTag,
            ContinueTag, IfTag, Illegal, InlineCommentTag, UnlessTag,
        ):  # fmt: skip
            self.add_tag(tag)
        for name, function in FILTERS.items():
            self.add_filter(name, function)


def _made(*, autoescape: bool) -> Sandbox:
    return Sandbox(tolerance=Mode.STRICT, strict_filters=True, autoescape=autoescape)


HTML: Final = _made(autoescape=True)
"""For HTML: every value is escaped."""
PLAIN: Final = _made(autoescape=False)
"""For all else."""
