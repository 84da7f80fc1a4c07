"""Centre lines: against Fresnel's integrals, hand arithmetic, IfcOpenShell's own evaluation, and real files."""

import json
import math
import os
from pathlib import Path

import ifcopenshell
import ifcopenshell.api.alignment
import ifcopenshell.geom
import numpy as np
import pytest
from ifcopenshell import ifcopenshell_wrapper as wrapper
from scipy.integrate import quad
from scipy.special import fresnel

from ingest import read as read_any
from ingest.ifc import reader as ifc
from ingest.ifc.alignment import KINDS, Turn
from ingest.ifc.centre_line import CHORD_M, Unusable, centre_line
from ingest.ifc.profile import Rise
from layers.source import ControlPoint, Hints
from tests.ingest.test_ifc import box_model, saved

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("CITYTWIN_REALDATA", ROOT.parent / "shared" / "realdata")) / "ifc"
needs_realdata = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real files (CITYTWIN_REALDATA)")
HINTS = Hints(city_crs="EPSG:4549")
HERE = tuple(
    ControlPoint((x, y, z), (x, y, z))
    for x, y, z in ((0.0, 0.0, 0.0), (1000.0, 0.0, 5.0), (0.0, 1000.0, 1.0), (1300.0, 700.0, 9.0))
)


def test_a_line_and_an_arc_by_hand():
    line = Turn(100, 200, math.atan2(3, 4), 0, 0, 10, "LINE")
    assert line.points(np.array([5.0, 10.0])) == pytest.approx(np.array([[104, 203], [108, 206]]))
    # quarter circle of radius 50 to the right, from (0, 0) to the east: centre (0, -50)
    arc = Turn(0, 0, 0, -50, -50, 25 * math.pi, "CIRCULARARC")
    s = np.linspace(1, 25 * math.pi, 20)
    assert np.linalg.norm(arc.points(s) - [0, -50], axis=1) == pytest.approx(np.full(20, 50.0), abs=1e-9)
    assert arc.points(s)[-1] == pytest.approx([50, -50], abs=1e-9)
    assert arc.headings(s)[-1] == pytest.approx(-math.pi / 2)


@pytest.mark.parametrize("radius", [1000.0, -300.0, 40.0])
def test_a_clothoid_is_fresnels(radius):
    """x = a C(s / a), y = a S(s / a) with a = sqrt(pi |R| L)."""
    length = 80.0
    s = np.linspace(0.5, length, 40)
    a = math.sqrt(math.pi * abs(radius) * length)
    sines, cosines = fresnel(s / a)
    theirs = np.column_stack([a * cosines, math.copysign(a, radius) * sines])
    assert Turn(0, 0, 0, 0, radius, length, "CLOTHOID").points(s) == pytest.approx(theirs, abs=1e-9)


def evaluated(curve, distances):
    settings = ifcopenshell.geom.settings()
    function = wrapper.function_item_evaluator(settings, wrapper.map_shape(settings, curve))
    return np.array([np.array(function.evaluate(float(each)))[:3, 3] for each in distances])


