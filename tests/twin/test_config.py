"""`twin.toml` written and read back, and refused when it does not make sense."""

import pytest

from layers.errors import InvalidInput, NotFound
from twin import config


@pytest.mark.parametrize("height_model", ["egm96", {"constant_m": 12.5}, {"grid": "g.tif"}])
def test_what_is_written_is_read_back(tmp_path, height_model):
    made = config.TwinConfig(
        '海 "town"', "EPSG:4549", 121.0, 28.1, 3.5, height_model=height_model, title={"zh": "海城", "en": "Sea"}
    )
    config.save(made, tmp_path)
    assert config.load(tmp_path) == made
    assert [p.name for p in tmp_path.iterdir()] == ["twin.toml"]


def test_a_folder_without_one_is_no_twin(tmp_path):
    with pytest.raises(NotFound, match="citytwin build"):
        config.load(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["name = 1 =", 'name = "x"', 'name="x"\ncrs="EPSG:4549"\norigin=[1]', 'name="x"\ncrs="EPSG:0"\norigin=[1,2,3]'],
)
def test_a_broken_one_is_refused(tmp_path, text):
    (tmp_path / "twin.toml").write_text(text)
    with pytest.raises(InvalidInput):
        config.load(tmp_path)
