"""The statistics of a cohort: from ``measures.tsv`` to the tables, figures and methods paragraph of a paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from .. import __version__
from ..derivatives import read_record
from ..errors import InputError
from ..evaluate.agreement import N_RESAMPLES
from ..models import parse_networks
from ..reference import Reference, require_same_models
from .agreement import analyse_agreement
from .bundle import Bundle, join_methods, write_bundle
from .burden import relate_burden
from .results import ResultTable, Section
from .sample import describe_sample
from .segmentation import TITLE, compare_with_manual, comparison_rows, describe_segmentation
from .sheet import Numbers
from .statistics import require_statistics
from .table import FAILED_QC, Cohort, LeftOut, read_cohort
from .visual import compare_grades

__all__ = ["CohortInputs", "make_cohort"]

PACKAGES = ("numpy", "scipy", "statsmodels", "matplotlib")
LARGE = 2000


@dataclass(frozen=True)
class CohortInputs:
    """What a cohort is made of.

    Attributes
    ----------
    out : Path
        Output folder of ``smallvessel run``, or a ``measures.tsv``.
    visual : Path, optional
        Table of visual grades.
    manual : Path, optional
        Folder of manual masks.
    groups : (Path, str), optional
        A ``participants.tsv`` and the column that divides the cohort (may be empty).
    reference : Reference, optional
        For z scores.
    resample : bool
        Compare masks on different grids by nearest voxels.
    keep_failed_qc : bool
        Keep sessions whose quality checks failed.
    allow_model_mismatch : bool
        Take a reference that other networks measured.
    z_over_assessed : bool
        Make the total z from the markers that were assessed.
    """

    out: Path
    visual: Path | None = None
    manual: Path | None = None
    groups: tuple[Path, str] | None = None
    reference: Reference | None = None
    resample: bool = False
    keep_failed_qc: bool = False
    allow_model_mismatch: bool = False
    z_over_assessed: bool = False


def make_cohort(inputs: CohortInputs, folder: Path, title: str = "Cohort", notify: Callable[[str], None] = lambda _: None) -> Path:
    """Make the tables, figures and methods paragraph of a cohort.

    Parameters
    ----------
    inputs : CohortInputs
    folder : Path
        Where they are written.
    title : str
    notify : callable
        Told what is being done.

    Returns
    -------
    Path
        The page with everything; tables and figures lie beside it.

    Raises
    ------
    InputError
        When a table, a mask or an option cannot be used, or a package of the extra ``[stats]`` is missing.
    GeometryError
        When masks lie on different grids and resampling was not asked for.
    """
    require_statistics()
    table = inputs.out / "measures.tsv" if inputs.out.is_dir() else inputs.out
    failed = find_failed(inputs.out) if inputs.out.is_dir() else ()
    cohort = read_cohort(table, inputs.visual, inputs.groups, inputs.reference, failed, inputs.keep_failed_qc, inputs.z_over_assessed)
    cohort = check_networks(cohort, table, inputs.reference, inputs.allow_model_mismatch)
    if inputs.out.is_dir():
        cohort = replace(cohort, left_out=tuple(explain_failed(one, inputs.out) for one in cohort.left_out))
    segmentation = Section(TITLE, missing=("No manual masks were given (--manual).",))
    manual: dict[str, Numbers] = {}
    extra: tuple[ResultTable, ...] = ()
    if inputs.manual is not None:
        if not inputs.out.is_dir():
            raise InputError(f"--manual with the table {table}", "the output folder of a run, which has its masks", "give that folder")
        comparison = compare_with_manual(cohort, inputs.out, inputs.manual, inputs.resample, notify)
        segmentation = describe_segmentation(cohort, comparison, inputs.resample)
        manual, extra = comparison.numbers(cohort), (comparison_rows(comparison),)
    notify("statistics")
    sections = (describe_sample(cohort), segmentation, analyse_agreement(cohort, manual), compare_grades(cohort), relate_burden(cohort))
    notify("tables and figures")
    methods = join_methods(sections, _versions(cohort))
    return write_bundle(Bundle(title, sections, methods, extra), folder)


def find_failed(out: Path) -> tuple[LeftOut, ...]:
    """Sessions that a run left without a row, by their logs."""
    finished = {path.name.removesuffix("_measures.json") for path in out.glob("sub-*/**/sub-*_measures.json")}
    logs = sorted(path for path in (out / "logs").glob("sub-*.log") if path.stem not in finished)
    return tuple(LeftOut(path.stem, f"it was not measured, see logs/{path.name}", "not measured") for path in logs)


def explain_failed(one: LeftOut, out: Path) -> LeftOut:
    """A session that was left out for its quality with what its failed checks say, where the run wrote that down."""
    if one.kind != FAILED_QC:
        return one
    checks = [
        check
        for path in sorted(out.glob(f"sub-*/**/{one.id}_measures.json"))
        for check in read_record(path).get("qc", {}).get("checks", ())
    ]
    messages = [str(check["message"]) for check in checks if check.get("status") == "fail" and check.get("message")]
    return replace(one, reason=f"{one.reason}: {'; '.join(messages)}") if messages else one


def check_networks(cohort: Cohort, table: Path, reference: Reference | None, allow_mismatch: bool) -> Cohort:
    """The cohort, with what a reader has to know of the networks that measured it.

    Raises
    ------
    InputError
        When other networks measured the reference, unless ``allow_mismatch``.
    """
    notes = []
    if len(cohort.networks) > 1:
        notes.append("Different networks measured these sessions: their volumes and counts are not comparable.")
    if reference is not None:
        for networks in filter(None, map(parse_networks, cohort.networks)):
            require_same_models(reference, networks, allow_mismatch, f"sessions in {table}")
        if not all(map(parse_networks, cohort.networks)):
            notes.append(f"Which networks measured the sessions is not in {table.name}: make sure that they are those of {reference.name}.")
    return replace(cohort, notes=(*cohort.notes, *notes))


def _versions(cohort: Cohort) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    thinned = f" In figures with more than {LARGE} points, these are drawn as a picture." if len(cohort.ids) > LARGE else ""
    networks = [text for text in cohort.networks if parse_networks(text)]
    with_networks = f" with the networks {' and '.join(networks)}" if networks else ""
    return (
        "All tests are two-sided; intervals are 95 % intervals, those by bootstrap are percentiles of "
        f"{N_RESAMPLES} resamples of subjects, seeded; what could not be computed is n/a with its reason. The sessions were measured by "
        f"smallvessel {' and '.join(cohort.versions)}{with_networks}; statistics by smallvessel {__version__} with {packages}.{thinned}"
    )