def layout(kind, first, last):
    """IfcOpenShell's own curve for one segment that starts at (10, 20) in direction 0.3, 90 m long."""
    file = ifcopenshell.file(schema="IFC4X3_ADD2")
    project = file.create_entity("IfcProject", "0000000000000000000001")
    unit = file.create_entity("IfcSIUnit", UnitType="LENGTHUNIT", Name="METRE")
    angle = file.create_entity("IfcSIUnit", UnitType="PLANEANGLEUNIT", Name="RADIAN")
    project.UnitsInContext = file.create_entity("IfcUnitAssignment", [unit, angle])
    frame = file.create_entity("IfcAxis2Placement3D", file.create_entity("IfcCartesianPoint", (0.0, 0.0, 0.0)))
    context = file.create_entity("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, frame)
    project.RepresentationContexts = [context]
    is_leaning = kind == "VIENNESEBEND"
    made = ifcopenshell.api.alignment.create(file, "a", include_vertical=is_leaning, include_cant=is_leaning)
    if is_leaning:  # rails 1.5 m apart, the outer one 0.15 m up, the centre of gravity 1.8 m over them
        cant = ifcopenshell.api.alignment.get_cant_layout(made)
        cant.RailHeadDistance = 1.5
        tilt = [0.0, 90.0, 0.0, 0.0, 0.0, 0.15, kind]
        design = file.create_entity("IfcAlignmentCantSegment", None, None, *tilt)
        ifcopenshell.api.alignment.create_layout_segment(file, cant, design)
    point = file.create_entity("IfcCartesianPoint", (10.0, 20.0))
    design = file.create_entity(
        "IfcAlignmentHorizontalSegment", None, None, point, 0.3, first, last, 90.0, 1.8 if is_leaning else None, kind
    )
    horizontal = ifcopenshell.api.alignment.get_horizontal_layout(made)
    ifcopenshell.api.alignment.create_layout_segment(file, horizontal, design)
    return file, file.by_type("IfcCompositeCurve", include_subtypes=False)[0]  # the curve lives as long as its file


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "last"), [(0.0, 300.0), (-250.0, 0.0), (200.0, 700.0)])
def test_every_kind_of_segment_is_as_ifcopenshell_evaluates_it(kind, first, last):
    if kind == "LINE":
        first = last = 0.0
    if kind == "CIRCULARARC":
        first = last = first or last
    s = np.linspace(1.0, 89.0, 12)
    if kind == "HELMERTCURVE" and first:
        pytest.skip("there theirs has a kink of 1 mrad in the middle; the next test integrates the curvature itself")
    file, curve = layout(kind, first, last)
    theirs = evaluated(curve, s)[:, :2]
    assert len(file.by_type("IfcAlignment")) == 1
    lean = -420 * 1.8 / 90 * 0.15 / 1.5 if kind == "VIENNESEBEND" else 0.0
    ours = Turn(10, 20, 0.3, first, last, 90, kind, lean).points(s)
    # theirs: sums of small steps
    assert np.abs(ours - theirs).max() < 0.001


SHARES = {
    "CLOTHOID": lambda t: t,
    "BLOSSCURVE": lambda t: 3 * t**2 - 2 * t**3,
    "COSINECURVE": lambda t: (1 - math.cos(math.pi * t)) / 2,
    "SINECURVE": lambda t: t - math.sin(2 * math.pi * t) / (2 * math.pi),
    "HELMERTCURVE": lambda t: 2 * t**2 if t < 0.5 else 1 - 2 * (1 - t) ** 2,
    "VIENNESEBEND": lambda t: 35 * t**4 - 84 * t**5 + 70 * t**6 - 20 * t**7,
}


