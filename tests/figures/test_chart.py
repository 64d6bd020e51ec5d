"""Charts: sizes, scales, labels and bands as the points ask for them; the same points, the same bytes."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ostrich.errors import InputError
from ostrich.figures.chart import Chart, draw, thin_ticks, write_chart, write_charts

LEVELS = (0.25, 0.5, 1, 2, 4, 8, 16)


def chart(points, **fields) -> Chart:
    return Chart(x_label="x", y_label="y", series={"a": points}, **fields)


def drawn(one: Chart, width: float = 8.0) -> Axes:
    figure = Figure(figsize=(width, 4), layout="constrained")
    axes = figure.add_subplot()
    draw(axes, one)
    thin_ticks(figure)
    return axes


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_xticklabels()]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_sides_are_at_most_1600_pixels_whatever_the_legend(tmp_path, count):
    series = {
        f"a line with quite a long name, number {i}": [{"x": 0, "y": i}, {"x": 1, "y": 2}] for i in range(10)
    }
    one = Chart(title="title", x_label="x", y_label="y", series=series)
    write_charts(tmp_path / "a/chart.png", [one] * count)
    with Image.open(tmp_path / "a/chart.png") as picture:
        assert min(picture.size) > 500
        assert max(picture.size) <= 1600


def test_the_same_points_give_the_same_bytes_whatever_the_user_set(tmp_path):
    series = {"a $b$": [{"x": x, "y": x**2, "low": x, "high": 9} for x in range(4)]}
    write_chart(tmp_path / "one.png", x_label="x", y_label="y", series=series)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 10}):
        write_chart(tmp_path / "two.png", x_label="x", y_label="y", series=series)
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    write_chart(tmp_path / "other.png", x_label="x", y_label="y", series={"a": [{"x": 0, "y": 1}]})
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_fractions_have_the_full_scale_and_others_their_own():
    points = [{"x": 0, "y": 0.4, "low": 0.3, "high": 0.5}, {"x": 1, "y": 0.5}]
    assert drawn(chart(points)).get_ylim() == (0, 1)
    low, high = drawn(chart(points, fraction=False)).get_ylim()
    assert 0.2 < low < 0.4
    assert 0.5 < high < 0.6
    assert drawn(chart([{"x": 0, "y": 0.4}, {"x": 1, "y": 1.2}])).get_ylim() != (0, 1)


def test_x_is_logarithmic_only_where_values_crowd():
    budgets = [{"x": k / 255, "y": 0.5, "label": f"{k:g}/255"} for k in LEVELS]
    assert drawn(chart(budgets)).get_xscale() == "log"
    assert drawn(chart([{"x": 0, "y": 1, "label": "0/255"}, *budgets])).get_xscale() == "symlog"
    assert drawn(chart(budgets, even=True)).get_xscale() == "linear"
    assert drawn(chart([{"x": k, "y": 0.5} for k in range(60)])).get_xscale() == "linear"
    assert drawn(chart(budgets[:3])).get_xscale() == "linear"


def test_labels_stand_at_their_points_and_never_on_one_another():
    budgets = [{"x": k / 255, "y": 0.5, "label": f"{k:g}/255"} for k in LEVELS]
    axes = drawn(chart(budgets))
    assert words(axes) == [point["label"] for point in budgets]
    assert np.allclose(axes.get_xticks(), [point["x"] for point in budgets])
    layers = [{"x": i, "y": 0.5, "label": f"layer{i}.convolution"} for i in range(60)]
    axes = drawn(chart(layers, even=True))
    assert 10 < len(words(axes)) < 40
    assert {"layer0.convolution", "layer59.convolution"} <= set(words(axes))
    axes = drawn(chart(budgets), width=3)
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert 2 <= len(boxes) < len(budgets)
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_plain_numbers_have_round_ticks():
    assert words(drawn(chart([{"x": x, "y": 1} for x in (3, 17, 41)])))[1] in ("5", "10")


def test_intervals_are_bands_where_both_ends_are_known():
    points = [{"x": 0, "y": 1, "low": 0, "high": 2}, {"x": 1, "y": 1}, {"x": 2, "y": 2, "low": 1, "high": 4}]
    (band,) = drawn(chart(points)).patches
    assert band.get_xy()[:-1].tolist() == [[0, 0], [2, 1], [2, 4], [0, 2]]
    endless = [{**point, "high": float("inf")} for point in points]
    assert not drawn(chart(endless)).patches


def test_what_is_a_theory_is_dashed_in_the_colour_of_what_it_explains():
    series = {name: [{"x": 0, "y": 1}] for name in ("he, measured", "other", "he, expected")}
    one = Chart(x_label="x", y_label="y", series=series, dashed=frozenset(["he, expected"]))
    measured, other, expected = drawn(one).lines
    assert measured.get_color() == expected.get_color() != other.get_color()
    assert [line.get_linestyle() for line in (measured, other, expected)] == ["-", "-", "--"]


def test_lines_of_one_colour_and_dash_have_marks_of_their_own():
    series = {
        f"{kind}, rate {rate}": [{"x": 0, "y": 1}] for kind in ("with", "without") for rate in (1, 2, 3)
    }
    one = Chart(x_label="x", y_label="y", series=series, dashed=frozenset(["without, rate 3"]))
    assert [line.get_marker() for line in drawn(one).lines] == ["o", "s", "^", "o", "s", "o"]


def test_points_without_a_value_are_left_out_and_nothing_is_no_chart(tmp_path):
    nothing = [{"x": 0, "y": None}, {"x": 1, "y": float("nan")}]
    with pytest.raises(InputError, match="nothing to draw of a: no point has a value"):
        write_chart(tmp_path / "none.png", x_label="x", y_label="y", series={"a": nothing})
    assert not (tmp_path / "none.png").exists()
    write_chart(tmp_path / "some.png", x_label="x", y_label="y", series={"a": [*nothing, {"x": 2, "y": 1}]})


def test_matplotlib_waits_until_something_is_drawn():
    said = "import sys, ostrich.figures.curve, ostrich.studies.report; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", said], check=True, cwd=Path.home())
