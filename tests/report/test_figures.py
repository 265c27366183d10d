"""Pictures show the right side, the right place and the right slices."""

import base64
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from painted import paint_images, paint_result
from phantoms import head_image, make_grid
from smallvessel.config import MeasureSettings
from smallvessel.errors import InputError
from smallvessel.markers import Marker, Sequence
from smallvessel.measure import measure_session
from smallvessel.records import MarkerMap, Native
from smallvessel.report import drawing, figures, images, read_images, write_report
from smallvessel.report.drawing import Plane, Window
from smallvessel.report.images import take_images
from smallvessel.report.sections import describe_marker
from smallvessel.segment.native import bring_to_native
from smallvessel.volume import Grid, Mask, Transform, Volume, resample

GRID = Grid((20, 24, 16), np.diag([2.0, 2.0, 3.0, 1.0]))
WHOLE = {Plane.AXIAL: Window((0, 0), (20, 24)), Plane.CORONAL: Window((0, 0), (20, 16)), Plane.SAGITTAL: Window((0, 0), (24, 16))}


def pixels(picture: drawing.Picture) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(base64.b64decode(picture.uri.split(",")[1]))).convert("L"))


def vertices(path: str) -> NDArray[np.float64]:
    return np.array([[float(x), float(y)] for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)])


@pytest.mark.parametrize(
    ("plane", "bright", "left_half", "top_half"),
    [
        (Plane.AXIAL, (16, 20, 8), True, True),  # right, anterior
        (Plane.AXIAL, (3, 4, 8), False, False),  # left, posterior
        (Plane.CORONAL, (16, 12, 13), True, True),  # right, superior
        (Plane.SAGITTAL, (10, 20, 2), True, False),  # anterior, inferior
    ],
)
def test_pictures_are_in_radiological_convention(plane: Plane, bright: tuple[int, int, int], left_half: bool, top_half: bool) -> None:
    grey = np.zeros(GRID.shape, np.uint8)
    grey[tuple(slice(i - 1, i + 2) for i in bright)] = 255
    shown = pixels(drawing.draw(grey, GRID, plane, bright[plane.axis], WHOLE[plane], ""))
    row, column = np.unravel_index(int(np.argmax(shown)), shown.shape)
    assert (column < shown.shape[1] / 2) == left_half
    assert (row < shown.shape[0] / 2) == top_half


@pytest.mark.parametrize("plane", list(Plane))
def test_outline_encloses_exactly_the_pixels_of_the_mask(plane: Plane) -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[12:16, 3:9, 5:8] = True
    index = {Plane.AXIAL: 6, Plane.CORONAL: 5, Plane.SAGITTAL: 13}[plane]
    shown = drawing.draw(np.asarray(255 * mask, np.uint8), GRID, plane, index, WHOLE[plane], "")
    line = vertices(drawing.outline(mask, GRID, plane, index, WHOLE[plane], "#fff").path)
    rows, columns = np.nonzero(pixels(shown) > 127)
    step = np.array([shown.width_mm, shown.height_mm]) / pixels(shown).shape[::-1]
    np.testing.assert_allclose(line.min(axis=0), np.array([columns.min(), rows.min()]) * step, atol=0.06)
    np.testing.assert_allclose(line.max(axis=0), np.array([columns.max() + 1, rows.max() + 1]) * step, atol=0.06)


def test_window_beyond_the_grid_is_black_and_keeps_its_size() -> None:
    grey = np.full(GRID.shape, 200, np.uint8)
    shown = drawing.draw(grey, GRID, Plane.AXIAL, 0, Window((-5, -5), (10, 10)), "")
    assert pixels(shown).shape == (10, 10)
    assert (shown.width_mm, shown.height_mm) == (20.0, 20.0)
    # Radiological: the part beyond the grid lies at the patient's left and back, the lower right of the picture.
    assert pixels(shown)[:4, :4].min() > 180
    assert pixels(shown)[6:, 6:].max() < 20