@pytest.mark.parametrize("kind", SHARES)
def test_curvature_integrated_by_scipy(kind):
    """1 / R between the ends as IFC 4.3.2 has it for each kind, turned into direction by an adaptive rule."""
    turn = Turn(0, 0, 0.3, 200, 700, 90, kind)
    for s, theirs in zip((20.0, 45.0, 60.0, 90.0), turn.headings(np.array([20.0, 45.0, 60.0, 90.0])), strict=True):
        bent = quad(lambda u: 1 / 200 + (1 / 700 - 1 / 200) * SHARES[kind](u / 90), 0, s, points=[45.0])[0]
        assert theirs == pytest.approx(0.3 + bent, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_direction_is_the_derivative_of_position(kind):
    turn = Turn(0, 0, 1.0, 200, 200 if kind in {"LINE", "CIRCULARARC"} else -80, 60, kind, lean=0.05)
    s = np.linspace(1, 59, 30)
    step = (turn.points(s + 1e-4) - turn.points(s - 1e-4)) / 2e-4
    assert np.hypot(*step.T) == pytest.approx(np.ones(30), abs=1e-6)  # the length is that along the line
    assert np.cos(np.arctan2(step[:, 1], step[:, 0]) - turn.headings(s)) == pytest.approx(np.ones(30), abs=1e-9)
    bends = np.abs(np.diff(turn.headings(s)) / np.diff(s))
    assert bends.max() <= turn.sharpest() * 1.01


def test_heights_by_hand():
    x = np.array([0.0, 25.0, 100.0])
    assert Rise(0, 7, 100, 0.02, 0.02, "CONSTANTGRADIENT").heights(x) == pytest.approx([7, 7.5, 9])
    # crest from +4 % to -2 % over 100 m: 7 + 0.04 x - 0.0003 x^2
    assert Rise(0, 7, 100, 0.04, -0.02, "PARABOLICARC").heights(x) == pytest.approx([7, 7.8125, 8])
    # a 3-4-5 triangle: from level to a slope of 3/4 with sin = 0.6 over 60 m is a radius of 100 m, 20 m up
    arc = Rise(0, 7, 60, 0, 0.75, "CIRCULARARC")
    assert arc.heights(np.array([0.0, 60.0])) == pytest.approx([7, 27])
    assert arc.heights(np.array([28.0])) == pytest.approx([7 + 100 - 96])
    assert arc.heights(np.array([-10.0, 64.0])) == pytest.approx([7, 30])  # beyond: the gradient is kept
    cubic = Rise(0, 7, 60, 0, 0.75, "CLOTHOID", 27.0)
    assert cubic.heights(np.array([0.0, 60.0])) == pytest.approx([7, 27])


def found(horizontal, vertical=(), cant=None):
    return {"horizontal": horizontal, "vertical": list(vertical), "cant": cant}


def segment(kind="LINE", **changes):
    plain = {"x": 0.0, "y": 0.0, "direction": 0.0, "start_radius": 0.0, "end_radius": 0.0, "length": 10.0}
    return {**plain, "kind": kind, "gravity_height": 0.0, "start": 0.0, **changes}


def test_a_sampled_line_keeps_within_a_centimetre():
    arc = segment("CIRCULARARC", start_radius=80.0, end_radius=80.0, length=120.0)
    rise = {"start": 0.0, "height": 0.0, "length": 120.0, "first": 0.08, "last": -0.08, "kind": "CIRCULARARC"}
    line = centre_line(found([arc], [rise]), 1.0)
    corners = line.sampled()
    true, _ = line.at(np.linspace(0, 120, 5000))
    a, b = corners[:-1], corners[1:]
    along = np.clip(np.einsum("nij,ij->ni", true[:, None] - a, b - a) / ((b - a) ** 2).sum(axis=1), 0, 1)
    apart = np.linalg.norm(true[:, None] - (a + along[..., None] * (b - a)), axis=2).min(axis=1)
    assert apart.max() <= CHORD_M
    assert len(corners) < 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"length": math.nan}, "not finite"),
        ({"length": -1.0}, "negative"),
        ({"kind": "SPIRAL"}, "SPIRAL"),
        ({"length": 0.0}, "no horizontal segment"),
        ({"length": 1e9}, "longer than"),
        ({"kind": "CIRCULARARC", "start_radius": 1e-6, "end_radius": 1e-6}, "round and round"),
    ],
)
def test_numbers_that_make_no_line_are_refused(changes, words):
    with pytest.raises(Unusable, match=words):
        centre_line(found([segment(**changes)]), 1.0)


def test_gaps_and_jumps_are_told():
    rises = [
        {"start": 0.0, "height": 5.0, "length": 10.0, "first": 0.1, "last": 0.1, "kind": "CONSTANTGRADIENT"},
        {"start": 10.0, "height": 6.5, "length": 5.0, "first": 0.0, "last": 0.0, "kind": "CONSTANTGRADIENT"},
    ]
    line = centre_line(found([segment(), segment(x=10.0, y=0.25)], rises), 1.0)
    assert [note for note in line.notes if "ends 0.250 m beside" in note]
    assert [note for note in line.notes if "jump by 0.500 m at 10.00 m" in note]
    assert [note for note in line.notes if "from 0.00 to 15.00 m of 20.00 m" in note]


