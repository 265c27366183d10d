"""What is drawn onto a brain: markers, mimics and normal variation, each as a share or strength per voxel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..markers import Marker, Sequence
from ..structures import Structure
from .anatomy import Tissue
from .forms import FloatMap


@dataclass
class LesionMaps:
    """Fractions per voxel, shape (x, y, z) each, while a brain is being drawn.

    Attributes
    ----------
    fraction : dict of Marker to ndarray
        Share of the voxel that is lesion.
    strength : ndarray
        How bright a WMH is, 0 to 1 of the session's full contrast.
    black_hole : ndarray
        Share of a WMH that is T1-dark without being a cavity.
    rim : ndarray
        Gliosis around lacunes, old infarcts and haemorrhages, never labelled: 1.25 is as bright as a WMH.
    faint : ndarray
        Diffuse change that no rater draws: tracts with little myelin, dirty white matter, the ependymal lining.
    dark : ndarray
        On SWI: veins, mineral, calcification, iron of old haemorrhages. Never labelled.
    halo : ndarray
        On SWI: the bright lobes above and below a microbleed.
    uneven : ndarray
        How tissue differs from place to place without any disease, SD about 1.
    uneven_alone : dict of Sequence to ndarray
        The same, for one sequence only.
    touching : ndarray
        Share of cortex in voxels of CSF, in sulci too narrow for the label map.
    pocket : ndarray
        Share of CSF in voxels of cortex: bottoms of sulci, insular pockets and the spaces around vessels on the brain's surface, which are
        taken for perivascular spaces or lacunes; and the cavities of old infarcts and haemorrhages, in any tissue. Never labelled.
    """

    fraction: dict[Marker, FloatMap]
    strength: FloatMap
    black_hole: FloatMap
    rim: FloatMap
    faint: FloatMap
    dark: FloatMap
    halo: FloatMap
    uneven: FloatMap
    uneven_alone: dict[Sequence, FloatMap]
    touching: FloatMap
    pocket: FloatMap
    counts: dict[Marker, int] = field(default_factory=dict)


def is_fluid(tissues: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Ventricles, CSF and everything outside the brain, where no WMH, lacune or perivascular space can be."""
    inside = (Structure.CSF, Structure.LATERAL_VENTRICLE, Structure.THIRD_VENTRICLE, Structure.FOURTH_VENTRICLE, 0)
    return np.isin(tissues, inside) | (tissues > Tissue.CHOROID_PLEXUS)
