"""What a rater would draw, on small brains with lesions whose place and contrast are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from heads import small_brain
from smallvessel.markers import Marker, Sequence
from smallvessel.simulate.burden import Burden
from smallvessel.simulate.lesion_maps import LesionMaps
from smallvessel.simulate.lesions import draw_lesions
from smallvessel.structures import Structure

torch = pytest.importorskip("torch", reason="the simulator's images need torch")

from smallvessel.simulate.acquisition import AcquisitionSettings, Protocol, apply_axes, draw_protocol, draw_sampling  # noqa: E402
from smallvessel.simulate.images import Appearance, draw_appearance, lesion_contrast, render_signal  # noqa: E402
from smallvessel.simulate.rating import BRAIN_MIX, VISIBLE_CONTRAST, Acquired, _signal_to_noise, rate_lesions  # noqa: E402
from smallvessel.simulate.sequences import Contrast, ContrastSettings, draw_contrast  # noqa: E402

HEALTHY = Burden(0, 0, 0, 0, 0, 0)
EVEN = dict.fromkeys(Sequence, 0.0)
SICK = Burden(rim_mm=3, deep_wmh_per_l=2000, lacunes_per_l=300, epvs_nuclei_per_l=900, epvs_white_per_l=900, cmb_per_l=300)


def sharp_protocol(sequence: Sequence, **changes: Any) -> Protocol:
    """1 mm in all directions, in register, hardly any noise."""
    drawn = draw_protocol(sequence, np.random.default_rng(0), AcquisitionSettings())
    sharp = replace(drawn, spacing_mm=(1, 1, 1), profile_mm=(1, 1, 1), acquired=(1, 1, 1), sharpening=(0, 0, 0), shift_mm=(0, 0, 0))
    return replace(sharp, **{"noise": 0.02, "texture": 0.0, **changes})


def flawless(rng: np.random.Generator, **changes: Any) -> Appearance:
    """Lesions in tissue that is the same everywhere."""
    return replace(draw_appearance(rng), uneven=EVEN, uneven_alone=EVEN, **changes)


def usual_contrast(sequence: Sequence, rng: np.random.Generator) -> Contrast:
    return draw_contrast(sequence, rng, ContrastSettings(free_share=0))


def rate(
    maps: LesionMaps, marker: Marker, appearance: Appearance, contrasts: dict[Sequence, Contrast], protocols: dict[Sequence, Protocol]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What is drawn, and what is ignored."""
    tissues = small_brain().tissues
    at = tuple(np.arange(n, dtype=float) for n in tissues.shape)
    acquired = {
        sequence: Acquired(
            contrast,
            protocols[sequence],
            draw_sampling(protocols[sequence], tissues.shape, at, np.random.default_rng(1), 0.3),  # type: ignore[arg-type]
            render_signal(tissues, maps, contrast, appearance),
        )
        for sequence, contrast in contrasts.items()
    }
    rating = rate_lesions(maps, marker, appearance, acquired)
    assert rating is not None
    return rating[0].numpy(), rating[1].numpy()


def place_in_white_matter() -> tuple[int, int, int]:
    x, y, z = (int(v) for v in np.argwhere(small_brain().tissues == Structure.WHITE_MATTER)[1234])
    return x, y, z


def ball_of_4_mm() -> NDArray[np.bool_]:
    centre = np.array(place_in_white_matter()).reshape(3, 1, 1, 1)
    return np.asarray(np.linalg.norm(np.indices(small_brain().codes.shape) - centre, axis=0) < 4)


def test_a_rater_draws_no_specks_of_white_matter_hyperintensity_and_is_not_punished_for_them() -> None:
    rng = np.random.default_rng(3)
    maps = draw_lesions(small_brain(), HEALTHY, rng)
    fraction = maps.fraction[Marker.WMH]
    fraction[:] = maps.strength[:] = 0
    speck, streak = (slice(40, 42), slice(30, 32), slice(60, 62)), (slice(50, 51), slice(30, 31), slice(58, 64))
    for box in (speck, streak):
        assert (small_brain().tissues[box] == Structure.WHITE_MATTER).all()
        fraction[box] = maps.strength[box] = 1
    appearance = replace(draw_appearance(rng), wmh=dict.fromkeys(Sequence, 2.0))
    contrasts = {Sequence.FLAIR: usual_contrast(Sequence.FLAIR, rng)}
    label, ignored = rate(maps, Marker.WMH, appearance, contrasts, {Sequence.FLAIR: sharp_protocol(Sequence.FLAIR)})
    assert label[streak].any()
    assert not ignored[streak].all()
    assert not label[speck].any()
    assert ignored[speck].any()


