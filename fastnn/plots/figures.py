"""What all pictures share: the Axes to draw in, colours for light and dark backgrounds, legends."""

from typing import NamedTuple

import numpy as np

# M. Okabe and K. Ito, "Color Universal Design: how to make figures and presentations that are friendly to colorblind
# people", 2008; grey is in the place of their black, which nobody sees on a dark background.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, YELLOW, GREY = "#56B4E9", "#E69F00", "#F0E442", "#999999"
_ON_LIGHT = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, GREY, YELLOW)  # the best to see first
_ON_DARK = (SKY, VERMILLION, GREEN, YELLOW, PURPLE, ORANGE, GREY, BLUE)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # so that classes differ without colours, too
_PANEL = 0.5, 0.6  # width and height of one of several panels, in those of a default figure
_PANELS_A_ROW = 4
_DOT_OF_LEGEND = 28.0  # its least area, square points
_WIDE = 3.5  # inches
_MOST_FOR_BEST = 5000  # points that a legend keeps out of the way of; with many more matplotlib warns that this is slow


# --- Axes ---------------------------------------------------------------------------------------------------------


def require_matplotlib():
    """Raise an ImportError that says what to do if matplotlib cannot be imported."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"fastnn.plots needs matplotlib, which cannot be imported ({error}); install it: pip install matplotlib"
        ) from error


def one(ax, size=(1.0, 1.0)):
    """The Axes to draw in: `ax`, or that of a new figure; `size` is a factor on its default width and height."""
    require_matplotlib()
    if ax is None:
        return _new_figure(size).subplots()
    return _checked(ax, "ax")


def several(ax, count, each, beside=0.0):
    """An array of `count` Axes: those given as `ax`, or those of a new figure.

    `each` says what one panel is for; `beside` is the width of a legend to the right of the last one, in panels.
    """
    require_matplotlib()
    if ax is None:
        rows = -(-count // _PANELS_A_ROW)
        columns = -(-count // rows)
        size = (1.0 + beside * _PANEL[0], 1.0)
        if count > 1:
            size = (max(1.0, (columns + beside) * _PANEL[0]), rows * _PANEL[1])
        figure = _new_figure(size)
        grid = figure.add_gridspec(rows, columns)
        return np.array([figure.add_subplot(grid[i // columns, i % columns]) for i in range(count)])
    given = np.ravel(np.asarray(ax, dtype=object))
    if len(given) != count:
        raise ValueError(f"ax has {len(given)} Axes, wanted {count}: one for each {each}")
    return np.array([_checked(one, f"ax[{i}]" if count > 1 else "ax") for i, one in enumerate(given)])


def _new_figure(size):
    import matplotlib.pyplot as plt

    width, height = plt.rcParams["figure.figsize"]
    return plt.figure(figsize=(width * size[0], height * size[1]), layout="constrained")


def _checked(ax, name):
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    if isinstance(ax, np.ndarray) and ax.size == 1:
        ax = ax.item()
    if not isinstance(ax, Axes):
        told = ": write figure.subplots()" if isinstance(ax, FigureBase) else ""
        raise TypeError(f"{name} must be a matplotlib Axes, got {type(ax).__name__} {ax!r:.60}{told}")
    return ax


# --- colours ------------------------------------------------------------------------------------------------------


class Theme(NamedTuple):
    """The colours of an Axes, RGB: of its texts, of what is behind it, and one between them."""

    text: tuple
    back: tuple
    muted: tuple

    @property
    def is_dark(self):
        """Whether light is drawn on dark."""
        return luminance(self.text) > luminance(self.back)


def theme(ax):
    """The :class:`Theme` of an Axes. From the Axes, because the style may be another one than when it was made."""
    from matplotlib.colors import to_rgb, to_rgba

    text = to_rgb(ax.title.get_color())
    # What is transparent lies on a page that we do not know, but for which the colour of the text was chosen.
    back = (0.0, 0.0, 0.0) if luminance(text) > 0.5 else (1.0, 1.0, 1.0)
    figure = ax.get_figure()
    for drawn in (figure.canvas.figure, figure, ax):  # a part of a figure lies on the whole one
        *rgb, alpha = to_rgba(drawn.get_facecolor())
        back = mixed(back, rgb, alpha)
    return Theme(text, back, mixed(back, text, 0.55))


def mixed(one, other, share):
    """The RGB colour that has so large a share of the other one."""
    return tuple(float(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def luminance(rgb):
    """The relative luminance of an RGB colour, 0 to 1: W3C, Web Content Accessibility Guidelines 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def readable_on(rgb):
    """White where its contrast to a colour is at least 3.5, by the same guidelines, else black."""
    return "white" if 1.05 / (luminance(rgb) + 0.05) >= 3.5 else "black"


def main_colour(ax):
    """The colour of what a picture is about, where it is one thing."""
    return categories(ax, 1)[0]


def categories(ax, count):
    """Colours for things in no order, such as classes: Okabe and Ito's, or where there are too many a ramp."""
    colours = _ON_DARK if theme(ax).is_dark else _ON_LIGHT
    return list(colours[:count]) if count <= len(colours) else ramp(ax, count)


def ramp(ax, count):
    """Colours for things in an order, such as layers: viridis without its end that is like the background."""
    import matplotlib

    low, high = (0.42, 1.0) if theme(ax).is_dark else (0.0, 0.78)
    return [tuple(rgba[:3]) for rgba in matplotlib.colormaps["viridis"](np.linspace(low, high, count))]


def signed(ax):
    """A colour map for numbers around 0: blue below, vermillion above; 0 is like the background."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("fastnn signed", [main_colour(ax), theme(ax).back, VERMILLION])


def amount(ax):
    """A colour map for numbers of at least 0, which is like the background."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("fastnn amount", [theme(ax).back, main_colour(ax)])


# --- texts --------------------------------------------------------------------------------------------------------


def legend(ax, outside=False, points=0, corner="upper left", **more):
    """A legend in the colours of the Axes, at the best place, or in a `corner` if there are too many points for that.

    `outside`: to the right of the Axes, because it would cover what is drawn.
    """
    here = theme(ax)
    if points > _MOST_FOR_BEST:
        more["loc"] = corner
    if outside:
        more |= {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    made = ax.legend(labelcolor=here.text, facecolor=here.back, edgecolor=here.muted, **more)
    for handle in made.legend_handles:
        if hasattr(handle, "set_sizes"):  # dots of many samples are too small and pale to tell the entries apart
            handle.set_sizes(np.maximum(handle.get_sizes(), _DOT_OF_LEGEND))
            handle.set_alpha(1.0)
    return made


def has_room_beside(ax):
    """Whether a legend to the right of an Axes that was given stays clear of what is there, and leaves enough of it."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = ax.get_figure()
    wide = ax.get_window_extent().width / figure.dpi > _WIDE
    return wide and isinstance(figure.canvas.figure.get_layout_engine(), ConstrainedLayoutEngine)


def colorbar(ax, image, label):
    """A colour bar beside the Axes, in its colours."""
    here = theme(ax)
    bar = ax.get_figure().colorbar(image, ax=ax)
    bar.set_label(label, color=here.text)
    bar.ax.tick_params(color=here.text, labelcolor=here.text)
    bar.outline.set_edgecolor(here.muted)
    return bar


def whole_epochs(ax):
    """Ticks of the x-axis at whole epochs, and its label."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")


def dots(m):
    """Area in square points, and opacity, of the dots of m samples: small and transparent where they are many."""
    return float(np.clip(9000 / m, 6, 28)), float(np.clip(400 / m, 0.15, 0.85))
