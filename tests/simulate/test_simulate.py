"""The simulator on small analytic heads with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from heads import small_brain, small_head
from smallvessel.markers import Marker, Sequence
from smallvessel.simulate.anatomy import RIGHT_BIT, Tissue, deform_head, find_narrow_sulci, flip_head, map_brain
from smallvessel.simulate.burden import Burden, BurdenSettings, draw_burden
from smallvessel.simulate.lesion_maps import is_fluid
from smallvessel.simulate.lesions import SULCUS_TISSUE, _find_room, draw_diameter_mm, draw_lesions
from smallvessel.simulate.normal import POCKETS_MM
from smallvessel.simulate.pathology import SCAR
from smallvessel.simulate.truth import find_truth, truth_path
from smallvessel.structures import Structure
from smallvessel.volume import isotropic_grid, read_mask

torch = pytest.importorskip("torch", reason="the simulator's images need torch")

from smallvessel.simulate import session  # noqa: E402
from smallvessel.simulate.acquisition import (  # noqa: E402
    AcquisitionSettings,
    Protocol,
    acquire_signal,
    aim_sampling,
    apply_axes,
    draw_protocol,
    draw_sampling,
    interpolation_matrix,
    sampling_matrix,
    sharpening_matrix,
    truncation_matrix,
)
from smallvessel.simulate.images import draw_appearance, render_signal  # noqa: E402
from smallvessel.simulate.sequences import ContrastSettings, draw_contrast  # noqa: E402
from smallvessel.simulate.session import simulate_session, write_simulated_session  # noqa: E402

HEALTHY = Burden(0, 0, 0, 0, 0, 0)
FEWER = {Marker.LACUNE: ("FLAIR", "FLAIRT1w", "FLAIRT2w"), Marker.EPVS: ("T2w", "T1w")}
"""Sets of sequences from which a marker is rated apart."""
EVEN = dict.fromkeys(Sequence, 0.0)
SICK = Burden(rim_mm=3, deep_wmh_per_l=2000, lacunes_per_l=300, epvs_nuclei_per_l=900, epvs_white_per_l=900, cmb_per_l=300)


def test_flipping_swaps_sides_and_twice_is_nothing() -> None:
    codes = small_head().codes
    flipped = flip_head(codes)
    assert np.array_equal(flip_head(flipped), codes)
    right = (codes >= RIGHT_BIT) & ((codes & (RIGHT_BIT - 1)) == Structure.THALAMUS)
    assert np.array_equal((flipped < RIGHT_BIT) & ((flipped & (RIGHT_BIT - 1)) == Structure.THALAMUS), right[::-1])


def test_a_deformed_head_has_the_same_tissues_and_follows_its_seed() -> None:
    head = small_head()
    one, same, other = (deform_head(head, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.codes, same.codes)
    assert one.codes.shape != other.codes.shape or not np.array_equal(one.codes, other.codes)
    assert set(np.unique(head.tissues)) - {Tissue.FAT} <= set(np.unique(one.tissues))


def test_distances_are_in_mm() -> None:
    brain = map_brain(small_head())
    ventricle = np.argwhere(brain.tissues == Structure.LATERAL_VENTRICLE)
    x, y, z = ventricle[ventricle[:, 0].argmax()]
    assert brain.ventricle_mm[x, y, z] == 0
    assert brain.ventricle_mm[x + 4, y, z] == 4


@pytest.mark.parametrize("profile_mm", [1.0, 3.0, 6.5])
def test_slices_keep_a_constant_and_average_a_ramp(profile_mm: float) -> None:
    centres = np.arange(10.0, 50.0, profile_mm, dtype=np.float64)
    matrix = sampling_matrix(60, centres, profile_mm, 0.5)
    assert matrix.sum(1) == pytest.approx(1, abs=1e-5)
    assert matrix @ np.arange(60) == pytest.approx(centres, abs=1e-2)


def test_a_thick_slice_dilutes_a_thin_lesion_by_its_share() -> None:
    line = np.zeros(60)
    line[30] = 1
    matrix = sampling_matrix(60, np.array([30.0]), 6.0, 0.05)
    assert float((matrix @ line)[0]) == pytest.approx(1 / 6, rel=0.02)


def test_interpolation_is_exact_on_lines_and_holds_the_edges() -> None:
    centres = np.arange(2.0, 40.0, 3.0, dtype=np.float64)
    matrix = interpolation_matrix(centres, np.arange(0.0, 45.0, dtype=np.float64))
    values = matrix @ centres
    assert values[5:38] == pytest.approx(np.arange(5.0, 38.0), abs=1e-4)
    assert values[0] == pytest.approx(2.0)


def test_axes_are_applied_in_their_order() -> None:
    image = torch.randn((3, 4, 5))
    matrices = (torch.randn((2, 3)), torch.randn((6, 4)), torch.randn((7, 5)))
    expected = torch.einsum("ai,bj,ck,ijk->abc", *matrices, image)
    assert torch.allclose(apply_axes(matrices, image), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("sequence", "order"), [(Sequence.T1W, "fluid<grey<white"), (Sequence.T2W, "white<grey<fluid"), (Sequence.FLAIR, "fluid<white<grey")]
)
def test_contrasts_are_those_of_the_sequence(sequence: Sequence, order: str) -> None:
    settings = ContrastSettings(brain_jitter=0.0, free_share=0.0, flair_flow=0.0)
    for seed in range(20):
        signal = draw_contrast(sequence, np.random.default_rng(seed), settings).signal
        values = {"fluid": signal[Structure.LATERAL_VENTRICLE], "grey": signal[Structure.CORTEX], "white": signal[Structure.WHITE_MATTER]}
        assert [values[name] for name in order.split("<")] == sorted(values[name] for name in order.split("<"))


# Median signal over white matter's on nine real sessions (six of openms, om07, two sv cases), lowest and highest.
REAL_FLAIR = {Structure.CORTEX: (1.02, 1.14), Structure.CAUDATE: (1.07, 1.19), Structure.PUTAMEN: (0.96, 1.13)}


@pytest.mark.parametrize("tissue", REAL_FLAIR)
def test_grey_matter_on_flair_is_about_as_bright_as_on_real_scans(tissue: Structure) -> None:
    drawn = [draw_contrast(Sequence.FLAIR, np.random.default_rng(seed), ContrastSettings(free_share=0.0)) for seed in range(300)]
    low, middle, high = np.percentile([contrast.signal[tissue] for contrast in drawn], (5, 50, 95))
    real_low, real_high = REAL_FLAIR[tissue]
    assert real_low - 0.05 < middle < real_high + 0.05
    assert low > real_low - 0.1
    assert high < real_high + 0.25


def test_a_quarter_of_the_brains_has_none_of_a_marker() -> None:
    burdens = [draw_burden(np.random.default_rng(seed)) for seed in range(400)]
    for name in ("rim_mm", "lacunes_per_l", "epvs_white_per_l", "cmb_per_l"):
        share = np.mean([getattr(burden, name) == 0 for burden in burdens])
        assert 0.18 < share < 0.32


def test_a_healthy_brain_has_mimics_but_no_marker() -> None:
    maps = draw_lesions(small_brain(), HEALTHY, np.random.default_rng(0))
    assert all(not fraction.any() for fraction in maps.fraction.values())
    assert maps.dark.any()


def test_lesions_stay_out_of_fluid_and_of_each_other() -> None:
    brain = small_brain()
    maps = draw_lesions(brain, SICK, np.random.default_rng(3))
    fluid = np.isin(brain.tissues, (Structure.CSF, Structure.LATERAL_VENTRICLE, Structure.BACKGROUND))
    for marker in (Marker.WMH, Marker.LACUNE, Marker.EPVS):
        assert maps.fraction[marker].any()
        assert not maps.fraction[marker][fluid].any()
    assert (maps.fraction[Marker.WMH] + maps.fraction[Marker.LACUNE]).max() <= 1 + 1e-5
    again = draw_lesions(brain, SICK, np.random.default_rng(3))
    assert all(np.array_equal(maps.fraction[marker], again.fraction[marker]) for marker in Marker)


def quiet_protocol(sequence: Sequence, rng: np.random.Generator) -> Protocol:
    drawn = draw_protocol(sequence, rng, AcquisitionSettings())
    return replace(drawn, spacing_mm=(1, 1, 1), profile_mm=(1, 1, 1), noise=0.02, texture=0.0)


def test_a_white_matter_hyperintensity_is_as_bright_as_drawn() -> None:
    rng = np.random.default_rng(1)
    brain = small_brain()
    maps = draw_lesions(brain, HEALTHY, rng)
    maps.faint[:] = 0
    maps.pocket[:] = 0
    appearance, contrast = draw_appearance(rng), draw_contrast(Sequence.FLAIR, rng, ContrastSettings(free_share=0))
    plain = render_signal(brain.tissues, maps, contrast, appearance)
    maps.strength[:] = 1.0
    bright = render_signal(brain.tissues, maps, contrast, appearance)
    white = torch.from_numpy(brain.tissues == Structure.WHITE_MATTER)
    assert float((bright[white] / plain[white]).mean()) == pytest.approx(appearance.wmh[Sequence.FLAIR], rel=1e-4)


def test_noise_follows_the_protocol() -> None:
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    protocol = replace(
        draw_protocol(Sequence.T2W, rng), spacing_mm=(1, 1, 1), profile_mm=(1, 1, 1), noise=0.05, texture=0.0, bias_sd=0.0, ghost=0.0
    )
    at = tuple(np.arange(40.0) for _ in range(3))
    sampling = draw_sampling(protocol, (40, 40, 40), at, rng, 0.5)  # type: ignore[arg-type]
    native = acquire_signal(torch.ones((40, 40, 40)), protocol, sampling, generator)
    assert float(native.std()) == pytest.approx(0.05, rel=0.05)


def test_interpolated_noise_is_correlated_and_as_strong_as_asked() -> None:
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    protocol = replace(
        draw_protocol(Sequence.T2W, rng), spacing_mm=(1, 1, 1), profile_mm=(1, 1, 1), noise=0.05, texture=0.0, bias_sd=0.0, ghost=0.0
    )
    protocol = replace(protocol, acquired=(1 / 1.75, 1.0, 1 / 1.3), sharpening=(0.0, 0.0, 0.0))
    at = tuple(np.arange(60.0) for _ in range(3))
    sampling = draw_sampling(protocol, (60, 60, 60), at, rng, 0.5)  # type: ignore[arg-type]
    noise = acquire_signal(torch.ones((60, 60, 60)), protocol, sampling, generator).numpy() - 1
    assert noise.std() == pytest.approx(0.05, rel=0.05)

    def correlation(axis: int, lag: int) -> float:
        moved = np.moveaxis(noise, axis, 0)
        return float(np.corrcoef(moved[lag:].ravel(), moved[:-lag].ravel())[0, 1])

    # of an ideal low-pass filter: the sinc of the share that passes; the window takes a little off its tails
    assert correlation(0, 1) == pytest.approx(np.sinc(1 / 1.75), abs=0.08)
    assert correlation(0, 2) == pytest.approx(np.sinc(2 / 1.75), abs=0.12)
    assert correlation(1, 1) == pytest.approx(0.0, abs=0.02)
    assert correlation(2, 1) == pytest.approx(np.sinc(1 / 1.3), abs=0.12)


def test_sharpening_keeps_flat_tissue_and_brightens_the_border_to_something_dark() -> None:
    edge = np.where(np.arange(60) < 30, 1.0, 0.2)
    sharp = sharpening_matrix(60, 0.6, 1.0) @ edge
    assert np.abs(sharp - edge)[[*range(20), *range(40, 60)]].max() < 1e-3
    # a blurred edge lacks Phi(0.5) of .8 half a voxel from the step, and 60 % of that is added
    assert sharp[29] == pytest.approx(1 + 0.6 * 0.8 * 0.31, abs=0.04)
    assert np.allclose(sharpening_matrix(60, 0.0, 1.0), np.eye(60))


@pytest.mark.parametrize("share", [1.0, 0.8, 0.5, 0.25])
def test_truncation_keeps_what_varies_slowly_and_removes_what_varies_fast(share: float) -> None:
    matrix = truncation_matrix(200, share)
    inner, x = slice(60, 140), np.arange(200)
    slow, fast = (np.cos(np.pi * cycles * share * x) for cycles in (0.5, 1.6))
    assert np.abs(matrix @ np.ones(200) - 1).max() < 1e-5
    assert np.abs(matrix @ slow - slow)[inner].max() < 0.02
    if share < 0.6:
        assert np.abs(matrix @ fast)[inner].max() < 0.02
    if share == 1.0:
        assert np.allclose(matrix, np.eye(200), atol=1e-6)


def test_a_session_is_written_as_bids_with_its_truth_in_the_same_world(tmp_path: Path) -> None:
    session = simulate_session(small_head(), (7,), burden=SICK)
    again = simulate_session(small_head(), (7,), burden=SICK)
    assert all(np.array_equal(session.images[s].data, again.images[s].data) for s in Sequence)
    write_simulated_session(session, tmp_path, "sim000")
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.nii.gz"))
    parts = [*(f"label-{m}" for m in Marker), *(f"desc-{some}_label-{m}" for m, sets in FEWER.items() for some in sets)]
    truth = [f"derivatives/truth/sub-sim000/anat/sub-sim000_{part}_mask.nii.gz" for part in parts]
    assert written == sorted([*truth, *(f"sub-sim000/anat/sub-sim000_{sequence}.nii.gz" for sequence in Sequence)])
    flair, wmh = session.images[Sequence.FLAIR], session.truth[Marker.WMH]
    lesion = wmh.grid.world(np.argwhere(wmh.data))
    at = np.rint(flair.grid.voxels(lesion)).astype(int)
    inside = np.all((at >= 0) & (at < flair.grid.shape), axis=1)
    assert inside.mean() > 0.99
    tissue = flair.data[tuple(at[inside].T)]
    assert float(np.median(tissue)) > 1.1 * float(np.median(flair.data[flair.data > 200]))
    assert all(mask.grid.same_as(isotropic_grid(flair.grid, 1.0)) for mask in session.truth.values())


def test_from_fewer_sequences_a_rater_draws_what_these_show(tmp_path: Path) -> None:
    """In noisy slices of 8 mm fewer spaces and lacunes can be seen than on a T1w of 1 mm beside them."""
    thick, thin = (
        draw_protocol(s, np.random.default_rng(5), AcquisitionSettings(volumetric_share=share))
        for s, share in ((Sequence.FLAIR, 0.0), (Sequence.T1W, 1.0))
    )
    protocols = {
        Sequence.FLAIR: replace(thick, spacing_mm=(1, 1, 8), profile_mm=(1, 1, 8), noise=0.12),
        Sequence.T1W: replace(thin, noise=0.01, texture=0.0),
        Sequence.T2W: replace(thick, sequence=Sequence.T2W, spacing_mm=(1, 1, 8), profile_mm=(1, 1, 8), noise=0.12),
    }
    session = simulate_session(small_head(), (11,), tuple(protocols), protocols=protocols, burden=SICK)
    write_simulated_session(session, tmp_path, "sim000")

    def drawn(marker: Marker, *images: Sequence) -> int:
        return int(np.count_nonzero(read_mask(find_truth(tmp_path, "sim000", marker, images)).data))

    everything = (Sequence.FLAIR, Sequence.T1W, Sequence.T2W)
    assert drawn(Marker.EPVS, Sequence.T2W) < drawn(Marker.EPVS, Sequence.T1W) <= drawn(Marker.EPVS, *everything)
    assert drawn(Marker.LACUNE, Sequence.FLAIR) < drawn(Marker.LACUNE, Sequence.FLAIR, Sequence.T1W)
    assert drawn(Marker.WMH, Sequence.FLAIR) == drawn(Marker.WMH, *everything) > 0
    assert find_truth(tmp_path, "sim000", Marker.EPVS, everything) == truth_path(tmp_path, "sim000", Marker.EPVS)


def test_aiming_elsewhere_moves_the_picture_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    protocol = draw_protocol(Sequence.FLAIR, rng, AcquisitionSettings(volumetric_share=1.0))
    at = np.arange(5.0, 35.0, dtype=np.float64)
    sampling = draw_sampling(protocol, (40, 40, 40), (at, at, at), rng, 0.5)
    same, moved = (aim_sampling(sampling, protocol, (at, at, at + shift)) for shift in (0.0, 2.0))
    image = torch.rand((40, 40, 40))
    first, again, later = (apply_axes(one.target_from_native, apply_axes(one.native_from_fine, image)) for one in (sampling, same, moved))
    assert torch.equal(first, again)
    assert torch.allclose(first[..., 2:], later[..., :-2], atol=1e-5)


def test_a_wall_of_tissue_lies_between_lacunes_and_fluid() -> None:
    brain = small_brain()
    burden = replace(HEALTHY, lacunes_per_l=20000)
    maps = draw_lesions(brain, burden, np.random.default_rng(4))
    cavity = maps.fraction[Marker.LACUNE] > 0.9
    assert maps.counts[Marker.LACUNE] > 3
    assert cavity.any()
    to_fluid_mm = ndimage.distance_transform_edt(~is_fluid(brain.tissues))
    assert to_fluid_mm[cavity].min() > 1.0  # a voxel of tissue at least


def test_cortex_touches_in_narrow_sulci_but_not_in_wide_ones() -> None:
    tissues = np.full((24, 24, 24), Structure.CORTEX, np.uint8)
    tissues[:, 5] = tissues[:, 10:12] = tissues[:, 16:20] = Structure.CSF
    tissues[2:8, 23] = Structure.LATERAL_VENTRICLE
    narrow = np.zeros(tissues.shape, bool)
    narrow[:, 5] = narrow[:, 10:12] = True
    np.testing.assert_array_equal(find_narrow_sulci(tissues), narrow)


def test_narrow_sulci_have_signal_between_fluid_and_cortex_on_every_sequence() -> None:
    brain, rng = small_brain(), np.random.default_rng(3)
    maps = draw_lesions(brain, HEALTHY, rng)
    maps = replace(maps, touching=np.where(brain.tissues == Structure.CSF, np.float32(0.25), np.float32(0)))
    appearance = replace(draw_appearance(rng), uneven=EVEN, uneven_alone=EVEN)
    for sequence in (Sequence.FLAIR, Sequence.T1W, Sequence.T2W):
        contrast = draw_contrast(sequence, rng, ContrastSettings(free_share=0))
        signal = render_signal(brain.tissues, maps, contrast, appearance).numpy()[brain.tissues == Structure.CSF]
        np.testing.assert_allclose(signal, 0.75 * contrast.signal[Structure.CSF] + 0.25 * contrast.signal[Structure.CORTEX], rtol=1e-5)
    shares = [float(draw_lesions(brain, HEALTHY, np.random.default_rng(seed)).touching.max()) for seed in range(6)]
    assert all(SULCUS_TISSUE[0] <= share <= SULCUS_TISSUE[1] for share in shares)


def test_pockets_of_fluid_lie_in_and_just_below_cortex_or_beside_the_third_ventricle_and_look_like_fluid() -> None:
    brain, rng = small_brain(), np.random.default_rng(3)
    drawn = [draw_lesions(brain, HEALTHY, np.random.default_rng(seed)).pocket for seed in range(4)]
    cortex = brain.tissues == Structure.CORTEX
    beside = (brain.tissues == Structure.WHITE_MATTER) & (brain.surface_mm <= POCKETS_MM)
    beside |= ndimage.binary_dilation(brain.tissues == Structure.THIRD_VENTRICLE, iterations=POCKETS_MM) & (brain.tissues > 0)
    assert all(pocket[~cortex & ~beside].max() == 0 for pocket in drawn)
    assert any(pocket[beside].max() > 0.2 for pocket in drawn)
    assert all(0.2 < pocket.max() <= 1 for pocket in drawn)
    assert all((pocket > 0.2).sum() < 0.2 * cortex.sum() for pocket in drawn)
    maps = replace(draw_lesions(brain, HEALTHY, rng), pocket=cortex.astype(np.float32))
    appearance = replace(draw_appearance(rng), uneven=EVEN, uneven_alone=EVEN)
    contrast = draw_contrast(Sequence.T2W, rng, ContrastSettings(free_share=0))
    signal = render_signal(brain.tissues, maps, contrast, appearance).numpy()
    np.testing.assert_allclose(signal[cortex], contrast.signal[Structure.CSF], rtol=1e-5)


def test_the_bright_lining_is_drawn_as_wmh_off_the_midline_alone() -> None:
    brain = small_brain()
    thin = replace(HEALTHY, rim_mm=0.04)  # a rim that thin is no WMH: what is labelled is the lining
    labelled = [draw_lesions(brain, thin, np.random.default_rng(seed)).fraction[Marker.WMH] > 0.5 for seed in range(8)]
    x_mm = np.abs(np.arange(brain.codes.shape[0]) - (brain.codes.shape[0] - 1) / 2)
    assert any(mask.any() for mask in labelled)
    assert not any(mask[x_mm < 5].any() for mask in labelled)


def test_every_sequence_has_unevenness_of_its_own_in_the_whole_brain() -> None:
    brain = small_brain()
    maps = draw_lesions(brain, HEALTHY, np.random.default_rng(1))
    shape = tuple(n + 40 for n in brain.codes.shape)
    box = tuple(slice(30, 30 + n) for n in brain.codes.shape)
    embedded = session._embed(maps, box, shape)  # type: ignore[arg-type]
    for sequence in Sequence:
        whole = embedded.uneven_alone[sequence]
        assert np.array_equal(whole[box], maps.uneven_alone[sequence])
        assert np.count_nonzero(whole) == np.count_nonzero(maps.uneven)
        assert not np.array_equal(whole[box], maps.uneven)


def test_large_lacunes_are_drawn_where_there_is_room_for_them() -> None:
    tissues = np.full((60, 60, 60), Structure.WHITE_MATTER, np.uint8)
    tissues[:, :, :4] = Structure.CSF
    sites = np.array([[30, 30, 6], [30, 30, 9], [30, 30, 30], [30, 30, 20]])
    at, diameter_mm = _find_room(is_fluid(tissues), sites, 12.0)
    assert (at.tolist(), diameter_mm) == ([30, 30, 30], 12.0)
    at, diameter_mm = _find_room(is_fluid(tissues), sites[:2], 12.0)
    assert (at.tolist(), diameter_mm) == ([30, 30, 9], 8.0)  # 6 mm to the fluid's first voxel, of which 2 mm are wall


def test_diameters_follow_a_lognormal_that_is_cut_off() -> None:
    rng = np.random.default_rng(4)
    drawn = np.array([draw_diameter_mm(4.0, 0.45, (2.0, 10.0), rng) for _ in range(4000)])
    assert 2.0 <= drawn.min() < 2.1
    assert 9.0 < drawn.max() <= 10.0
    assert np.median(drawn) == pytest.approx(4.0, abs=0.15)
    assert np.count_nonzero(drawn > 9.9) < 8, "none gather at the end"


def test_old_lesions_clear_their_place_of_markers_and_change_what_is_seen() -> None:
    brain = small_brain()
    sick = draw_lesions(brain, SICK, np.random.default_rng(7))
    old = draw_lesions(brain, replace(SICK, old_lesions=2), np.random.default_rng(7))
    assert any((old.fraction[marker] < sick.fraction[marker] - 0.5).any() for marker in Marker)
    assert all((old.fraction[marker] <= sick.fraction[marker] + 1e-6).all() for marker in Marker)
    changed = (old.rim > sick.rim + 0.3) | (old.pocket > sick.pocket + 0.3)
    assert np.count_nonzero(changed) > 200
    assert not (changed & is_fluid(brain.tissues)).any()
    least_extent = np.where(old.rim > sick.rim, old.rim / SCAR[1], 0)
    assert all((old.fraction[marker] <= 1 - least_extent + 1e-6).all() for marker in Marker)


def test_a_pontine_hyperintensity_lies_within_the_brainstem_and_can_be_large() -> None:
    brain = small_brain()
    codes = brain.codes.copy()
    stem = np.zeros(codes.shape, np.bool_)
    stem[36:52, 36:52, 20:34] = True
    codes[stem] = Structure.BRAINSTEM
    with_stem = replace(brain, codes=codes)
    burden = replace(HEALTHY, deep_wmh_per_l=1e-9, pontine=1.0)
    extents_mm = []
    for seed in range(8):
        inside = draw_lesions(with_stem, burden, np.random.default_rng(seed)).fraction[Marker.WMH] > 0.5
        assert inside[stem].any()
        assert not (inside & ~stem).any()
        extents_mm.append(max(np.ptp(axis) + 1 for axis in np.nonzero(inside)))
    assert max(extents_mm) > 9
    assert not draw_lesions(with_stem, replace(burden, pontine=0.0), np.random.default_rng(0)).fraction[Marker.WMH].any()


def test_the_share_of_brains_with_an_old_lesion_is_as_set() -> None:
    drawn = [draw_burden(np.random.default_rng(seed), BurdenSettings(old_lesion_share=0.3)).old_lesions for seed in range(400)]
    assert 0.22 < np.mean([number > 0 for number in drawn]) < 0.38
    assert not any(draw_burden(np.random.default_rng(seed), BurdenSettings(old_lesion_share=0.0)).old_lesions for seed in range(50))