def test_a_rater_draws_what_is_visible_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    maps = draw_lesions(small_brain(), HEALTHY, rng)
    x, ball = place_in_white_matter()[0], ball_of_4_mm()
    maps.fraction[Marker.WMH][ball] = maps.strength[ball] = 1.0
    contrast, appearance = usual_contrast(Sequence.FLAIR, rng), flawless(rng)
    flair = {Sequence.FLAIR: contrast}, {Sequence.FLAIR: sharp_protocol(Sequence.FLAIR)}
    drawn, ignored = rate(maps, Marker.WMH, appearance, *flair)
    assert np.count_nonzero(drawn != ball) < 0.25 * np.count_nonzero(ball)
    assert not (ignored & ~ndimage.binary_dilation(drawn, iterations=2)).any()
    gain = appearance.wmh[Sequence.FLAIR] - 1
    half = ball & (np.arange(ball.shape[0])[:, None, None] < x)
    maps.strength[half] = 0.05 / gain
    drawn, ignored = rate(maps, Marker.WMH, appearance, *flair)
    assert not (ignored & ndimage.binary_dilation(drawn, np.ones((3, 3, 3), np.bool_))).any(), "where a WMH ends is to be learnt"
    assert drawn[~half & ball].mean() > 0.8
    assert drawn[half & ~ndimage.binary_dilation(~half & ball)].mean() < 0.1
    brain_mean = sum(share * contrast.signal[code] for code, share in BRAIN_MIX.items()) / contrast.signal[Structure.WHITE_MATTER]
    least = VISIBLE_CONTRAST[Marker.WMH] * brain_mean
    for share_drawn, is_ignored in ((0.75, True), (0.3, False)):
        maps.strength[ball] = share_drawn * least / gain
        drawn, ignored = rate(maps, Marker.WMH, appearance, *flair)
        assert not drawn.any()
        assert bool(ignored.any()) is is_ignored


@pytest.mark.parametrize("slice_mm", [1, 6])
def test_no_rim_is_drawn_where_dark_fluid_in_the_same_voxels_hides_it(slice_mm: int) -> None:
    """A rim of 3 mm: in slices of 6 mm a part of it shares its voxels with the ventricle and is as dark as healthy tissue."""
    rng = np.random.default_rng(0)
    brain = small_brain()
    maps = draw_lesions(brain, HEALTHY, rng)
    rim = (brain.ventricle_mm > 0) & (brain.ventricle_mm <= 3) & (brain.tissues == Structure.WHITE_MATTER)
    for part in (maps.fraction[Marker.WMH], maps.strength):
        part[:] = rim
    maps.faint[:] = 0
    contrast, appearance = usual_contrast(Sequence.FLAIR, rng), flawless(rng, wmh=dict.fromkeys(Sequence, 1.6))
    protocol = sharp_protocol(Sequence.FLAIR, spacing_mm=(1, 1, slice_mm), profile_mm=(1, 1, slice_mm), noise=0.0)
    drawn, _ = rate(maps, Marker.WMH, appearance, {Sequence.FLAIR: contrast}, {Sequence.FLAIR: protocol})
    at = tuple(np.arange(n, dtype=float) for n in rim.shape)
    sampling = draw_sampling(protocol, rim.shape, at, np.random.default_rng(1), 0.3)  # type: ignore[arg-type]
    picture = render_signal(brain.tissues, maps, contrast, appearance)
    picture = apply_axes(sampling.target_from_native, apply_axes(sampling.native_from_fine, picture))
    brightest = ndimage.maximum_filter(picture.numpy() / contrast.signal[Structure.WHITE_MATTER], 3)
    assert drawn.any()
    assert (brightest[drawn] > 1.1).all()
    hidden = rim & (brightest < 1.1)
    assert np.count_nonzero(hidden) > 100 if slice_mm == 6 else drawn[rim].mean() > 0.9


def test_a_cavity_as_bright_as_white_matter_on_flair_is_seen_on_t1w() -> None:
    rng = np.random.default_rng(0)
    maps = draw_lesions(small_brain(), HEALTHY, rng)
    ball = ball_of_4_mm()
    maps.fraction[Marker.LACUNE][ball] = 1
    contrasts = {sequence: usual_contrast(sequence, rng) for sequence in (Sequence.FLAIR, Sequence.T1W)}
    protocols = {sequence: sharp_protocol(sequence) for sequence in contrasts}
    signal = contrasts[Sequence.FLAIR].signal
    filled = (signal[Structure.WHITE_MATTER] - signal[Structure.LATERAL_VENTRICLE]) / signal[Structure.WHITE_MATTER]
    appearance = flawless(rng, cavity_fill=float(filled))
    assert not rate(maps, Marker.LACUNE, appearance, {Sequence.FLAIR: contrasts[Sequence.FLAIR]}, protocols)[0].any()
    drawn, _ = rate(maps, Marker.LACUNE, appearance, contrasts, protocols)
    assert np.count_nonzero(drawn != ball) < 0.25 * np.count_nonzero(ball)


def test_a_lacune_is_not_rated_without_flair() -> None:
    rng = np.random.default_rng(0)
    assert rate_lesions(draw_lesions(small_brain(), SICK, rng), Marker.LACUNE, flawless(rng), {}) is None


