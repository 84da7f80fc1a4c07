"""What a folder holds, and what city.toml says about it."""

import importlib

import pytest

from ingest import READERS, city_toml, reader_for, scan, suffix_of
from layers.errors import InvalidInput


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_side_files_belong_to_their_source_in_any_case(tmp_path):
    touch(
        tmp_path,
        "a/Pipes.SHP",
        "a/Pipes.dbf",
        "a/Pipes.shx",
        "a/Pipes.shp.xml",
        "dem.tif",
        "dem.tfw",
        "dem.tif.aux.xml",
        "b.csv",
        "orphan.dbf",
    )
    found = {each.name: {part.name for part in each.parts} for each in scan.sources(tmp_path)}
    assert found == {
        "a/Pipes.SHP": {"Pipes.SHP", "Pipes.dbf", "Pipes.shx", "Pipes.shp.xml"},
        "b.csv": {"b.csv"},
        "dem.tif": {"dem.tif", "dem.tfw", "dem.tif.aux.xml"},
        "orphan.dbf": {"orphan.dbf"},
    }
    assert [each.name for each in scan.sources(tmp_path)] == sorted(found)


def test_what_is_passed_over_has_a_reason(tmp_path):
    touch(tmp_path, "city.toml", "README.md", "expected.json", ".git/x", "notes.txt", "~$a.csv", "a.csv", "strange.xyz")
    found = {each.name: each.ignored for each in scan.everything(tmp_path)}
    assert {name for name, reason in found.items() if not reason} == {"a.csv", "strange.xyz"}
    assert all(found[name] for name in ("city.toml", "README.md", ".git/x", "notes.txt"))


def test_an_image_is_a_raster_only_with_a_world_file(tmp_path):
    touch(tmp_path, "scan.png", "scan.pgw", "wall.jpg", "photo.JPG", "photo.jgw")
    assert [each.name for each in scan.sources(tmp_path)] == ["photo.JPG", "scan.png"]
    assert [each.ignored for each in scan.everything(tmp_path) if each.name == "wall.jpg"] == [
        "an image without a world file"
    ]


def test_images_of_a_city_model_are_part_of_it(tmp_path):
    """PLATEAU names the folder after the file; with several models, images of a common folder belong to none."""
    touch(tmp_path, "a/53394517_bldg.gml", "a/53394517_bldg_appearance/1.jpg", "a/other.gml", "a/appearance/2.jpg")
    touch(tmp_path, "b/city.city.json", "b/appearances/3.png", "b/notes/4.png")
    found = {each.name: [part.name for part in each.parts[1:]] for each in scan.sources(tmp_path)}
    assert found == {"a/53394517_bldg.gml": ["1.jpg"], "a/other.gml": [], "b/city.city.json": ["3.png"]}
    passed_over = [each.name for each in scan.everything(tmp_path) if each.ignored]
    assert passed_over == ["a/appearance/2.jpg", "b/notes/4.png"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    touch(tmp_path, "outside/secret.csv", "folder/a.csv")
    (tmp_path / "folder" / "b.csv").symlink_to(tmp_path / "outside" / "secret.csv")
    assert [each.name for each in scan.sources(tmp_path / "folder")] == ["a.csv"]


def test_the_hash_changes_with_any_part_and_only_then(tmp_path):
    touch(tmp_path, "a.shp", "a.dbf", "a.shx")
    [first] = scan.sources(tmp_path)
    [again] = scan.sources(tmp_path)
    assert first.sha256 == again.sha256
    (tmp_path / "a.dbf").write_text("other")
    [changed] = scan.sources(tmp_path)
    assert changed.sha256 != first.sha256
    assert changed.size == first.size - len("a.dbf") + len("other")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("A.CITY.JSON", ".city.json"),
        ("a.json", ".json"),
        ("a.copc.laz", ".copc.laz"),
        ("b.LAZ", ".laz"),
        ("x.doc", None),
    ],
)
def test_the_longest_suffix_wins(tmp_path, name, suffix):
    assert suffix_of(tmp_path / name) == suffix


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ('{"type": "CityJSON", "version": "2.0"}', "ingest.cityjson.reader"),
        ('{"features": [], "type":"FeatureCollection"}', "ingest.vector.reader"),
        ('{"name": "' + "x" * 70000 + '", "type": "CityJSON"}', "ingest.cityjson.reader"),
    ],
)
def test_json_is_told_by_its_content(tmp_path, text, module):
    (tmp_path / "a.json").write_text(text)
    assert reader_for(tmp_path / "a.json").__name__ == module


@pytest.mark.parametrize("module", sorted(set(READERS.values())))
def test_every_reader_is_registered_with_its_suffixes(module):
    reader = importlib.import_module(f"ingest.{module}")
    assert {suffix for suffix, name in READERS.items() if name == module} <= set(reader.SUFFIXES)


