"""Land codes: the totals that the lists themselves state, and the digits that mean two things."""

import pytest

from layers import land_codes


def test_the_plan_list_has_the_stated_number_of_classes():
    """24 first, 113 second and 140 third classes, where an undivided class counts as its own next one."""
    codes = land_codes.codes("ydyh2023")
    first = {code for code in codes if len(code) == 2}
    second = {code for code in codes if len(code) == 4}
    third = {code for code in codes if len(code) == 6}
    undivided = {code for code in first if not any(each.startswith(code) for each in second)}
    seconds = second | undivided
    assert len(first) == 24
    assert undivided == {"16", "24"}
    assert len(seconds) == 113
    assert len(third) + sum(not any(each.startswith(code) for each in third) for code in seconds) == 140


@pytest.mark.parametrize(
    ("code", "system", "plain", "standing"),
    [
        ("0101", "sd2017", "0101", "known"),
        ("0201K", "sd2017", "0201", "suffix"),
        ("1104A", "sd2017", "1104", "suffix"),
        ("0101A", "sd2017", "", "unknown"),
        ("05h1", "sd2017", "05H1", "known"),
        ("010100", "ydyh2023", "0101", "trailing-zeros"),
        ("160000", "ydyh2023", "16", "trailing-zeros"),
        ("070102", "ydyh2023", "070102", "known"),
        ("0603", "ydyh2023", "", "unknown"),
        ("0603", "sd2017", "0603", "known"),
        ("0305", "ydyh2023", "", "unknown"),
        ("99", "ydyh2023", "", "unknown"),
        ("", "ydyh2023", "", "unknown"),
    ],
)
def test_how_a_code_stands_in_its_list(code, system, plain, standing):
    read = land_codes.read(code, system)
    assert (read.plain, read.standing) == (plain, standing)


def test_a_list_that_is_not_known_is_not_judged():
    assert land_codes.read("0101", "ydyh2020") is None


def test_the_survey_list_has_the_stated_number_of_classes():
    """Working classification of the third survey: 13 first classes, 55 second ones, 09 is undivided."""
    codes = land_codes.codes("sd2017")
    assert len([code for code in codes if len(code) == 2]) == 13
    assert len([code for code in codes if len(code) == 4]) == 55


@pytest.mark.parametrize(
    ("code", "system", "zh", "first", "en"),
    [
        ("0702", "sd2017", "农村宅基地", "07", "Residential land"),
        ("0702", "ydyh2023", "城镇社区服务设施用地", "07", "Residential land"),
        ("0603", "sd2017", "盐田", "00", "Wetland"),
        ("0304", "sd2017", "森林沼泽", "00", "Wetland"),
        ("0304", "ydyh2023", "其他林地", "03", "Forest land"),
        ("1103", "sd2017", "水库水面", "11", "Water and water facilities"),
        ("0601", "sd2017", "工业用地", "06", "Industrial and mining land"),
        ("0601", "ydyh2023", "农村道路", "06", "Agricultural facilities"),
        ("060102", "ydyh2023", "田间道", "06", "Agricultural facilities"),
        ("24", "ydyh2023", "其他海域", "24", "Other sea areas"),
    ],
)
def test_the_same_digits_have_the_names_of_their_own_list(code, system, zh, first, en):
    assert land_codes.name(code, system) == zh
    assert land_codes.first_class(code, system) == first
    assert land_codes.name(code, system, "en") == en


def test_every_code_has_a_name_and_no_other_has():
    for system in ("sd2017", "ydyh2023"):
        assert all(land_codes.name(code, system) for code in land_codes.codes(system))
        assert land_codes.name("9999", system) is None
    assert land_codes.name("0101", "ydyh2020") is None


def test_counterparts_have_the_same_name_and_are_one_to_one():
    """A class of the survey and its counterpart are called alike but for words that both lists use in their own way."""
    found = {code: land_codes.counterpart(code) for code in land_codes.codes("sd2017")}
    given = {code: other for code, other in found.items() if other}
    assert len(given) == len(set(given.values())) == 46
    for code, other in given.items():
        ours, theirs = land_codes.name(code, "sd2017"), land_codes.name(other, "ydyh2023")
        assert ours == theirs, (code, ours, other, theirs)
    assert (given["0702"], given["0305"], given["0601"], given["1001"]) == ("0703", "0303", "1001", "1201")


def test_what_must_be_split_has_no_counterpart():
    for code in ("05H1", "08H1", "08H2", "0810", "1005", "09"):
        assert land_codes.needs_detail(code)
        assert land_codes.counterpart(code) is None
    assert not land_codes.needs_detail("0101")


@pytest.mark.parametrize(("code", "is_one"), [("0101", True), ("01", True), ("0201", False), ("1202", False)])
def test_farmland_is_the_first_class_01(code, is_one):
    assert land_codes.is_farmland(code) is is_one
