"""The four markers and the sequences: one table that every room, the command line and the docs read.

Imports nothing heavy, so that ``smallvessel --help`` stays fast.
"""

from dataclasses import dataclass
from enum import StrEnum


class Sequence(StrEnum):
    """An MR sequence, in the order in which the reference image is chosen."""

    FLAIR = "FLAIR"
    T1W = "T1w"
    T2W = "T2w"
    SWI = "SWI"
    """Susceptibility-weighted image or T2*-weighted gradient echo magnitude."""


class Marker(StrEnum):
    """A marker of cerebral small vessel disease, in the order of the network's output channels."""

    WMH = "WMH"
    LACUNE = "lacune"
    EPVS = "EPVS"
    CMB = "CMB"


@dataclass(frozen=True)
class MarkerInfo:
    """What is fixed about a marker.

    Attributes
    ----------
    marker : Marker
    name, short : str
        Full name, and the one where there is little room, as printed; both plural.
    column : str
        Prefix of its columns in ``measures.tsv``.
    rated_on : tuple of Sequence
        Sequences on whose native grid the mask is also written, first present one wins.
    seen_on : tuple of Sequence
        Sequences that show it: a lesion is drawn on the finest of those present. A cavity as bright as white matter on FLAIR is plain
        on T1w or T2w, and a space that a thick T2w slice hides on a fine T1w.
    needs_one_of : tuple of Sequence
        The marker is assessed only if at least one of these is present.
    min_diameter_mm, max_diameter_mm : float or None
        Size limits of a single lesion (largest diameter); None where there is none.
    code : int
        Value in combined label maps.
    colour : str
        Hex colour in figures and reports (Okabe-Ito, safe for colour-blind readers).
    citation : str
        Source of the definition.
    """

    marker: Marker
    name: str
    short: str
    column: str
    rated_on: tuple[Sequence, ...]
    seen_on: tuple[Sequence, ...]
    needs_one_of: tuple[Sequence, ...]
    min_diameter_mm: float | None
    max_diameter_mm: float | None
    code: int
    colour: str
    citation: str


STRIVE = "Wardlaw et al. 2013, 10.1016/S1474-4422(13)70124-8; Duering et al. 2023, 10.1016/S1474-4422(23)00131-X"

MARKERS: dict[Marker, MarkerInfo] = {
    Marker.WMH: MarkerInfo(
        marker=Marker.WMH,
        name="white matter hyperintensities",
        short="WMH",
        column="wmh",
        rated_on=(Sequence.FLAIR,),
        seen_on=(Sequence.FLAIR,),
        needs_one_of=(Sequence.FLAIR,),
        min_diameter_mm=None,
        max_diameter_mm=None,
        code=1,
        colour="#E69F00",
        citation=STRIVE,
    ),
    Marker.LACUNE: MarkerInfo(
        marker=Marker.LACUNE,
        name="lacunes",
        short="lacunes",
        column="lacune",
        rated_on=(Sequence.FLAIR,),
        seen_on=(Sequence.FLAIR, Sequence.T1W, Sequence.T2W),
        needs_one_of=(Sequence.FLAIR,),
        min_diameter_mm=3.0,
        max_diameter_mm=15.0,
        code=2,
        colour="#56B4E9",
        citation=STRIVE,
    ),
    Marker.EPVS: MarkerInfo(
        marker=Marker.EPVS,
        name="enlarged perivascular spaces",
        short="EPVS",
        column="epvs",
        rated_on=(Sequence.T2W, Sequence.T1W),
        seen_on=(Sequence.T2W, Sequence.T1W),
        needs_one_of=(Sequence.T2W, Sequence.T1W),
        min_diameter_mm=None,
        max_diameter_mm=None,
        code=3,
        colour="#009E73",
        citation=STRIVE,
    ),
    Marker.CMB: MarkerInfo(
        marker=Marker.CMB,
        name="cerebral microbleeds",
        short="microbleeds",
        column="cmb",
        rated_on=(Sequence.SWI,),
        seen_on=(Sequence.SWI,),
        needs_one_of=(Sequence.SWI,),
        min_diameter_mm=2.0,
        max_diameter_mm=10.0,
        code=4,
        colour="#D55E00",
        citation=STRIVE,
    ),
}

CONNECTIVITY = 26
"""Voxels that share a face, an edge or a corner belong to the same lesion, for every marker (WMH challenge rules)."""
