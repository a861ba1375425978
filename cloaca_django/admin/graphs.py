"""A graph as numbers and words for a template, which paints and escapes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cloaca_django.admin import vocabulary
from cloaca_django.admin.choices import query_with
from cloaca_django.admin.vocabulary import Text
from cloaca_django.core import graph
from cloaca_django.core.drawing.downward import plan_down
from cloaca_django.core.drawing.geometry import NODE_HEIGHT, Plan, plan
from cloaca_django.core.drawing.svg import LETTER, MAX_LETTERS, cut, letters
from cloaca_django.core.states import TASK_FINAL, TaskStatus

MAX_NODES = 300
# A graph of so many layers is turned on a narrow page, unless it is so large that it weighs.
LONG = 7
MAX_TURNED = 60
MAX_SHRUNK = 1_100
DOWN = "down"
WORDS_WIDTH = 148.0
_GONE = TASK_FINAL - {TaskStatus.FAILED}


@dataclass(frozen=True, slots=True)
class Node:
    """One task to draw. ``status`` is empty outside a run; ``words`` are a few more words."""

    name: str
    dependencies: tuple[str, ...]
    status: str = ""
    words: str = ""
    link: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A box as the template paints it."""

    x: str
    y: str
    width: str
    name: str
    words: str
    title: str
    link: str
    tone: str
    is_pending: bool
    text_x: str
    name_y: str
    words_y: str


@dataclass(frozen=True, slots=True)
class Line:
    """An edge as the template paints it: coloured like the task it leads to."""

    path: str
    head: str
    tone: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole graph. ``is_collapsed`` says that each box is a layer of tasks."""

    width: str
    height: str
    node_height: str
    shapes: Sequence[Shape]
    lines: Sequence[Line]
    label: str
    is_collapsed: bool

    @property
    def fits(self) -> bool:
        """Whether it may be shown a little smaller where that lets it fit, and be read still."""
        return float(self.width) <= MAX_SHRUNK


@dataclass(frozen=True, slots=True)
class Toggle:
    """A link that shows the same graph in another way. ``query`` keeps what else was asked for."""

    label: Text
    query: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph as it was asked for. ``narrow`` is drawn in its place where the page is narrow."""

    wide: Drawing | None
    narrow: Drawing | None
    directions: Sequence[Toggle]
    finished: Toggle | None = None


def shown(
    nodes: Sequence[Node], request: HttpRequest, *, label: str, finished: Toggle | None = None
) -> Graph:
    """Draw tasks as the reader wishes: from left to right, or from top to bottom."""
    asked = request.GET.get("graph", "")
    directions = [
        Toggle(text, query_with(request, "graph", value), (asked == DOWN) == (value == DOWN))
        for text, value in ((_("→ left to right"), "right"), (_("↓ top down"), DOWN))
    ]
    if not nodes:
        return Graph(None, None, directions, finished)
    wide = draw(nodes, label=label, is_down=asked == DOWN)
    narrow = None
    if asked not in {DOWN, "right"} and len(nodes) <= MAX_TURNED:
        levels = graph.levels({node.name: node.dependencies for node in nodes})
        narrow = draw(nodes, label=label, is_down=True) if len(levels) >= LONG else None
    return Graph(wide, narrow, directions, finished)


def without_finished(
    nodes: Sequence[Node], request: HttpRequest
) -> tuple[Sequence[Node], Toggle | None]:
    """Leave out what has ended well, if that is asked for, and offer it where there is any."""
    is_asked = request.GET.get("finished") == "hide"
    open_ones = {node.name for node in nodes if node.status not in _GONE}
    if len(open_ones) == len(nodes) or not (open_ones or is_asked):
        return nodes, None
    value = "" if is_asked else "hide"
    toggle = Toggle(_("hide what is finished"), query_with(request, "finished", value), is_asked)
    if not is_asked:
        return nodes, toggle
    return [
        replace(node, dependencies=tuple(n for n in node.dependencies if n in open_ones))
        for node in nodes if node.name in open_ones
    ], toggle  # fmt: skip


def draw(nodes: Sequence[Node], *, label: str, is_down: bool = False) -> Drawing:
    """Draw tasks, in topological order; of more than ``MAX_NODES`` only the layers."""
    is_collapsed = len(nodes) > MAX_NODES
    drawn = _layers(nodes) if is_collapsed else nodes
    where = _plan(tuple((node.name, node.dependencies) for node in drawn), is_down)
    by_name = {node.name: node for node in drawn}
    return Drawing(
        width=f"{where.width:.0f}",
        height=f"{where.height:.0f}",
        node_height=f"{NODE_HEIGHT:.0f}",
        shapes=[_shape(by_name[name], where) for name in where.boxes],
        lines=[Line(e.path, e.head, _tone(by_name[e.target])) for e in where.edges],
        label=label,
        is_collapsed=is_collapsed,
    )


# A run's graph stays the same while its statuses change, and is drawn every two seconds.
@lru_cache(maxsize=64)
def _plan(edges: tuple[tuple[str, tuple[str, ...]], ...], is_down: bool) -> Plan:
    widths = {
        name: max(WORDS_WIDTH, LETTER * min(MAX_LETTERS, letters(name)) + 28) for name, _ in edges
    }
    return (plan_down if is_down else plan)(dict(edges), widths)


def _shape(node: Node, where: Plan) -> Shape:
    box = where.boxes[node.name]
    words = node.words
    return Shape(
        x=f"{box.x:.1f}", y=f"{box.y:.1f}", width=f"{box.width:.1f}",
        name=cut(node.name), words=cut(words), title=node.title or node.name, link=node.link,
        tone=_tone(node), is_pending=node.status == TaskStatus.PENDING,
        text_x=f"{box.x + 14:.1f}", name_y=f"{box.y + (18 if words else 27):.1f}",
        words_y=f"{box.y + 35:.1f}",
    )  # fmt: skip


def _tone(node: Node) -> str:
    return vocabulary.word(node.status).tone if node.status else "plain"


def _layers(nodes: Sequence[Node]) -> Sequence[Node]:
    """Return one node per layer, with how many of its tasks are in which state."""
    by_name = {node.name: node for node in nodes}
    levels = graph.levels({node.name: node.dependencies for node in nodes})
    found: list[Node] = []
    for at, level in enumerate(levels, 1):
        counts = Counter(by_name[name].status for name in level)
        found.append(
            Node(
                _("layer %(number)d: %(tasks)s") % {"number": at, "tasks": _tasks(len(level))},
                (found[-1].name,) if found else (),
                status=_worst(counts),
                words=vocabulary.counts_in_words(counts),
                title=", ".join(level[:20]),
            )
        )
    return found


def _tasks(count: int) -> str:
    return ngettext("%d task", "%d tasks", count) % count


def _worst(counts: Mapping[str, int]) -> str:
    """Return the state that a reader should see first."""
    return next((status for status in vocabulary.READING_ORDER if counts.get(status)), "")
