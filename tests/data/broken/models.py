"""Building models: IFC (cases 28 to 32), written out as text so that no library stands between, and CityJSON (33)."""

import json
from pathlib import Path
from typing import Any

from broken.case import EAST, NORTH, Case

GUIDS = [f"{i:022d}" for i in range(9)]
METRE = "#21=IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.);"
MILLIMETRE = "#21=IFCSIUNIT(*,.LENGTHUNIT.,.MILLI.,.METRE.);"
OUTLINE = ((0, 0), (4, 0), (4, 1), (0, 1))


def conversion(east: float = EAST, north: float = NORTH, turn: str = "1.,0.", scale: str = "1.") -> str:
    """A map conversion into EPSG:4549, heights of 1985."""
    return (
        "#70=IFCPROJECTEDCRS('EPSG:4549',$,$,'EPSG:5737',$,$,#29);\n#29=IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.);\n"
        f"#71=IFCMAPCONVERSION(#10,#70,{east},{north},5.,{turn},{scale});"
    )


def building(
    more: str = "", *, unit: str = METRE, outline: Any = OUTLINE, high: float = 3.0, walls: str = "", site: str = "$,$"
) -> str:
    """IFC4: a site, a building, a storey and one wall as a prism; `walls` are further lines."""
    points = "\n".join(f"#{60 + i}=IFCCARTESIANPOINT(({float(x)},{float(y)}));" for i, (x, y) in enumerate(outline))
    ring = ",".join(f"#{60 + i}" for i in range(len(outline)))
    return f"""ISO-10303-21;
HEADER;
FILE_DESCRIPTION((''),'2;1');
FILE_NAME('','',(''),(''),'','','');
FILE_SCHEMA(('IFC4'));
ENDSEC;
DATA;
#1=IFCPROJECT('{GUIDS[0]}',$,'p',$,$,$,$,(#10),#20);
#10=IFCGEOMETRICREPRESENTATIONCONTEXT($,'Model',3,1.E-05,#11,$);
#11=IFCAXIS2PLACEMENT3D(#12,$,$);
#12=IFCCARTESIANPOINT((0.,0.,0.));
#20=IFCUNITASSIGNMENT((#21));
{unit}
#30=IFCLOCALPLACEMENT($,#11);
#40=IFCEXTRUDEDAREASOLID(#50,#11,#41,{high});
#41=IFCDIRECTION((0.,0.,1.));
#50=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#51);
#51=IFCPOLYLINE(({ring},#60));
{points}
#55=IFCSHAPEREPRESENTATION(#10,'Body','SweptSolid',(#40));
#56=IFCPRODUCTDEFINITIONSHAPE($,$,(#55));
#80=IFCSITE('{GUIDS[1]}',$,'s',$,$,#30,$,$,.ELEMENT.,{site},$,$,$);
#81=IFCBUILDING('{GUIDS[2]}',$,'b',$,$,#30,$,$,.ELEMENT.,$,$,$);
#82=IFCBUILDINGSTOREY('{GUIDS[3]}',$,'1F',$,$,#30,$,$,.ELEMENT.,0.);
#83=IFCRELAGGREGATES('{GUIDS[4]}',$,$,$,#1,(#80));
#84=IFCRELAGGREGATES('{GUIDS[5]}',$,$,$,#80,(#81));
#85=IFCRELAGGREGATES('{GUIDS[6]}',$,$,$,#81,(#82));
#86=IFCRELCONTAINEDINSPATIALSTRUCTURE('{GUIDS[7]}',$,$,$,(#100),#82);
#100=IFCWALL('{GUIDS[8]}',$,'wall',$,$,#30,#56,$,$);
{walls}
{more}
ENDSEC;
END-ISO-10303-21;
"""


def ifc(text: str) -> Any:
    """A writer of that text."""
    return lambda folder: (folder / "model.ifc").write_text(text)


