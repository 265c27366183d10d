"""The visual and burden scores: one table that measuring, tables, the report, the command line and the docs read.

Imports nothing heavy, so that ``smallvessel --help`` stays fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .markers import MARKERS, Marker


class Scale(StrEnum):
    """A score; its value is the column in ``measures.tsv``."""

    FAZEKAS_PERIVENTRICULAR = "fazekas_pv"
    FAZEKAS_DEEP = "fazekas_deep"
    ARWMC = "arwmc"
    EPVS_BASAL_GANGLIA = "epvs_bg"
    EPVS_CENTRUM_SEMIOVALE = "epvs_cso"
    EPVS_MIDBRAIN = "epvs_midbrain"
    CMB_BAND = "cmb_band"
    SVD_TOTAL = "svd_total"
    SVD_HYPERTENSIVE = "svd_hypertensive"
    SVD_AMYLOID = "svd_caa"
    SVD_MODIFIED = "svd_modified"
    SVD_AMENDED = "svd_amended"
    CAA_PARTIAL = "caa_partial"


@dataclass(frozen=True)
class ScaleInfo:
    """What is fixed about a score.

    Attributes
    ----------
    name : str
        As printed.
    highest : int
        Of its range, which begins at 0.
    needs : tuple of Marker
        All of them have to be assessed.
    levels : mapping of int to str
        What each value means.
    rule : str
        How it is computed here, in a sentence.
    citation : str
        Of the scale and its cut-offs; says where a cut-off is from one source only.
    limits : tuple of float
        Where grades 1, 2, ... begin, for scores that grade one number (a first limit of 0: above it). The code grades by them.
    unit : str
        Of the limits: "mm", or what is counted.
    """

    name: str
    highest: int
    needs: tuple[Marker, ...]
    levels: Mapping[int, str]
    rule: str
    citation: str
    limits: tuple[float, ...] = ()
    unit: str = ""


def _points(highest: int) -> dict[int, str]:
    return {value: "point" if value == 1 else "points" for value in range(highest + 1)}


FAZEKAS = "Fazekas et al. 1987, 10.2214/ajr.149.2.351; sizes in mm as used in CREDOS, recalled from one source, not read"
POTTER = "Potter et al. 2015, PMC4386144; that the worse side of the worst slice counts is from one source, the slab's height our own"
STAALS = "Staals et al. 2014, 10.1212/WNL.0000000000000837; as restated in PMC5278543"
TYPES = (
    "a table of J Neurol Neurosurg Psychiatry (jnnp.bmj.com/highwire/markup/210367), after Staals et al. 2014 and Charidimou et al. 2016; "
    "lobar lacunes as in Tsai et al. 2018, PMC5971000"
)
LACUNE_LIMITS = (1, 3, 6)
"""Of the amended score: none, 1 to 2, 3 to 5, more (Amin Al Olama et al. 2020, 10.1212/WNL.0000000000009141, from one source)."""
_EPVS = (
    (Marker.EPVS,),
    {0: "none", 1: "1 to 10", 2: "11 to 20", 3: "21 to 40", 4: "more than 40"},
    "Spaces in the hemisphere and the axial slab of 5 mm that have most.",
    POTTER,
    (1, 11, 21, 41),
    "spaces",
)
ALL = tuple(Marker)

SCALES: dict[Scale, ScaleInfo] = {
    Scale.FAZEKAS_PERIVENTRICULAR: ScaleInfo(
        "Fazekas, periventricular",
        3,
        (Marker.WMH,),
        {0: "none", 1: "caps or pencil-thin lining", 2: "smooth halo", 3: "irregular, reaching into deep white matter"},
        "Thickness that WMH of the white matter reach, straight from the lateral ventricles, over 1 cm2 of the wall in one piece: less "
        "than 5 mm (or any that cover less), 5 to 10 mm, from 10 mm on. The 1 cm2 is our own choice.",
        FAZEKAS,
        (0, 5, 10),
        "mm",
    ),
    Scale.FAZEKAS_DEEP: ScaleInfo(
        "Fazekas, deep",
        3,
        (Marker.WMH,),
        {0: "none", 1: "punctate foci", 2: "beginning confluence", 3: "large confluent areas"},
        "Largest diameter of a deep WMH of the white matter: below 10 mm, 10 to 25 mm, from 25 mm on. A rim around the ventricles is deep "
        "from 10 mm off them, at most twice as large as it goes further; what hangs on them by a narrow bridge is deep as a whole.",
        FAZEKAS,
        (0, 10, 25),
        "mm",
    ),
    Scale.ARWMC: ScaleInfo(
        "Age-related white matter changes",
        30,
        (Marker.WMH,),
        _points(30),
        "Grade 0 to 3 of five regions on each side, added. Frontal, parieto-occipital, temporal, infratentorial: a WMH of 5 mm or more, "
        "one of 10 mm or more, a quarter of the region. Basal ganglia: one WMH of 5 mm or more, several, one of 10 mm or more. A WMH "
        "counts whole where most of it is and by its part elsewhere; white matter 5 mm next to the lateral ventricles does not count.",
        "Wahlund et al. 2001, 10.1161/01.STR.32.6.1318; the sizes for beginning confluence and diffuse involvement are our own",
    ),
    Scale.EPVS_BASAL_GANGLIA: ScaleInfo("EPVS, basal ganglia", 4, *_EPVS),
    Scale.EPVS_CENTRUM_SEMIOVALE: ScaleInfo("EPVS, centrum semiovale", 4, *_EPVS),
    Scale.EPVS_MIDBRAIN: ScaleInfo(
        "EPVS, midbrain", 1, (Marker.EPVS,), {0: "none", 1: "present"}, "Any space in the midbrain.", POTTER, (1,), "spaces"
    ),
    Scale.CMB_BAND: ScaleInfo(
        "CMB, bands of ARIA-H",
        3,
        (Marker.CMB,),
        {0: "none", 1: "1 to 4", 2: "5 to 9", 3: "10 or more"},
        "Number of CMB. The bands are those of treatment-emergent microbleeds; here they only group a count.",
        "Sperling et al. 2011, 10.1016/j.jalz.2011.05.2351; the bands as in labels of anti-amyloid antibodies, recalled, not read",
        (1, 5, 10),
        "microbleeds",
    ),
    Scale.SVD_TOTAL: ScaleInfo(
        "Total SVD burden",
        4,
        ALL,
        _points(4),
        "A point each: periventricular Fazekas 3 or deep Fazekas 2 or more; a CMB; a lacune; basal ganglia EPVS grade 2 or more "
        "(more than 10).",
        STAALS,
    ),
    Scale.SVD_HYPERTENSIVE: ScaleInfo(
        "SVD burden, hypertensive type",
        4,
        ALL,
        _points(4),
        "A point each: deep Fazekas 2 or more; basal ganglia EPVS grade 2 or more; a deep CMB; a deep lacune.",
        TYPES,
    ),
    Scale.SVD_AMYLOID: ScaleInfo(
        "SVD burden, amyloid type",
        4,
        ALL,
        _points(4),
        "A point each: periventricular Fazekas 3 or deep Fazekas 2 or more; centrum semiovale EPVS grade 2 or more; a lobar CMB; "
        "a lobar lacune.",
        TYPES,
    ),
    Scale.SVD_MODIFIED: ScaleInfo(
        "Modified total SVD burden",
        6,
        ALL,
        _points(6),
        "Fazekas total 3 to 4: 1, 5 to 6: 2; a lacune: 1; CMB 1 to 4: 1, 5 or more: 2; more than 20 basal ganglia EPVS: 1.",
        "Lau et al. 2017, 10.1212/WNL.0000000000004042; cut-offs from one source",
    ),
    Scale.SVD_AMENDED: ScaleInfo(
        "Amended SVD score",
        7,
        (Marker.WMH, Marker.LACUNE, Marker.CMB),
        _points(7),
        "Lacunes 1 to 2: 1, 3 to 5: 2, more: 3; the higher of the two Fazekas grades: 0 to 3; a CMB: 1.",
        "Amin Al Olama et al. 2020, 10.1212/WNL.0000000000009141 (PMC7274929); cut-offs from one source; that the higher Fazekas grade is "
        "meant is our reading",
    ),
    Scale.CAA_PARTIAL: ScaleInfo(
        "CAA score without siderosis",
        4,
        (Marker.WMH, Marker.EPVS, Marker.CMB),
        _points(4),
        "Lobar CMB 2 to 4: 1, 5 or more: 2; more than 20 centrum semiovale EPVS: 1; periventricular Fazekas 3 or deep "
        "Fazekas 2 or more: 1. Cortical superficial siderosis, up to 2 points of the published 6, is not assessed.",
        "Charidimou et al. 2016, 10.1001/jamaneurol.2016.0832",
    ),
}


@dataclass(frozen=True)
class DetailInfo:
    """A number of one marker beside its volume and count: a column in ``measures.tsv``."""

    marker: Marker
    description: str
    citation: str
    unit: str = ""


MARS_REGIONS: dict[str, str] = {
    "brainstem": "infratentorial",
    "cerebellum": "infratentorial",
    "basal ganglia": "deep",
    "thalamus": "deep",
    "internal capsule": "deep",
    "external capsule": "deep",
    "corpus callosum": "deep",
    "deep and periventricular white matter": "deep",
    "frontal": "lobar",
    "parietal": "lobar",
    "temporal": "lobar",
    "occipital": "lobar",
    "insula": "lobar",
}
"""The 13 regions of the Microbleed Anatomical Rating Scale and their groups (Gregoire et al. 2009, Neurology 73:1759). The code of a region
in our maps is its place in this table, from 1."""
WMH_VOLUME_LIMITS_ML = (3.4, 9.6, 17.1)
"""Volume of WMH from which the burden is mild, moderate, severe (PMC9477348), beside the grades of Fazekas, which go by geometry."""
BOMBS_LIMIT_MM = 5.0
_BOMBS = "Sizes of the Brain Observer MicroBleed Scale, Cordonnier et al. 2009, 10.1161/STROKEAHA.108.526996"


def mars_column(marker: Marker, region: str) -> str:
    """Column of the number of lacunes or microbleeds in a region of ``MARS_REGIONS``."""
    return f"{MARKERS[marker].column}_mars_{region.replace(' ', '_')}_count"


_COSU = "Confluency sum score, PMC5843991"
_MARS = "Regions of the Microbleed Anatomical Rating Scale, Gregoire et al. 2009, Neurology 73:1759"
_GEOMETRY = "As the scores measure it, see smallvessel info scores"
_SLAB = "Number of perivascular spaces of the {} in the hemisphere and the slab that have most"
_CHANCE = "an expected chance of one half or more to be one, by the network's errors on simulated sessions"

DETAILS: dict[str, DetailInfo] = {
    "wmh_rim_mm": DetailInfo(Marker.WMH, "Thickness of the periventricular rim over 1 cm2", _GEOMETRY, "mm"),
    "wmh_rim_covered": DetailInfo(Marker.WMH, "Share of the lateral ventricles' wall that the rim of WMH covers, 0 to 1", _GEOMETRY),
    "wmh_deep_diameter_mm": DetailInfo(Marker.WMH, "Largest diameter of a deep WMH", _GEOMETRY, "mm"),
    "wmh_volume_grade": DetailInfo(
        Marker.WMH,
        "Grade by the volume of WMH alone, beside Fazekas: 0 below {:g} mL, 1 (mild) from there, 2 (moderate) from {:g} mL, "
        "3 (severe) from {:g} mL".format(*WMH_VOLUME_LIMITS_ML),
        "Cut-offs of PMC9477348",
    ),
    "epvs_basal_ganglia_slab_count": DetailInfo(Marker.EPVS, _SLAB.format("basal ganglia"), _GEOMETRY),
    "epvs_centrum_semiovale_slab_count": DetailInfo(Marker.EPVS, _SLAB.format("centrum semiovale"), _GEOMETRY),
    "cmb_definite_count": DetailInfo(Marker.CMB, f"Number of cerebral microbleeds with {_CHANCE}", "Own choice"),
    "cmb_possible_count": DetailInfo(Marker.CMB, f"Number of cerebral microbleeds without {_CHANCE}", "Own choice"),
    "wmh_confluency": DetailInfo(
        Marker.WMH,
        "Confluency: over all lesions the sum of (S^3 / (36 pi V^2))^(1/3) - 1, S surface and V volume; 0 if all are balls",
        _COSU,
    ),
    "wmh_largest_confluency": DetailInfo(Marker.WMH, "Shape of the largest lesion: its part of the confluency; 0 if it is a ball", _COSU),
    **{
        f"cmb_{region}_{name}": DetailInfo(Marker.CMB, f"Number of {region} cerebral microbleeds {size}", _BOMBS)
        for region in ("lobar", "deep", "infratentorial")
        for name, size in (("below_5mm_count", "below 5 mm"), ("from_5mm_count", "of 5 mm or more"))
    },
    **{
        mars_column(marker, region): DetailInfo(marker, f"Number of {MARKERS[marker].name}, {region}", _MARS)
        for marker in (Marker.LACUNE, Marker.CMB)
        for region in MARS_REGIONS
    },
}
"""By column."""
