"""What a look at a part of the city may close: only what it looked at."""

from tests.twin.supervision.indicator_city import EAST, NORTH, made, point, towns


def test_a_look_at_a_part_leaves_the_targets_of_the_city_open(tmp_path):
    lamps = [(str(i), point(150 * i, 5), {"smart": i < 5}) for i in range(10)]
    with made(tmp_path, {"admin_unit": towns(), "lamp": lamps}) as city:
        whole = city.run("supervise-one-map", keep=True, checks=["indicator-targets"])
        assert whole["stored"]["opened"] > 0
        box = [EAST - 10, NORTH - 10, EAST + 5000, NORTH + 5000]
        part = city.run("supervise-one-map", keep=True, bbox=box, crs="city", checks=["indicator-targets"])
        assert part["stored"]["closed"] == 0
        assert set(city["finding"].query()["status"]) == {"opened"}
