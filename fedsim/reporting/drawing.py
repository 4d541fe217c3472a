"""A figure that shows itself in a notebook, whatever the plotting backend."""

from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

from fedsim.reporting.style import styled, svg


class Drawing(Figure):
    """A matplotlib figure made without pyplot, drawn in the same style wherever it is saved."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw with fedsim's settings: ticks are made only now."""
        with styled():
            super().draw(renderer)

    def _repr_svg_(self) -> str:
        return svg(self)
