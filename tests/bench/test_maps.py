"""How fast maps are drawn, beside matplotlib's own collections of the same shapes and GDAL's rasterizing of them.

Parcels are the coverage of `test_mvt.py`. The box is chosen so that about 1,000, 10,000 or 100,000 of them are in a
picture of 512 x 512; the whole million is a picture too. Both peers get what we must first find and read: shapely
geometries in memory, in the picture's CRS.
"""

import resource
import threading
import time

import numpy as np
import pytest
import shapely

import twin
from tests.bench.test_mvt import EAST, NORTH, SIDE_M, city, parcels, told  # noqa: F401 -- a fixture
from tiles import drawing
from tiles.drawing import View

pytestmark = pytest.mark.bench

SIZE = 512


def view_of(count, crs="EPSG:4549"):
    """A square with about so many parcels in the middle of the coverage."""
    half = count**0.5 * SIDE_M / 2
    return View(crs, (EAST - half, NORTH - half, EAST + half, NORTH + half), SIZE, SIZE)


def pixels(opened, view):
    return drawing.Drawing(opened, opened.scope, (drawing.VectorItem("parcel"),), view).pixels()


def best(call, times=5):
    """Seconds on the clock and of the processor (other work may take turns with us), and what came out."""
    found, used = [], []
    for _ in range(times):
        begin, spent = time.perf_counter(), time.process_time()
        result = call()
        found.append(time.perf_counter() - begin)
        used.append(time.process_time() - spent)
    return (np.array(found), np.array(used)), result


def say(name, timed):
    seconds, used = timed
    told(name, seconds, [0], used)


def by_matplotlib(shapes, view):
    """The same fills and outlines as a PolyCollection on an Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    figure = Figure((SIZE / 100, SIZE / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    west, south, east, north = view.bounds
    axes.set(xlim=(west, east), ylim=(south, north))
    axes.axis("off")
    rings = [shapely.get_coordinates(each) for each in shapes]
    axes.add_collection(PolyCollection(rings, facecolor="#e8d8b0", edgecolor="#6b6b6b", linewidth=0.72))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def by_gdal(shapes, view):
    """One value for each shape burnt in, no outlines, no antialiasing."""
    from rasterio.features import rasterize
    from rasterio.transform import from_bounds

    place = from_bounds(*view.bounds, SIZE, SIZE)
    return rasterize(((each, 1) for each in shapes), (SIZE, SIZE), transform=place, dtype="uint8")


@pytest.mark.parametrize("count", [1_000, 10_000, 100_000])
def test_map_beside_matplotlib_and_gdal(city, count):  # noqa: F811
    n, folder, (_, shapes, _) = city
    if count > n:
        pytest.skip("the coverage has not so many parcels")
    view = view_of(count)
    inside = shapes[shapely.intersects(shapely.box(*view.bounds), shapes)]
    with twin.open(folder) as opened:
        pixels(opened, view)
        ours, drawn = best(lambda: pixels(opened, view))
        mercator = View("EPSG:3857", tuple(twin_box(view)), SIZE, SIZE)
        elsewhere, _ = best(lambda: pixels(opened, mercator))
    theirs, plotted = best(lambda: by_matplotlib(inside, view), 3)
    burnt, mask = best(lambda: by_gdal(inside, view), 3)
    covered = drawn[..., 3] > 0
    assert covered.mean() > 0.99
    assert (plotted[..., :3].sum(axis=2) < 765).mean() > 0.99
    assert mask.mean() > 0.99
    for name, seconds in (
        (f"ours, {n} stored", ours), ("ours in EPSG:3857", elsewhere), ("matplotlib", theirs), ("GDAL burn", burnt),
    ):  # fmt: skip
        say(f"{name}, {len(inside)} in the picture", seconds)


def twin_box(view):
    from layers import crs

    return crs.transform_bounds("EPSG:4549", "EPSG:3857", view.bounds)


@pytest.mark.parametrize("side", [512, 2048])
def test_everything_in_one_map(city, side):  # noqa: F811
    """Bounded in time and memory whatever is stored: what is smaller than a pixel is not read as a shape."""
    n, folder, _ = city
    half = (n**0.5 + 2) * SIDE_M / 2
    view = View("EPSG:4549", (EAST - half, NORTH - half, EAST + half, NORTH + half), side, side)
    with twin.open(folder) as opened:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, drawn = best(lambda: pixels(opened, view), 3)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (drawn[..., 3] > 0).mean() > 0.95
    say(f"all {n} at {side} x {side}, {grown:.0f} MB more at the peak", seconds)


def test_eight_readers_at_once(city):  # noqa: F811
    """Maps of large pictures wait for one another: memory is that of one."""
    n, folder, _ = city
    view = View("EPSG:4549", view_of(min(n, 100_000)).bounds, 2048, 2048)
    with twin.open(folder) as opened:
        pixels(opened, view)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        readers = [threading.Thread(target=pixels, args=(opened, view)) for _ in range(8)]
        begin = time.perf_counter()
        for each in readers:
            each.start()
        for each in readers:
            each.join()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    told(f"8 at once, {grown:.0f} MB more at the peak", np.array([time.perf_counter() - begin]), [0])


__all__ = ["parcels"]
