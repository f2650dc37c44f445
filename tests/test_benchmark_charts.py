"""Charts of the benchmark's page, and the check that compares speed with a reference."""

import itertools
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.benchmark_charts import WIDTH, Bar, bars, line, nice_ticks, number
from tests.benchmarks.check_speed import slower
from tests.benchmarks.compare_mediapipe import worse
from tests.benchmarks.contestants import reference_path


def test_bars_are_as_long_as_their_values_say():
    chart = bars("a & b", "ms", [Bar("group"), Bar("first", 10.0, 12.5), Bar("second", 5.0)])
    tree = ET.fromstring(chart)  # noqa: S314 -- our own text
    assert tree.find("title").text == "a & b"
    first, second = (float(rect.get("width")) for rect in tree.iter("rect"))
    assert first == pytest.approx(2 * second, abs=0.2)
    assert [text.text for text in tree.iter("text")] == ["group", "first", "10 ms", "second", "5 ms"]
    whisker = float(re.search(r"H([\d.]+)m", chart)[1])
    assert first * 12.5 / 10 == pytest.approx(whisker - float(next(tree.iter("rect")).get("x")), abs=0.2)


def test_a_line_goes_through_its_points_within_the_picture():
    chart = line("t", "°C", [(0.0, 50.0), (30.0, 65.0), (60.0, 80.0)], from_zero=False)
    tree = ET.fromstring(chart)  # noqa: S314 -- our own text
    points = [tuple(map(float, pair.split(","))) for pair in tree.find("polyline").get("points").split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y2
    assert 0 < x0 < x2 < WIDTH


@given(st.floats(-100, 10_000), st.floats(0.01, 10_000))
def test_ticks_are_few_even_and_cover_the_range(low, span):
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + 1e-6 * span
    assert ticks[-1] >= low + span - 1e-6 * span
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps))


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (3.0, "3"), (0.123, "0.12"), (12.34, "12.3"), (368.05, "368")])
def test_numbers_have_about_three_digits(value, text):
    assert number(value) == text


def test_only_what_is_slower_than_the_tolerance_allows_is_a_complaint():
    reference = {"tolerance": 0.1, "to_bare": {"lite": 1.2, "full": 1.1}}
    assert slower({"lite": 1.31, "full": 1.0, "new": 9.0}, reference) == []
    (complaint,) = slower({"lite": 1.33, "full": 1.1}, reference)
    assert "lite: 1.33 times its model" in complaint


def test_each_kind_of_machine_has_its_reference():
    assert reference_path("AMD EPYC", "x86_64").name == "amd-epyc-x86-64.json"


def test_a_ratio_to_mediapipe_that_grew_is_a_complaint():
    def result(value: float) -> dict:
        return {"tolerance": 0.15, "clips": {"sample": {"lite": {"to_mediapipe": {"edge-pose lite": value}}}}}

    assert worse(result(0.57), result(0.5)) == []
    (complaint,) = worse(result(0.58), result(0.5))
    assert "sample: edge-pose lite takes 0.58" in complaint
    assert worse(result(9.0), {"tolerance": 0.15, "clips": {}}) == []
