"""Figures of a cohort. Every session is a point; many points are drawn as a picture inside the SVG, so that files stay small."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..markers import MARKERS, Marker
from ..records import NotAssessed
from .statistics import VOLUME_OFFSET_ML, bland_altman, split

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .agreement import Pair
    from .sheet import Numbers
    from .table import Cohort
    from .visual import Graded

DPI = 150
PANEL_INCHES = (3.6, 3.2)
MANY_POINTS = 2000
"""From here on points are a picture in the SVG too."""
SPREAD = 0.16
"""Half-width over which the points of a box are spread, in boxes' distances."""
STYLE: Any = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "svg.hashsalt": "smallvessel",
    "figure.dpi": DPI,
}
GREY = "#5F6B76"
SIGNS = "os^Dvp*X"
"""Shapes of the groups' points."""


def render(figure: Figure) -> tuple[bytes, bytes]:
    """A figure as SVG and as PNG; the same figure gives the same bytes."""
    import matplotlib as mpl

    pictures = []
    with mpl.rc_context(STYLE):
        for kind, nameless in (("svg", {"Date": None}), ("png", {"Software": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=DPI, metadata=nameless)
            pictures.append(stream.getvalue())
            figure.set_layout_engine("none")  # the second picture keeps the places of the first, which take long to find
    return pictures[0], pictures[1]


def draw_dice(dice: Mapping[Marker, Mapping[str, NDArray[np.float64]]]) -> Figure:
    """Dice per marker, a box per group."""
    with _panels(len(dice)) as (figure, panels):
        for panel, (marker, samples) in zip(panels, dice.items(), strict=True):
            _boxes(panel, samples, MARKERS[marker].colour)
            panel.set(title=str(marker), ylabel="Dice", ylim=(-0.03, 1.03))
        return figure


def draw_grades(graded: Sequence[Graded]) -> Figure:
    """Volumes by grade, a panel per scale and measure."""
    from .visual import measure_name

    with _panels(len(graded)) as (figure, panels):
        for panel, one in zip(panels, graded, strict=True):
            colour = MARKERS[one.grade.marker].colour if one.grade.marker else GREY
            _boxes(panel, one.samples, colour)
            panel.set(title=one.grade.name, xlabel="grade", ylabel=f"{measure_name(one.measure)}, mL")
        return figure


def draw_burden(scores: Mapping[str, Numbers], burden: Numbers, cohort: Cohort) -> Figure:
    """Z scores by total burden score, a panel per part of the z."""
    colours = {str(marker): info.colour for marker, info in MARKERS.items()}
    with _panels(max(len(scores), 1)) as (figure, panels):
        for panel, (name, z) in zip(panels, scores.items(), strict=False):
            known = ~np.isnan(z) & ~np.isnan(burden)
            _boxes(panel, split(z[known], burden[known]), colours.get(name, GREY))
            panel.axhline(0, color=GREY, linewidth=0.6, linestyle=":")
            panel.set(title=f"z, {name}", xlabel="total burden score", ylabel="z")
        return figure


def draw_agreement(pairs: Sequence[Pair], cohort: Cohort) -> Figure:
    """Measured against reference, differences, and for volumes differences of logs, of one marker."""
    panels_of = {"volume_ml": 3, "count": 2}
    with _panels(sum(panels_of[pair.kind] for pair in pairs)) as (figure, panels):
        left = list(panels)
        for pair in pairs:
            unit = "mL" if pair.kind == "volume_ml" else "count"
            measured, reference = pair.measured[pair.known], pair.reference[pair.known]
            groups = np.array(cohort.groups, dtype=object)[pair.known]
            colour = MARKERS[pair.marker].colour
            _identity(left.pop(0), measured, reference, groups, colour, unit, pair.source)
            _differences(left.pop(0), measured, reference, groups, colour, unit, f"difference, {unit}")
            if pair.kind == "volume_ml":
                logs = [np.log(values + VOLUME_OFFSET_ML) for values in (measured, reference)]
                _differences(left.pop(0), logs[0], logs[1], groups, colour, f"log(mL + {VOLUME_OFFSET_ML:g})", "difference of logs")
        return figure


@contextmanager
def _panels(count: int) -> Iterator[tuple[Figure, list[Axes]]]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(count, 3)
    down = math.ceil(count / across)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PANEL_INCHES[0] * across, PANEL_INCHES[1] * down), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, [figure.add_subplot(down, across, at + 1) for at in range(count)]


def _boxes(panel: Axes, samples: Mapping[str, NDArray[np.float64]], colour: str) -> None:
    rng = np.random.default_rng(0)
    n = sum(map(len, samples.values()))
    for at, sample in enumerate(samples.values()):
        across = at + rng.uniform(-SPREAD, SPREAD, len(sample))
        panel.scatter(across, sample, s=_point_size(n), color=colour, alpha=0.55, linewidths=0, rasterized=n > MANY_POINTS)
    labels = [f"{name}\nn={len(sample)}" for name, sample in samples.items()]
    panel.boxplot(
        [*samples.values()],
        positions=range(len(samples)),
        widths=0.5,
        showfliers=False,
        medianprops={"color": "black"},
        boxprops={"color": GREY},
        whiskerprops={"color": GREY},
        capprops={"color": GREY},
    )
    panel.set_xticks(range(len(samples)), labels, fontsize=7)


def _identity(panel: Axes, measured: Numbers, reference: Numbers, groups: NDArray[np.object_], colour: str, unit: str, source: str) -> None:
    _points(panel, reference, measured, groups, colour)
    end = float(max(measured.max(initial=0.0), reference.max(initial=0.0))) or 1.0
    panel.plot([0, end], [0, end], color=GREY, linewidth=0.8)
    panel.set(xlabel=f"{source}, {unit}", ylabel=f"measured, {unit}", title=f"{'volume' if unit == 'mL' else unit}, n = {len(measured)}")
    if len({group for group in groups if group}) > 1:
        panel.legend(frameon=False, fontsize=7)


def _differences(
    panel: Axes, measured: Numbers, reference: Numbers, groups: NDArray[np.object_], colour: str, unit: str, title: str
) -> None:
    _points(panel, (measured + reference) / 2, measured - reference, groups, colour)
    found = bland_altman(measured, reference)
    if not isinstance(found, NotAssessed):
        panel.axhline(found.bias.value, color="black", linewidth=0.9)
        for end in (found.lower, found.upper):
            panel.axhline(end.value, color="black", linewidth=0.8, linestyle="--")
        for end in (found.bias, found.lower, found.upper):
            panel.axhspan(end.low, end.high, color=GREY, alpha=0.13, linewidth=0)
    panel.set(xlabel=f"mean of both, {unit}", ylabel=title)


def _points(panel: Axes, x: Numbers, y: Numbers, groups: NDArray[np.object_], colour: str) -> None:
    names = sorted({group for group in groups if group}) or [""]
    for at, name in enumerate(names):
        mine = groups == name if name else np.ones(len(x), bool)
        panel.scatter(
            x[mine],
            y[mine],
            s=_point_size(len(x)),
            color=colour,
            edgecolors="black" if at else "none",
            linewidths=0.4,
            marker=SIGNS[at % len(SIGNS)],
            alpha=0.6,
            label=name,
            rasterized=len(x) > MANY_POINTS,
        )
    ungrouped = groups == ""
    if names != [""] and ungrouped.any():
        panel.scatter(x[ungrouped], y[ungrouped], s=_point_size(len(x)), color=GREY, alpha=0.6, linewidths=0, label="not known")


def _point_size(n: int) -> float:
    return 12.0 if n < 300 else 5.0 if n < MANY_POINTS else 1.5