ALIGNMENT = """#300=IFCALIGNMENT('1000000000000000000001',$,'A1',$,$,#301,$,$);
#301=IFCLOCALPLACEMENT($,#302);\n#302=IFCAXIS2PLACEMENT3D(#303,$,$);\n#303=IFCCARTESIANPOINT((100.,0.,2.));
#304=IFCRELNESTS('1000000000000000000002',$,$,$,#300,(#305,#306));
#305=IFCALIGNMENTHORIZONTAL('1000000000000000000003',$,$,$,$,$,$);
#306=IFCALIGNMENTVERTICAL('1000000000000000000004',$,$,$,$,$,$);
#307=IFCRELNESTS('1000000000000000000005',$,$,$,#305,(#310,#311));
#308=IFCRELNESTS('1000000000000000000006',$,$,$,#306,(#312));
#309=IFCRELNESTS('1000000000000000000007',$,$,$,#300,(#330));
#310=IFCALIGNMENTSEGMENT('1000000000000000000008',$,$,$,$,$,$,#320);
#311=IFCALIGNMENTSEGMENT('1000000000000000000009',$,$,$,$,$,$,#321);
#312=IFCALIGNMENTSEGMENT('1000000000000000000010',$,$,$,$,$,$,#322);
#320=IFCALIGNMENTHORIZONTALSEGMENT($,$,#323,90.,0.,0.,30.,$,.LINE.);
#321=IFCALIGNMENTHORIZONTALSEGMENT($,$,#324,90.,-20.,-20.,31.415926535897931,$,.CIRCULARARC.);
#322=IFCALIGNMENTVERTICALSEGMENT($,$,0.,61.415926535897931,7.,0.1,0.1,$,.CONSTANTGRADIENT.);
#323=IFCCARTESIANPOINT((1.,2.));\n#324=IFCCARTESIANPOINT((1.,32.));
#330=IFCREFERENT('1000000000000000000011',$,'K0+500',$,$,#331,$,.STATION.);
#331=IFCLOCALPLACEMENT($,#332);\n#332=IFCAXIS2PLACEMENT3D(#333,$,$);\n#333=IFCCARTESIANPOINT((101.,2.,9.));
#340=IFCCONVERSIONBASEDUNIT(#341,.PLANEANGLEUNIT.,'DEGREE',#342);\n#341=IFCDIMENSIONALEXPONENTS(0,0,0,0,0,0,0);
#342=IFCMEASUREWITHUNIT(IFCPLANEANGLEMEASURE(0.017453292519943295),#343);
#343=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);
#350=IFCPROPERTYSET('1000000000000000000012',$,'Pset_Stationing',$,(#351));
#351=IFCPROPERTYSINGLEVALUE('Station',$,IFCLENGTHMEASURE(500.),$);
#352=IFCRELDEFINESBYPROPERTIES('1000000000000000000013',$,$,$,(#330),#350);"""


def alignment_model():
    text = box_model(ALIGNMENT).replace("'IFC4'", "'IFC4X3_ADD2'")
    return text.replace("IFCUNITASSIGNMENT((#21))", "IFCUNITASSIGNMENT((#21,#340))")


def rows_of(reading, layer_type):
    layer = next(each for each in reading.layers if each.layer_type == layer_type)
    rows = {}
    for batch in layer.batches():
        for key, geometry, row, extra in zip(
            batch.ids, batch.geometry, batch.attributes.to_pylist(), batch.extra, strict=True
        ):
            rows[key] = row | {"geometry": geometry, "extra": json.loads(extra or "{}")}
    assert layer.n_read == len(rows) + len(layer.rejects)
    return layer, rows


def test_a_written_out_alignment_in_degrees_lands_by_hand(tmp_path):
    reading = ifc.read(saved(tmp_path, alignment_model()), HINTS)
    layer, rows = rows_of(reading, "alignment")
    [row] = rows.values()
    points = np.array(row["geometry"].coords)
    # 598000 + 100 + 1, 3109500 + 2, 5 + 2 + 7; 30 m north, then a quarter circle of 20 m to the east; 10 % up
    assert points[0] == pytest.approx([598101, 3109502, 14])
    assert points[-1] == pytest.approx([598121, 3109552, 14 + 3 + math.pi])
    assert (row["name"], row["length_m"], row["min_radius_m"]) == ("A1", pytest.approx(30 + 10 * math.pi), 20)
    assert (layer.crs, layer.vertical_crs, layer.issues) == ("EPSG:4549", "EPSG:5737", [])
    [referent] = rows_of(reading, "referent")[1].values()
    assert referent["station_m"] == 500
    assert referent["geometry"].coords[0] == pytest.approx((598101, 3109502, 14))
    left_out = [issue for each in reading.layers for issue in each.issues if issue.code == "IFC_PRODUCTS_NOT_READ"]
    assert not left_out