@pytest.mark.parametrize("slice_mm", [1.5, 3.0, 5.0])
@pytest.mark.parametrize(("marker", "gap_mm"), [(Marker.WMH, 10.0), (Marker.CMB, 4.0)])
def test_slices_of_a_marker_are_never_neighbours_closer_than_the_gap(marker: Marker, gap_mm: float, slice_mm: float) -> None:
    grid = make_grid((10, 10, 40), (4.0, 4.0, slice_mm))
    full = np.ones(grid.shape, bool)
    canvas = figures.Canvas(Sequence.FLAIR, np.zeros(grid.shape, np.uint8), grid, full, Plane.AXIAL, grid)
    shown = figures.marker_pictures(canvas, marker, full, 6)
    heights = [float(picture.title.split("= ")[1].split(" mm")[0].replace("−", "-")) for picture in shown]
    assert len(heights) == min(6, 1 + int(39 * slice_mm // (slice_mm * np.ceil(gap_mm / slice_mm))))
    assert np.diff(heights).min() >= gap_mm - 1.0  # titles are in whole mm


def test_the_graded_slices_of_perivascular_spaces_are_shown() -> None:
    low, high = [((20.0 + 8 * i, 0.0, -12.0), 3.0) for i in range(3)], [((-24.0, 8.0 * i, 36.0), 3.0) for i in range(2)]
    big = [((30.0, 30.0, z), 9.0) for z in (-30.0, 4.0, 16.0)]
    result = paint_result(lesions={Marker.EPVS: tuple(low + high + big)})
    regions = {**dict.fromkeys((1, 2, 3), "basal ganglia"), **dict.fromkeys((4, 5), "centrum semiovale")}
    lesions = tuple(replace(lesion, region=regions.get(lesion.label, "other")) for lesion in result.measurements.lesions)
    result = replace(result, measurements=replace(result.measurements, lesions=lesions))
    image = paint_images(result)[Sequence.T2W]
    section = describe_marker(result, Marker.EPVS, {Sequence.T2W: figures.prepare_canvas(image, result.prepared)})
    titles = [picture.title for picture in section.slices]
    assert len(titles) == 3
    assert "T2w · axial z = −12 mm, slice 18 of 41 from below · most of one side’s basal ganglia" in titles
    assert "T2w · axial z = 36 mm, slice 30 of 41 from below · most of one side’s centrum semiovale" in titles


def test_fullest_slices_are_apart_and_never_empty() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[:5, :5, 3] = mask[:4, :5, 4] = mask[:3, :5, 10] = True
    assert drawing.fullest_slices(mask, Plane.AXIAL, 6, 3) == [3, 10]
    assert drawing.fullest_slices(mask, Plane.AXIAL, 1, 3) == [3]
    assert drawing.fullest_slices(np.zeros(GRID.shape, bool), Plane.AXIAL, 3, 1) == []


def test_thick_slices_are_shown_in_their_own_plane() -> None:
    result = paint_result()
    assert figures.prepare_canvas(paint_images(result)[Sequence.FLAIR], result.prepared).plane is Plane.AXIAL
    sagittal = make_grid((50, 16, 41), (4.0, 10.0, 4.0), "PLS")
    image = head_image(sagittal, Sequence.FLAIR)
    native = {Sequence.FLAIR: Native(sagittal, Mask(np.ones(sagittal.shape, bool), sagittal), Transform.identity())}
    (thick,) = take_images({Sequence.FLAIR: image}, replace(result.prepared, native=native)).values()
    assert figures.prepare_canvas(thick, result.prepared).plane is Plane.SAGITTAL


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SPR"])
def test_slices_are_counted_from_below_whatever_the_order_of_the_file(codes: str) -> None:
    result = paint_result()
    along = {"R": 41, "L": 41, "A": 50, "P": 50, "S": 20, "I": 20}
    mm = {"R": 4.0, "L": 4.0, "A": 4.0, "P": 4.0, "S": 12.0, "I": 12.0}
    nx, ny, nz = (along[code] for code in codes)
    file = make_grid((nx, ny, nz), (mm[codes[0]], mm[codes[1]], mm[codes[2]]), codes)
    brain = resample(result.prepared.anatomy.brain, file)
    assert brain.data.any(axis=tuple(i for i, code in enumerate(codes) if code not in "SI")).sum() < 18  # the report crops
    prepared = replace(result.prepared, native={Sequence.FLAIR: Native(file, brain, Transform.identity())})
    (image,) = take_images({Sequence.FLAIR: head_image(file, Sequence.FLAIR)}, prepared).values()
    canvas = figures.prepare_canvas(image, prepared)
    heights = [canvas.grid.world(np.array([[0, 0, index]]))[0, 2] for index in range(canvas.grid.shape[2])]
    assert [canvas.slice_number(index) for index in range(len(heights))] == [round((z + 114) / 12) + 1 for z in heights]
    assert canvas.tell_slice(2).endswith(f"slice {canvas.slice_number(2)} of 20 from below")


def test_checkerboards_mix_both_sequences_in_two_planes() -> None:
    result = paint_result()
    canvases = {sequence: figures.prepare_canvas(image, result.prepared) for sequence, image in paint_images(result).items()}
    one, other = canvases[Sequence.FLAIR], canvases[Sequence.T2W]
    dark = replace(other, grey=np.zeros_like(other.grey))
    axial, coronal = figures.checkerboards(one, dark, figures.find_landmarks(result.prepared))
    assert [board.title.split(" · ")[1].split(" =")[0] for board in (axial, coronal)] == ["axial z", "coronal y"]
    for board in (axial, coronal):
        shown = pixels(board)[10:-10, 10:-10]
        assert 0.3 < (shown < 10).mean() < 0.8  # about every other field is of the dark one
        assert (shown > 50).mean() > 0.2


def test_close_up_is_centred_on_its_lesion() -> None:
    result = paint_result()
    found = result.segmentation.markers[Marker.CMB]
    assert isinstance(found, MarkerMap)
    canvases = {sequence: figures.prepare_canvas(image, result.prepared) for sequence, image in paint_images(result).items()}
    canvas = canvases.pop(Sequence.SWI)
    mask = figures.native_mask_on(canvas, found, result.prepared)
    lesion = resample(found.labels, canvas.grid).data == 2
    plain, outlined, *others = figures.lesion_pictures(canvas, mask, lesion, "#fff", canvases.values(), 40.0)
    assert [picture.title for picture in (plain, outlined, *others)] == ["SWI", "SWI", "FLAIR", "T1w", "T2w"]
    assert not plain.outlines
    middle = (vertices(outlined.outlines[0].path).min(axis=0) + vertices(outlined.outlines[0].path).max(axis=0)) / 2
    np.testing.assert_allclose(middle, [20.0, 20.0], atol=4.0)
    centre = pixels(plain).shape[0] // 2
    assert pixels(plain)[centre, centre] < pixels(plain).mean() / 2  # a microbleed is dark
    assert all(pixels(other)[centre, centre] > pixels(other).mean() / 2 for other in others)  # and seen on SWI alone


def test_a_lesion_between_the_centres_of_thick_slices_has_a_ring_and_a_close_up() -> None:
    result = paint_result(lesions={Marker.CMB: (((40.0, 10.0, 20.0), 6.0), ((-40.0, -10.0, 30.0), 6.0))})
    found = result.segmentation.markers[Marker.CMB]
    assert isinstance(found, MarkerMap)
    thick = make_grid((41, 50, 8), (4.0, 4.0, 20.0))  # centres at z = 10 and 30
    native = Native(thick, Mask(np.ones(thick.shape, bool), thick), Transform.identity())
    native_mask, chance = bring_to_native(found.labels, found.probability, 0.5, native)
    found = replace(found, native_mask=native_mask, native_probability=chance)
    result = replace(
        result,
        prepared=replace(result.prepared, native={Sequence.SWI: native}),
        segmentation=replace(result.segmentation, markers={**result.segmentation.markers, Marker.CMB: found}),
    )
    (image,) = take_images({Sequence.SWI: head_image(thick, Sequence.SWI)}, result.prepared).values()
    section = describe_marker(result, Marker.CMB, {Sequence.SWI: figures.prepare_canvas(image, result.prepared)})
    assert [crop.lesion.label for crop in section.crops] == [1, 2]
    assert [crop.where for crop in section.crops] == [
        "axial z = 10 mm, slice 5 of 8 from below",
        "axial z = 30 mm, slice 6 of 8 from below",
    ]
    rings = [line.path.count("M") for picture in section.slices for line in picture.outlines if line.style == "ring"]
    assert sum(rings) == 2


def test_signs_of_the_map_lie_at_the_centroids() -> None:
    result = paint_result(lesions={Marker.CMB: (((40.0, 10.0, 25.0), 5.0),)})
    maps = {marker: found for marker, found in result.segmentation.markers.items() if isinstance(found, MarkerMap)}
    axial = figures.map_pictures(result.prepared, maps, result.measurements.lesions)[0]
    sign = next(line for line in axial.outlines if line.style == "sign")
    (lesion,) = result.measurements.lesions
    assert sign.title == f"CMB #1, frontal, right, {lesion.diameter_mm:.1f} mm"
    assert [line.title for line in axial.outlines if line.style == "part"] == ["deep grey matter", "infratentorial"]
    x, _ = vertices(sign.path)[0]
    brain = vertices(axial.outlines[0].path)
    assert x == pytest.approx((brain[:, 0].min() + brain[:, 0].max()) / 2 - 40.0, abs=4.0)  # the patient's right is on the left


@pytest.mark.parametrize(("x_mm", "side"), [(-40.0, "left"), (40.0, "right")])
def test_left_is_left_in_slices_and_map(x_mm: float, side: str) -> None:
    result = paint_result(lesions={Marker.CMB: (((x_mm, 10.0, 25.0), 5.0),)})
    (lesion,) = measure_session(result.prepared, result.segmentation, MeasureSettings()).lesions
    assert lesion.side == side
    found = result.segmentation.markers[Marker.CMB]
    assert isinstance(found, MarkerMap)
    canvas = figures.prepare_canvas(paint_images(result)[Sequence.SWI], result.prepared)
    mask = figures.native_mask_on(canvas, found, result.prepared)
    shown = figures.marker_pictures(canvas, Marker.CMB, mask, 1)[0]
    projected = figures.map_pictures(result.prepared, {Marker.CMB: found}, (lesion,))[0]
    for picture in (shown, projected):
        place = vertices(next(line.path for line in picture.outlines if line.style in ("contour", "sign")))[:, 0].mean()
        assert (picture.left, picture.right) == ("R", "L")
        assert (place > picture.width_mm / 2) == (side == "left")


def test_slices_keep_the_resolution_of_acquisition() -> None:
    result = paint_result()
    fine = make_grid((164, 200, 20), (1.0, 1.0, 8.0), "LPS")
    native = {Sequence.FLAIR: Native(fine, Mask(np.ones(fine.shape, bool), fine), Transform.identity())}
    prepared = replace(result.prepared, native=native)
    (image,) = take_images({Sequence.FLAIR: head_image(fine, Sequence.FLAIR)}, prepared).values()
    canvas = figures.prepare_canvas(image, prepared)
    assert canvas.grid.spacing_mm.tolist() == [1.0, 1.0, 8.0]
    shown = figures.marker_pictures(canvas, Marker.WMH, np.zeros(canvas.grid.shape, bool), 1)[0]
    assert pixels(shown).shape == (shown.height_mm, shown.width_mm)


def test_all_images_together_are_kept_small_at_the_cost_of_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    result = paint_result()
    fine = make_grid((82, 100, 82), (2.0, 2.0, 2.0))
    native = {**result.prepared.native, Sequence.SWI: Native(fine, Mask(np.ones(fine.shape, bool), fine), Transform.identity())}
    acquired = {**result.prepared.images, Sequence.SWI: head_image(fine, Sequence.SWI)}
    prepared = replace(result.prepared, native=native)
    free = {sequence: image.data.size for sequence, image in take_images(acquired, prepared).items()}
    limit = sum(free.values()) // 2
    monkeypatch.setattr(images, "MAX_VOXELS_TOGETHER", limit)
    kept = {sequence: image.data.size for sequence, image in take_images(acquired, prepared).items()}
    assert 0.9 * limit < sum(kept.values()) <= limit
    assert [sequence for sequence in kept if kept[sequence] != free[sequence]] == [Sequence.SWI]
    assert images._fair_limit([10**7] * 4) * 4 == limit
    thick = head_image(make_grid((164, 200, 20), (1.0, 1.0, 8.0)), Sequence.SWI)
    reduced = images._reduce(thick, thick.data.size / 2).grid
    np.testing.assert_allclose(reduced.spacing_mm, [2**0.5, 2**0.5, 8.0], rtol=0.02)
    np.testing.assert_allclose(reduced.world(np.array([[(n - 1) / 2 for n in reduced.shape]])), [[0.0, 0.0, 0.0]], atol=0.01)


def test_images_come_back_from_a_report_as_they_went_in(tmp_path: Path) -> None:
    result = paint_result()
    taken = paint_images(result)
    write_report(result, taken, tmp_path / "report.html")
    again = read_images(tmp_path / "report.html")
    assert list(again) == list(taken)
    for sequence, image in taken.items():
        assert np.array_equal(again[sequence].data, image.data)
        assert again[sequence].grid == image.grid
        assert (again[sequence].black, again[sequence].white) == (image.black, image.white)
    (tmp_path / "other.html").write_text("<html></html>")
    with pytest.raises(InputError, match="carries no images"):
        read_images(tmp_path / "other.html")


def test_a_lost_slice_is_seen_in_the_signal() -> None:
    result = paint_result()
    data = result.prepared.images[Sequence.FLAIR].data.copy()
    data[:, :, 20] *= 0.2
    taken = take_images({**result.prepared.images, Sequence.FLAIR: Volume(data, result.prepared.grid)}, result.prepared)
    damaged, whole = (
        figures.plot_signal(taken[sequence], figures.prepare_canvas(taken[sequence], result.prepared))
        for sequence in (Sequence.FLAIR, Sequence.T1W)
    )
    canvas = figures.prepare_canvas(taken[Sequence.FLAIR], result.prepared)
    assert damaged.oddest == f"slice 21 of {canvas.acquired.shape[2]} from below"
    assert damaged.jump < -0.5
    assert damaged.place is not None
    assert damaged.place[1] > 0.7 * figures.PLOT_HEIGHT  # near the bottom of the plot
    assert abs(whole.jump) < 0.3
    assert damaged.lowest < 0.5
    assert whole.lowest > 0.6
