"""The visual and burden scores: one table that measuring, tables, the report, the command line and the docs read.

Imports nothing heavy, so that ``smallvessel --help`` stays fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .markers import Marker


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
    """

    name: str
    highest: int
    needs: tuple[Marker, ...]
    levels: Mapping[int, str]
    rule: str
    citation: str


def _points(highest: int) -> dict[int, str]:
    return {value: "point" if value == 1 else "points" for value in range(highest + 1)}


FAZEKAS = "Fazekas et al. 1987, 10.2214/ajr.149.2.351; sizes in mm as used in CREDOS, recalled from one source, not read"
POTTER = "Potter et al. 2015, PMC4386144"
STAALS = "Staals et al. 2014, 10.1212/WNL.0000000000000837; as restated in PMC5278543"
TYPES = "Table 1 of the article 210367 in J Neurol Neurosurg Psychiatry, after Staals et al. 2014 and Charidimou et al. 2016"
_EPVS_LEVELS = {0: "none", 1: "1 to 10", 2: "11 to 20", 3: "21 to 40", 4: "more than 40"}
_EPVS_RULE = "Spaces in the hemisphere and the axial slab of 5 mm that have most."
ALL = tuple(Marker)

SCALES: dict[Scale, ScaleInfo] = {
    Scale.FAZEKAS_PERIVENTRICULAR: ScaleInfo(
        "Fazekas, periventricular",
        3,
        (Marker.WMH,),
        {0: "none", 1: "caps or pencil-thin lining", 2: "smooth halo", 3: "irregular, reaching into deep white matter"},
        "Thickness of the WMH that touch the lateral ventricles, 90th percentile over the wall that they cover: below 5 mm, 5 to 10 mm, "
        "from 10 mm on.",
        FAZEKAS,
    ),
    Scale.FAZEKAS_DEEP: ScaleInfo(
        "Fazekas, deep",
        3,
        (Marker.WMH,),
        {0: "none", 1: "punctate foci", 2: "beginning confluence", 3: "large confluent areas"},
        "Largest diameter of a deep WMH: below 10 mm, 10 to 25 mm, from 25 mm on.",
        FAZEKAS,
    ),
    Scale.ARWMC: ScaleInfo(
        "Age-related white matter changes",
        30,
        (Marker.WMH,),
        _points(30),
        "Grade 0 to 3 of five regions on each side, added. Frontal, parieto-occipital, temporal, infratentorial: a WMH of 5 mm or more, "
        "one of 10 mm or more, a quarter of the region. Basal ganglia: one WMH of 5 mm or more, several, one of 10 mm or more. The "
        "5 mm next to the lateral ventricles do not count.",
        "Wahlund et al. 2001, 10.1161/01.STR.32.6.1318; the sizes for beginning confluence and diffuse involvement are our own",
    ),
    Scale.EPVS_BASAL_GANGLIA: ScaleInfo("EPVS, basal ganglia", 4, (Marker.EPVS,), _EPVS_LEVELS, _EPVS_RULE, POTTER),
    Scale.EPVS_CENTRUM_SEMIOVALE: ScaleInfo("EPVS, centrum semiovale", 4, (Marker.EPVS,), _EPVS_LEVELS, _EPVS_RULE, POTTER),
    Scale.EPVS_MIDBRAIN: ScaleInfo("EPVS, midbrain", 1, (Marker.EPVS,), {0: "none", 1: "present"}, "Any space in the midbrain.", POTTER),
    Scale.CMB_BAND: ScaleInfo(
        "CMB, bands of ARIA-H",
        3,
        (Marker.CMB,),
        {0: "none", 1: "1 to 4", 2: "5 to 9", 3: "10 or more"},
        "Number of CMB. The bands are those of treatment-emergent microbleeds; here they only group a count.",
        "Sperling et al. 2011, 10.1016/j.jalz.2011.05.2351",
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
        "Amin Al Olama et al. 2020, 10.1161/STROKEAHA.119.027314; cut-offs from one source",
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


BOMBS_LIMIT_MM = 5.0
_BOMBS = "Sizes of the Brain Observer MicroBleed Scale, Cordonnier et al. 2009, 10.1161/STROKEAHA.108.526996"

DETAILS: dict[str, DetailInfo] = {
    "wmh_confluency": DetailInfo(
        Marker.WMH,
        "Confluency: over all lesions the sum of (S^3 / (36 pi V^2))^(1/3) - 1, S surface and V volume; 0 if all are balls",
        "Confluency sum score, PMC5843991",
    ),
    **{
        f"cmb_{region}_{name}": DetailInfo(Marker.CMB, f"Number of {region} cerebral microbleeds {size}", _BOMBS)
        for region in ("lobar", "deep", "infratentorial")
        for name, size in (("below_5mm_count", "below 5 mm"), ("from_5mm_count", "of 5 mm or more"))
    },
}
"""By column."""
