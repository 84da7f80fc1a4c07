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
