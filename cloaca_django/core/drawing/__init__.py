"""Graphs as pictures: plain text, DOT, Mermaid, and SVG with a layered layout of our own."""

from cloaca_django.core.drawing.notation import to_dot, to_mermaid, to_text
from cloaca_django.core.drawing.picture import Node, Picture, of_definition
from cloaca_django.core.drawing.svg import to_svg

__all__ = ["Node", "Picture", "of_definition", "to_dot", "to_mermaid", "to_svg", "to_text"]