def toml(folder, text):
    (folder / "city.toml").write_text(text, "utf8")
    return city_toml.load(folder)


def test_a_folder_without_city_toml_says_nothing(tmp_path):
    empty = city_toml.load(tmp_path)
    assert (empty.crs, empty.origin, empty.sources) == (None, None, ())
    assert empty.hints_for(tmp_path / "a.csv").root == tmp_path


def test_every_word_of_city_toml_reaches_the_reader(tmp_path):
    said = toml(
        tmp_path,
        'name = "a"\ntitle = {zh = "甲", en = "A"}\ncrs = "EPSG:4549"\nvertical_crs = "EPSG:5737"\n'
        "origin = [121.0, 28.1]\nheight_model = {constant_m = 10.0}\n"
        '[[source]]\npath = "pipes/**"\ncrs = "EPSG:4490"\nunits = {dn_mm = "m"}\n'
        '[[source]]\npath = "pipes/gas.shp"\nlayer = "pipe_gas"\nunits = {od_mm = "m"}\nid_column = "BH"\n'
        'encoding = "gbk"\nepoch = "2026-01-01"\nvalues = {z_ref = "crown"}\n'
        '[[source]]\npath = "*.inp"\nskip = true\n',
    )
    assert (said.name, said.crs, said.origin, said.height_model, said.title["zh"]) == (
        "a",
        "EPSG:4549",
        (121.0, 28.1),
        {"constant_m": 10.0},
        "甲",
    )
    hints = said.hints_for(tmp_path / "pipes" / "gas.shp")
    assert (hints.layer, hints.crs, hints.id_column, hints.encoding, hints.city_crs) == (
        "pipe_gas",
        "EPSG:4490",
        "BH",
        "gbk",
        "EPSG:4549",
    )
    assert hints.units == {"dn_mm": "m", "od_mm": "m"}
    assert said.hints_for(tmp_path / "other.shp").crs is None
    assert said.skipped(tmp_path / "deep" / "net.inp")
    assert not said.skipped(tmp_path / "pipes" / "gas.shp")


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("a/*.csv", {"a/x.csv"}),
        ("*.csv", {"x.csv", "a/x.csv", "a/b/x.csv"}),
        ("a/**", {"a/x.csv", "a/b/x.csv"}),
        ("**/x.csv", {"x.csv", "a/x.csv", "a/b/x.csv"}),
        ("a/[x].csv", set()),
        ("?.csv", {"x.csv", "a/x.csv", "a/b/x.csv"}),
    ],
)
def test_patterns(tmp_path, pattern, matched):
    files = ["x.csv", "a/x.csv", "a/b/x.csv", "a/x.csv.bak"]
    said = toml(tmp_path, f'[[source]]\npath = "{pattern}"\nskip = true\n')
    assert {name for name in files if said.skipped(tmp_path / name)} == matched | (
        {"a/x.csv.bak"} if pattern == "a/**" else set()
    )


def test_a_pattern_that_matches_nothing_is_told(tmp_path):
    touch(tmp_path, "a.csv")
    said = toml(tmp_path, '[[source]]\npath = "a.csv"\n[[source]]\npath = "b.csv"\n')
    assert [(issue.code, issue.where) for issue in said.unmatched()] == [
        ("PATTERN_MATCHES_NOTHING", "city.toml [[source]] 2")
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('nmae = "a"', ["'nmae'", "the top level", "name"]),
        ("crs = 4549", ["crs", "must be of type str"]),
        ('crs = "EPSG:99999"', ["crs", "EPSG:99999"]),
        ("origin = [28.1]", ["origin", "longitude, latitude"]),
        ("origin = [28.1, 121.0]", ["origin"]),
        ('[[source]]\nlayer = "building"', ["[[source]] 1", "path is missing"]),
        ('[[source]]\npath = "a"\n[[source]]\npath = "b"\ncolour = 1', ["[[source]] 2", "'colour'"]),
        ('[[source]]\npath = "a"\nlayer = "bulding"', ["[[source]] 1", "bulding", "Did you mean 'building'"]),
        ('[[source]]\npath = "a"\ncolumns = {a = 1}', ["columns.a", "must be text"]),
        ('[[source]]\npath = "a"\nskip = "yes"', ["skip", "must be of type bool"]),
        ("name = ", ["cannot be read", "end of document"]),
        ("title = {fr = \"x\"}", ["title.fr"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_table_and_key(tmp_path, text, words):
    with pytest.raises(InvalidInput) as caught:
        toml(tmp_path, text)
    assert all(word in str(caught.value) for word in words), str(caught.value)
