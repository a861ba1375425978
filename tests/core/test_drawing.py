"""Graphs as text, DOT, Mermaid and SVG."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloaca_django as cloaca
from cloaca_django.core import rules
from cloaca_django.core.drawing import (
    Node,
    Picture,
    of_definition,
    to_dot,
    to_mermaid,
    to_svg,
    to_text,
)
from cloaca_django.core.drawing.downward import plan_down
from cloaca_django.core.drawing.geometry import NODE_HEIGHT
from cloaca_django.core.drawing.layout import Spot, place
from cloaca_django.core.drawing.picture import in_words
from cloaca_django.core.states import TaskStatus

SVG = "{http://www.w3.org/2000/svg}"

diamond = Picture(
    "diamond",
    (Node("a"), Node("b", ("a",)), Node("c", ("a",)), Node("d", ("b", "c", "a"))),
    "version 1",
)


@st.composite
def graphs(draw):
    """A graph whose nodes come after what they depend on."""
    count = draw(st.integers(1, 25))
    return {
        f"n{at}": tuple(
            f"n{other}"
            for other in sorted(draw(st.sets(st.integers(0, at - 1), max_size=3)) if at else ())
        )
        for at in range(count)
    }


def texts(svg):
    return [
        "".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]


def test_text_lists_the_levels_and_what_each_task_waits_for():
    assert to_text(diamond).splitlines() == [
        "diamond  version 1",
        "",
        "  1  a",
        "  2  b  after a",
        "  2  c  after a",
        "  3  d  after b, c, a",
    ]


def test_text_aligns_states_and_details():
    picture = Picture(
        "w", (Node("a", state="Completed", detail="1.0 s"), Node("bb", ("a",), state="Failed"))
    )
    assert to_text(picture).splitlines()[2:] == [
        "  1  a   Completed           1.0 s",
        "  2  bb  Failed     after a",
    ]


def test_dot_quotes_names_so_that_none_ends_the_string():
    dot = to_dot(Picture('a "b" \\', (Node('x"; evil', detail="back\\slash"),)))
    assert dot.startswith('digraph "a \\"b\\" \\\\" {')
    assert '"x\\"; evil" [label="x\\"; evil\\nback\\\\slash"];' in dot


def test_mermaid_uses_ids_of_its_own_and_escapes_labels():
    mermaid = to_mermaid(Picture("w", (Node('end"] --> #<b>'), Node("b", ('end"] --> #<b>',)))))
    assert mermaid.splitlines() == [
        "flowchart LR",
        '  t0["end#quot;] --#gt; #35;#lt;b#gt;"]',
        '  t1["b"]',
        "  t0 --> t1",
    ]


def test_svg_is_well_formed_and_names_every_task():
    assert texts(to_svg(diamond)) == ["diamondversion 1", "a", "b", "c", "d"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a&b", 'q"q', "\x01\x02", "\ufffe"])
def test_svg_escapes_whatever_a_name_holds(name):
    svg = to_svg(Picture(name, (Node(name, detail=name, link=name),), name))
    root = ElementTree.fromstring(svg)
    assert root.find(f".//{SVG}script") is None
    assert texts(svg)[1] == re.sub("[\x01\x02\ufffe]", "\ufffd", name)


def test_svg_has_colours_for_a_light_and_a_dark_page():
    svg = to_svg(diamond)
    light, dark = svg.split("@media (prefers-color-scheme:dark)")
    assert "--paper:#ffffff" in light
    assert "--paper:#ffffff" not in dark


@pytest.mark.parametrize("scheme", ["_LIGHT", "_DARK"])
def test_every_ink_of_the_svg_has_contrast_enough_on_its_box(scheme):
    from cloaca_django.core.drawing import svg

    colours = getattr(svg, scheme)
    inks = set(colours) - {"paper", "box", "line"}
    assert {ink for ink in inks if contrast(colours[ink], colours["box"]) < 4.5} == set()
    assert contrast(colours["line"], colours["paper"]) > 2.5


def contrast(one, other):
    """The contrast of two colours as WCAG 2.2 defines it."""

    def luminance(colour):
        channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("state", TaskStatus.values)
def test_svg_says_each_state_in_words_and_gives_it_a_tone(state):
    svg = to_svg(Picture("w", (Node("a", state=state),)))
    assert texts(svg)[2] == state
    assert re.search(r'class="node tone-\w+"', svg)


def test_a_long_name_is_cut_in_its_box_and_whole_in_its_title():
    name = "n" * 255
    root = ElementTree.fromstring(to_svg(Picture("w", (Node(name),))))
    assert root.find(f".//{SVG}g/{SVG}title").text == name
    assert root.find(f".//{SVG}g/{SVG}text").text == "n" * 33 + "…"


def test_a_wide_script_gets_a_wide_box():
    wide, narrow = (
        ElementTree.fromstring(to_svg(Picture("w", (Node(name),)))).find(f".//{SVG}g/{SVG}rect")
        for name in ("作業" * 8, "ab" * 8)
    )
    assert float(wide.get("width")) > float(narrow.get("width"))


@given(graphs())
def test_neighbours_in_a_layer_keep_their_distance_and_edges_lead_rightwards(graph):
    layout = place(graph, node_gap=10, bend_gap=4)
    for layer in layout.layers:
        for one, other in pairwise(layer):
            gap = sum(4 if spot.is_bend else 10 for spot in (one, other)) / 2
            assert layout.heights[other] - layout.heights[one] >= gap - 1e-6
    assert set(layout.paths) == {(d, name) for name in graph for d in graph[name]}
    for (first, last), path in layout.paths.items():
        assert (path[0].name, path[-1].name) == (first, last)
        assert [spot.layer for spot in path] == list(range(path[0].layer, path[-1].layer + 1))
    assert min(layout.heights.values()) == 0


@given(graphs())
def test_a_picture_from_top_to_bottom_has_no_box_on_another_and_edges_lead_down(graph):
    found = plan_down(graph, dict.fromkeys(graph, 100.0))
    boxes = list(found.boxes.values())
    assert {box.name for box in boxes} == set(graph)
    for one in boxes:
        assert 0 <= one.x <= found.width - one.width
        assert 0 <= one.y <= found.height - NODE_HEIGHT
        for other in boxes:
            if one is not other and one.y == other.y:
                assert abs(one.x - other.x) >= one.width
    for edge in found.edges:
        assert found.boxes[edge.source].y < found.boxes[edge.target].y
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", edge.path)]
        assert all(0 <= number <= max(found.width, found.height) for number in numbers)


@given(graphs())
def test_the_same_graph_is_always_drawn_alike(graph):
    picture = Picture("w", tuple(Node(name, d) for name, d in graph.items()))
    assert to_svg(picture) == to_svg(picture)


def test_a_crossing_that_can_be_avoided_is_avoided():
    layout = place({"a": (), "b": (), "x": ("b",), "y": ("a",)})
    first, second = ([spot.name for spot in layer] for layer in layout.layers)
    assert [first, second] in ([["a", "b"], ["y", "x"]], [["b", "a"], ["x", "y"]])


def test_a_chain_is_drawn_as_one_straight_line():
    layout = place({"a": (), "b": ("a",), "c": ("b",)})
    assert set(layout.heights.values()) == {0.0}


def test_a_thousand_long_edges_are_drawn_straight_instead_of_bent():
    graph = {"root": ()} | {f"n{at}": (f"n{at - 1}" if at else "root", "root") for at in range(120)}
    layout = place(graph)
    assert not any(isinstance(s, Spot) and s.is_bend for layer in layout.layers for s in layer)


def test_a_definition_is_drawn_from_its_stored_text():
    with cloaca.WorkflowBuilder("drawn") as builder:

        @cloaca.task(id="first", timeout_seconds=5)
        def first(context):
            pass

        @cloaca.task(id="second", dependencies=[first], retry_attempts=7, atomic=True)
        def second(context):
            pass

        @cloaca.task(id="third", dependencies=[first], trigger_rules=cloaca.task_failed("first"))
        def third(context):
            pass

    workflow = builder.build()
    picture = of_definition(workflow.name, workflow.version, workflow.graph_text())
    assert picture.subtitle == f"version {workflow.version}"
    assert {node.name: node.detail for node in picture.nodes} == {
        "first": "at most 5 s",
        "second": "7 attempts, atomic",
        "third": "if first failed",
    }
    assert picture.graph["second"] == ("first",)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (rules.always(), "all have ended"),
        (rules.task_success("a"), "a completed"),
        (rules.task_skipped("a"), "a was skipped"),
        (
            rules.all_of(rules.task_success("a"), rules.any_of(rules.task_failed("b"))),
            "a completed and b failed",
        ),
        (
            rules.any_of(rules.task_success("a"), rules.task_failed("b")),
            "(a completed or b failed)",
        ),
        (rules.none_of(rules.task_success("a")), "not (a completed)"),
        (rules.all_of(), "always"),
        (rules.any_of(), "never"),
        (rules.context_value("n", ">", 3), "n is greater than 3"),
        (rules.context_value("n", "Exists"), "n exists"),
    ],
)
def test_a_rule_reads_as_a_condition(rule, words):
    assert in_words(rules.parse(rule, owner="test")) == words