def test_an_alignment_without_heights_has_none_and_says_so(tmp_path):
    text = alignment_model().replace("#300,(#305,#306)", "#300,(#305)")
    layer, rows = rows_of(ifc.read(saved(tmp_path, text), HINTS), "alignment")
    [row] = rows.values()
    assert not row["geometry"].has_z
    assert any("no vertical layout" in issue.message for issue in layer.issues)


def test_a_broken_alignment_is_rejected_and_the_walls_stay(tmp_path):
    text = alignment_model().replace(".CIRCULARARC.", ".CUBIC.").replace("-20.,-20.,", "0.,0.0000001,")
    reading = ifc.read(saved(tmp_path, text), HINTS)
    layer, rows = rows_of(reading, "alignment")
    assert not rows
    [reject] = layer.rejects
    assert (reject.code, reject.where, reject.content["name"]) == ("IFC_NO_ALIGNMENT_LINE", "1" + "0" * 20 + "1", "A1")
    assert len(rows_of(reading, "bim_element")[1]) == 1


@needs_realdata
@pytest.mark.parametrize(
    ("name", "city", "n_lines", "least"),
    [
        ("linear_placement_signal_ifc4x3", "EPSG:3065", 1, 1.0),
        ("pgsuper_bridge_ifc4x3", "EPSG:25832", 1, 1.0),
        # the curves of these two are torn in single segments, by metres; their layouts are not
        ("grf006_valid_wkt_crs_ifc4x3", "EPSG:3065", 2, 0.85),
        ("rail_awc_1_ifc4x3", "EPSG:25832", 1, 0.8),
    ],
)
def test_real_alignments_lie_on_the_curves_of_their_files(name, city, n_lines, least):
    """The gradient curves of the files, evaluated by IfcOpenShell: another statement of the same line."""
    text = (REAL / f"{name}.ifc").read_text("utf8").replace("IFC4X3_RC4", "IFC4X3_ADD2")
    model = ifcopenshell.file.from_string(text)
    hints = Hints(city_crs=city) if city == "EPSG:3065" else Hints(city_crs=city, control_points=HERE)
    layer, rows = rows_of(read_any(REAL / f"{name}.ifc", hints), "alignment")
    assert len(rows) == n_lines
    assert not [issue for issue in layer.issues if issue.code == "IFC_ALIGNMENT"]
    for alignment in model.by_type("IfcAlignment"):
        line = rows[alignment.GlobalId]["geometry"]
        axis = next(
            each for each in alignment.Representation.Representations if each.RepresentationIdentifier == "Axis"
        )
        curve = axis.Items[0]
        curve = curve if curve.is_a() == "IfcGradientCurve" else curve.BaseCurve
        length = rows[alignment.GlobalId]["length_m"]
        corners = np.array(line.coords)[:, : 3 if least == 1 else 2]
        a, b = corners[:-1], corners[1:]
        good = 0
        for point in evaluated(curve, np.linspace(0.001, length - 0.001, 40)):
            p = point[: corners.shape[1]]
            along = np.clip(((p - a) * (b - a)).sum(axis=1) / ((b - a) ** 2).sum(axis=1), 0, 1)
            good += np.linalg.norm(p - (a + along[:, None] * (b - a)), axis=1).min() < CHORD_M + 0.002
        assert good >= least * 40


@needs_realdata
def test_real_stations_lie_where_the_file_puts_them_in_coordinates():
    """Each linear placement of this file also has a CartesianPosition: 23 foreign answers."""
    path = REAL / "linear_placement_signal_ifc4x3.ifc"
    reading = ifc.read(path, Hints(city_crs="EPSG:3065"))
    layer, rows = rows_of(reading, "referent")
    assert len(rows) == 23
    assert not layer.issues
    for referent in ifcopenshell.open(path).by_type("IfcReferent"):
        said = referent.ObjectPlacement.CartesianPosition.Location.Coordinates
        assert rows[referent.GlobalId]["geometry"].coords[0] == pytest.approx(said, abs=0.002)
    [line] = rows_of(reading, "alignment")[1].values()
    assert line["start_station_m"] == pytest.approx(-153.1)
    by_name = {row["name"]: row for row in rows.values()}
    assert by_name["End"]["station_m"] - by_name["StaStation"]["station_m"] == pytest.approx(1029.372, abs=0.001)
