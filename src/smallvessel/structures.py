"""The anatomical structures that the anatomy network tells apart: one table for learning, preparing and measuring."""

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Structure(IntEnum):
    """Class of the anatomy network; the value is its output channel. Left and right come from a channel of their own."""

    BACKGROUND = 0
    CSF = 1
    """Cerebrospinal fluid around the brain, inside the skull."""
    WHITE_MATTER = 2
    CORTEX = 3
    LATERAL_VENTRICLE = 4
    THIRD_VENTRICLE = 5
    FOURTH_VENTRICLE = 6
    THALAMUS = 7
    CAUDATE = 8
    """With the accumbens."""
    PUTAMEN = 9
    PALLIDUM = 10
    BRAINSTEM = 11
    VENTRAL_DC = 12
    """Ventral diencephalon: hypothalamus, subthalamic and red nuclei, substantia nigra."""
    CEREBELLAR_WHITE = 13
    CEREBELLAR_CORTEX = 14
    HIPPOCAMPUS = 15
    AMYGDALA = 16


@dataclass(frozen=True)
class StructureInfo:
    """A structure's printed name, its FreeSurfer codes (left or only, right) and its code in ``_dseg`` files."""

    name: str
    freesurfer_left: tuple[int, ...]
    freesurfer_right: tuple[int, ...]


STRUCTURES: dict[Structure, StructureInfo] = {
    Structure.BACKGROUND: StructureInfo("background", (0,), ()),
    Structure.CSF: StructureInfo("extracerebral CSF", (24,), ()),
    Structure.WHITE_MATTER: StructureInfo("cerebral white matter", (2, 25, 85), (41, 57)),
    Structure.CORTEX: StructureInfo("cerebral cortex", (3,), (42,)),
    Structure.LATERAL_VENTRICLE: StructureInfo("lateral ventricle", (4, 5, 72), (43, 44)),
    Structure.THIRD_VENTRICLE: StructureInfo("third ventricle", (14,), ()),
    Structure.FOURTH_VENTRICLE: StructureInfo("fourth ventricle", (15,), ()),
    Structure.THALAMUS: StructureInfo("thalamus", (10,), (49,)),
    Structure.CAUDATE: StructureInfo("caudate and accumbens", (11, 26), (50, 58)),
    Structure.PUTAMEN: StructureInfo("putamen", (12, 30), (51, 62)),
    Structure.PALLIDUM: StructureInfo("pallidum", (13,), (52,)),
    Structure.BRAINSTEM: StructureInfo("brainstem", (16,), ()),
    Structure.VENTRAL_DC: StructureInfo("ventral diencephalon", (28,), (60,)),
    Structure.CEREBELLAR_WHITE: StructureInfo("cerebellar white matter", (7,), (46,)),
    Structure.CEREBELLAR_CORTEX: StructureInfo("cerebellar cortex", (8,), (47,)),
    Structure.HIPPOCAMPUS: StructureInfo("hippocampus", (17,), (53,)),
    Structure.AMYGDALA: StructureInfo("amygdala", (18,), (54,)),
}

VENTRICLES = (Structure.LATERAL_VENTRICLE, Structure.THIRD_VENTRICLE, Structure.FOURTH_VENTRICLE)

RIGHT_OFFSET = 100
"""In ``_dseg`` files a structure on the right side has its code plus this offset; left and midline have the plain code."""

UNSIDED = (Structure.BACKGROUND, Structure.CSF, Structure.THIRD_VENTRICLE, Structure.FOURTH_VENTRICLE, Structure.BRAINSTEM)
"""Structures that have no side in ``_dseg`` files."""


def lookup_rows() -> Iterator[tuple[str, ...]]:
    """Code, name and colour of every structure in ``_dseg`` files, the left ones and those of the midline first."""
    for structure, info in STRUCTURES.items():
        colour = _colour(structure)
        if structure in UNSIDED:
            yield str(int(structure)), info.name, colour
        else:
            yield str(int(structure)), f"left {info.name}", colour
    for structure, info in STRUCTURES.items():
        if structure not in UNSIDED:
            yield str(int(structure) + RIGHT_OFFSET), f"right {info.name}", _colour(structure)


def _colour(structure: Structure) -> str:
    """Hues spread by the golden angle, so that neighbours in the table differ; background black."""
    if structure is Structure.BACKGROUND:
        return "#000000"
    r, g, b = colorsys.hsv_to_rgb(int(structure) * 0.381966 % 1.0, 0.35 if structure in VENTRICLES else 0.6, 0.9)
    return f"#{round(r * 255):02x}{round(g * 255):02x}{round(b * 255):02x}"
