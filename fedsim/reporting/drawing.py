"""A figure that shows itself in a notebook, whatever the plotting backend."""

from matplotlib.figure import Figure

from fedsim.reporting.style import svg


class Drawing(Figure):
    """A matplotlib figure made without pyplot."""

    def _repr_svg_(self) -> str:
        return svg(self)
