"""Pictures as SVG, made without a browser: readable on a light and on a dark page."""

from __future__ import annotations

from html import escape
from unicodedata import east_asian_width

from cloaca_django.core.drawing.geometry import MARGIN, NODE_HEIGHT, Box, plan
from cloaca_django.core.drawing.picture import Node, Picture
from cloaca_django.core.states import TaskStatus

HEADING = 40.0
LETTER = 7.3  # how wide a letter of the 13 px font is, on the safe side
SMALL = 6.2
MAX_LETTERS = 34

# Ink on paper, twice: each pair has a contrast above 4.5 to 1 in its own scheme.
_LIGHT = {
    "paper": "#ffffff", "ink": "#1c2733", "faint": "#5b6672", "line": "#8a95a1",
    "box": "#f6f8fa", "run": "#0b5fc4", "good": "#1a7334", "bad": "#c0251b", "wait": "#8a5a00",
    "off": "#626b76",
}  # fmt: skip
_DARK = {
    "paper": "#12181f", "ink": "#e6ebf0", "faint": "#a3afbb", "line": "#6d7985",
    "box": "#1d2630", "run": "#6fb1ff", "good": "#5fcf80", "bad": "#ff8b80", "wait": "#f0c05a",
    "off": "#9aa5b1",
}  # fmt: skip
_TONES = {
    TaskStatus.RUNNING: "run",
    TaskStatus.COMPLETED: "good",
    TaskStatus.FAILED: "bad",
    TaskStatus.SCHEDULED: "wait",
    TaskStatus.HELD: "wait",
    TaskStatus.READY: "wait",
    TaskStatus.SKIPPED: "off",
    TaskStatus.CANCELLED: "off",
    TaskStatus.PENDING: "off",
}


def to_svg(picture: Picture) -> str:
    """Return a whole SVG document. Every name in it is escaped."""
    nodes = {node.name: node for node in picture.nodes}
    widths = {name: _width(node) for name, node in nodes.items()}
    drawn = plan(picture.graph, widths, top=HEADING)
    title = LETTER * letters(f"{picture.title}  {picture.subtitle}")
    width, height = max(drawn.width, 2 * MARGIN + title), drawn.height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cloaca-graph" role="img"'
        f' width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' aria-label="{_safe(_summary(picture))}">',
        f"<title>{_safe(_summary(picture))}</title>",
        _style(),
        '<rect class="paper" width="100%" height="100%"/>',
        f'<text class="title" x="{MARGIN:.0f}" y="30">{_safe(picture.title)}'
        f'<tspan class="detail" dx="12">{_safe(picture.subtitle)}</tspan></text>',
        *(
            f'<path class="edge" d="{edge.path}"/><path class="head" d="{edge.head}"/>'
            for edge in drawn.edges
        ),
        *(_node(box, nodes[name]) for name, box in drawn.boxes.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _summary(picture: Picture) -> str:
    return f"Workflow {picture.title}: {len(picture.nodes)} tasks"


def _width(node: Node) -> float:
    name = LETTER * min(MAX_LETTERS, letters(node.name))
    words = SMALL * min(MAX_LETTERS, letters(_words(node)))
    return max(name, words, 60.0) + 28.0


def _node(box: Box, node: Node) -> str:
    """Draw a box: the name, and below it the state in words, never by colour alone."""
    tone = f" tone-{_TONES[TaskStatus(node.state)]}" if node.state else ""
    words = _words(node)
    middle = box.y + (18 if words else 27)
    parts = [
        f'<g class="node{tone}">',
        f"<title>{_safe(': '.join(part for part in (node.name, words) if part))}</title>",
        f'<rect class="box" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}"'
        f' height="{NODE_HEIGHT:.1f}" rx="6"/>',
        f'<rect class="mark" x="{box.x:.1f}" y="{box.y + 6:.1f}" width="4"'
        f' height="{NODE_HEIGHT - 12:.1f}" rx="2"/>',
        f'<text class="name" x="{box.x + 14:.1f}" y="{middle:.1f}">{_safe(cut(node.name))}</text>',
    ]
    if words:
        text = _safe(cut(words))
        parts.append(
            f'<text class="detail" x="{box.x + 14:.1f}" y="{box.y + 35:.1f}">{text}</text>'
        )
    parts.append("</g>")
    drawn = "".join(parts)
    return f'<a href="{_safe(node.link)}">{drawn}</a>' if node.link else drawn


def _words(node: Node) -> str:
    return ", ".join(part for part in (node.state, node.detail) if part)


def _style() -> str:
    """Return the colours as custom properties, so that a page may set its own."""
    light = "".join(f"--{name}:{value};" for name, value in _LIGHT.items())
    dark = "".join(f"--{name}:{value};" for name, value in _DARK.items())
    rules = [
        f".cloaca-graph{{{light}font-family:system-ui,sans-serif}}",
        f"@media (prefers-color-scheme:dark){{.cloaca-graph{{{dark}}}}}",
        ".cloaca-graph .paper{fill:var(--paper)}",
        ".cloaca-graph .title{font-size:15px;font-weight:600;fill:var(--ink)}",
        ".cloaca-graph .name{font-size:13px;fill:var(--ink)}",
        ".cloaca-graph .detail{font-size:11px;font-weight:400;fill:var(--faint)}",
        ".cloaca-graph .box{fill:var(--box);stroke:var(--line)}",
        ".cloaca-graph .mark{fill:none}",
        ".cloaca-graph .edge{fill:none;stroke:var(--line);stroke-width:1.4}",
        ".cloaca-graph .head{fill:var(--line)}",
        *(
            f".cloaca-graph .tone-{tone} .mark{{fill:var(--{tone})}}"
            f".cloaca-graph .tone-{tone} .box{{stroke:var(--{tone})}}"
            f".cloaca-graph .tone-{tone} .detail{{fill:var(--{tone})}}"
            for tone in sorted(set(_TONES.values()))
        ),
    ]
    return f"<style>{''.join(rules)}</style>"


def letters(text: str) -> int:
    """Count how many letters wide a text is; East Asian ones are twice as wide."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def cut(text: str) -> str:
    """Return a text that fits into a box."""
    if letters(text) <= MAX_LETTERS:
        return text
    kept = text
    while letters(kept) > MAX_LETTERS - 1:
        kept = kept[:-1]
    return f"{kept}…"


def _safe(text: str) -> str:
    """Escape a text for XML, which has no place at all for most control characters."""
    return escape("".join(letter if _is_allowed(letter) else "\ufffd" for letter in text))


def _is_allowed(letter: str) -> bool:
    code = ord(letter)
    return code in (9, 10, 13) or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