def test_a_space_is_drawn_on_the_finest_sequence_that_shows_it() -> None:
    """T2w of 6 mm shows one of two spaces, T1w of 1 mm both: each is drawn once, as T1w shows it; too noisy a T1w adds nothing."""
    rng = np.random.default_rng(0)
    maps = draw_lesions(small_brain(), HEALTHY, rng)
    x, y, z = place_in_white_matter()
    maps.fraction[Marker.EPVS][:] = 0
    fine, long = np.zeros((2, *maps.fraction[Marker.EPVS].shape), np.bool_)
    fine[x : x + 2, y : y + 3, z] = True
    long[x : x + 2, y + 10 : y + 12, z - 6 : z + 7] = True
    maps.fraction[Marker.EPVS][fine | long] = 1
    contrasts = {sequence: usual_contrast(sequence, rng) for sequence in (Sequence.T2W, Sequence.T1W)}
    appearance = flawless(rng, space_fluid=0.8)
    peak = lesion_contrast(Marker.EPVS, contrasts[Sequence.T2W], appearance)
    thick = sharp_protocol(Sequence.T2W, spacing_mm=(1, 1, 6), profile_mm=(1, 1, 6), noise=0.15 * peak)
    protocols = {Sequence.T2W: thick, Sequence.T1W: sharp_protocol(Sequence.T1W)}
    on_t2w = rate(maps, Marker.EPVS, appearance, {Sequence.T2W: contrasts[Sequence.T2W]}, protocols)[0]
    assert on_t2w[long].mean() > 0.5
    assert not on_t2w[fine].any()
    on_both = rate(maps, Marker.EPVS, appearance, contrasts, protocols)[0]
    on_t1w = rate(maps, Marker.EPVS, appearance, {Sequence.T1W: contrasts[Sequence.T1W]}, protocols)[0]
    assert on_both[fine].all()
    assert np.array_equal(on_both, on_t1w)
    assert ndimage.label(on_both, np.ones((3, 3, 3)))[1] == 2
    noisy = {**protocols, Sequence.T1W: sharp_protocol(Sequence.T1W, noise=2.0)}
    assert np.array_equal(rate(maps, Marker.EPVS, appearance, contrasts, noisy)[0], on_t2w)


def test_uneven_tissue_hides_small_spaces() -> None:
    rng = np.random.default_rng(0)
    maps = draw_lesions(small_brain(), SICK, rng)
    t2w = {Sequence.T2W: usual_contrast(Sequence.T2W, rng)}, {Sequence.T2W: sharp_protocol(Sequence.T2W)}
    seen = [
        np.count_nonzero(rate(maps, Marker.EPVS, replace(draw_appearance(rng), uneven=dict.fromkeys(Sequence, uneven)), *t2w)[0])
        for uneven in (0.0, 0.4, 0.8)
    ]
    assert seen[0] > seen[1] > seen[2]


def test_a_lesions_ratio_to_noise_is_that_of_a_filter_of_its_shape() -> None:
    """Of a cube in white noise: contrast times the root of its samples, over the noise; also found by filtering noise."""
    rng = np.random.default_rng(0)
    contrast, lesions = torch.zeros((40, 40, 40)), np.zeros((40, 40, 40), np.int32)
    lesions[4:7, 4:7, 4:7], lesions[20:26, 20:26, 20:26] = 1, 2
    contrast[torch.from_numpy(lesions > 0)] = 0.2
    for spacing_mm, acquired, samples_per_mm3 in (((1, 1, 1), (1, 1, 1), 1.0), ((0.5, 0.5, 6.0), (0.5, 1, 1), 1 / 3)):
        protocol = sharp_protocol(Sequence.T2W, spacing_mm=spacing_mm, acquired=acquired, noise=0.1)
        ratio = _signal_to_noise(contrast, lesions, 2, protocol).numpy()
        for lesion, volume_mm3 in ((1, 27), (2, 216)):
            assert ratio[lesions == lesion] == pytest.approx(2 * np.sqrt(volume_mm3 * samples_per_mm3), rel=1e-5)
        assert not ratio[lesions == 0].any()
    filtered = ndimage.uniform_filter(rng.normal(0, 0.1, (60, 60, 60)), 3, mode="wrap")
    assert 0.2 / filtered.std() == pytest.approx(2 * np.sqrt(27), rel=0.05)


def test_noise_hides_a_lesion_of_few_voxels_and_not_one_of_many() -> None:
    rng = np.random.default_rng(0)
    maps = draw_lesions(small_brain(), HEALTHY, rng)
    x, y, z = place_in_white_matter()
    maps.fraction[Marker.EPVS][x : x + 1, y : y + 1, z : z + 1] = 1
    contrast, appearance = usual_contrast(Sequence.T2W, rng), flawless(rng, space_fluid=1.0)
    peak = lesion_contrast(Marker.EPVS, contrast, appearance)

    def is_drawn(noise: float) -> bool:
        protocols = {Sequence.T2W: sharp_protocol(Sequence.T2W, noise=noise)}
        return bool(rate(maps, Marker.EPVS, appearance, {Sequence.T2W: contrast}, protocols)[0].any())

    assert is_drawn(0.04 * peak)
    assert not is_drawn(0.3 * peak)
    maps.fraction[Marker.EPVS][x - 1 : x + 2, y - 1 : y + 2, z - 4 : z + 5] = 1
    assert is_drawn(0.3 * peak)