BOSTON = "(42,21,31,181945),(-71,-3,-24,-263305)"
OPEN_MESH = """#90=IFCCARTESIANPOINTLIST3D(((0.,0.,0.),(1.,0.,0.),(1.,1.,0.),(0.,0.,1.)));
#91=IFCTRIANGULATEDFACESET(#90,$,$,((1,2,3),(1,2,4)),$);
#92=IFCSHAPEREPRESENTATION(#10,'Body','Tessellation',(#91));
#93=IFCPRODUCTDEFINITIONSHAPE($,$,(#92));
"""
ODD_WALLS = (
    f"#101=IFCWALL('{GUIDS[8]}',$,'twin',$,$,#30,#56,$,$);\n"
    "#102=IFCWALL('1000000000000000000001',$,'bare',$,$,#30,$,$,$);\n"
    f"{OPEN_MESH}#103=IFCWALL('1000000000000000000002',$,'open',$,$,#30,#93,$,$);\n"
)
FAR = tuple((EAST + 40e6 + x, NORTH + y) for x, y in OUTLINE)


def city_model(**changes: Any) -> dict[str, Any]:
    """CityJSON 2.0 with one block of 10 x 8 x 5 m."""
    solid = [[[[0, 3, 2, 1]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]]]]
    corners = [[x, y, z] for z in (0, 5000) for x, y in ((0, 0), (10000, 0), (10000, 8000), (0, 8000))]
    model = {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [0.001] * 3, "translate": [EAST, NORTH, 0]},
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4549"},
        "CityObjects": {"b1": {"type": "Building", "geometry": [{"type": "Solid", "lod": "1", "boundaries": solid}]}},
        "vertices": corners,
    }
    return {key: value for key, value in {**model, **changes}.items() if value is not None}


def city(**changes: Any) -> Any:
    """A writer of a CityJSON file."""
    return lambda folder: (folder / "model.city.json").write_text(json.dumps(city_model(**changes)))


def one_bad_index(folder: Path) -> None:
    model = city_model()
    good = model["CityObjects"]["b1"]
    bad = json.loads(json.dumps(good))
    bad["geometry"][0]["boundaries"][0][0][0][0] = 99
    no_lod = json.loads(json.dumps(good))
    del no_lod["geometry"][0]["lod"]
    model["CityObjects"] |= {"b2": bad, "b3": no_lod}
    (folder / "model.city.json").write_text(json.dumps(model))


def old_version() -> Any:
    """CityJSON 1.0 without `transform`: vertices are plain numbers there."""
    corners = [[EAST + x / 1000, NORTH + y / 1000, z / 1000] for x, y, z in city_model()["vertices"]]
    system = {"referenceSystem": "urn:ogc:def:crs:EPSG::4549"}
    return city(version="1.0", transform=None, vertices=corners, metadata=system)


CASES = (
    Case(28, "28_no_place", ifc(building()), ("IFC_NO_GEOREFERENCE",)),
    Case(28, "28_zero_island", ifc(building(site="(0,0,0),(0,0,0)")), ("IFC_DEFAULT_POSITION",)),
    Case(28, "28_default_city", ifc(building(site=BOSTON)), ("IFC_DEFAULT_POSITION",)),
    Case(29, "29_millimetres_as_metres", ifc(building(conversion(), outline=[(x * 1000, y * 1000) for x, y in OUTLINE],
         high=3000.0)), ("MODEL_SIZE_UNLIKELY",), 4, 4),
    Case(29, "29_scale_left_out", ifc(building(conversion(), unit=MILLIMETRE, high=3000.0,
         outline=[(x * 1000, y * 1000) for x, y in OUTLINE])), ("IFC_CONTRADICTION",), 4, 4),
    Case(30, "30_turned", ifc(building(conversion(turn="0.,1."))), ("",), 4, 4),
    Case(31, "31_far_from_origin", ifc(building(conversion(0.0, 0.0).replace("4549", "4528"), outline=FAR)), ("",),
         4, 4),
    Case(32, "32_odd_elements", ifc(building(conversion(), walls=ODD_WALLS)), ("IFC_DUPLICATE_GUID",
         "IFC_ELEMENT_WITHOUT_BODY"), 7, 6),
    Case(33, "33_no_transform", city(transform=None), ("CJ_INVALID",)),
    Case(33, "33_version_0_9", city(version="0.9"), ("CJ_VERSION",)),
    Case(33, "33_version_1_0", old_version(), ("",), 1, 1),
    Case(33, "33_bad_index", one_bad_index, ("CJ_VERTEX_OUT_OF_RANGE",), 3, 2),
)  # fmt: skip
