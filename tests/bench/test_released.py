"""The ratios of a run beside those of the last release, with made-up numbers."""

from __future__ import annotations

import pytest

from bench import released
from bench.report import Better, Ratio, Spread


def more(name, middle, low=None, high=None):
    return Ratio(name, Spread(middle, low or middle, high or middle), Better.MORE)


def less(name, middle, low=None, high=None):
    return Ratio(name, Spread(middle, low or middle, high or middle), Better.LESS)


def said(then, now, **how):
    kept = released.Released("1.2.3", False, {one.name: one for one in then})
    return released.compare(kept, now, **how)


def test_what_was_saved_is_read_again(tmp_path):
    file = tmp_path / "ratios.json"
    ratios = [more("rate", 0.81234567, 0.7, 0.9), less("latency", 2.5, 2.0, 3.0)]
    released.save(file, "1.2.3", True, ratios)
    kept = released.load(file)
    assert kept.version == "1.2.3"
    assert kept.quick
    assert kept.ratios == {
        "rate": more("rate", 0.8123, 0.7, 0.9),
        "latency": less("latency", 2.5, 2.0, 3.0),
    }


def test_two_ratios_of_one_name_are_an_error(tmp_path):
    file = tmp_path / "ratios.json"
    with pytest.raises(ValueError, match="'rate'"):
        released.save(file, "1.2.3", False, [more("rate", 1), more("rate", 2)])
    assert not file.exists()


def test_a_rate_that_fell_is_named():
    assert said([more("rate", 1.0)], [more("rate", 0.79)]) == [
        "fell by 21 %: rate: 0.79 x (0.79-0.79), was 1.00 x (1.00-1.00)",
        "1 compared: 1 worse by over 20 %",
    ]


def test_a_cost_that_rose_is_named():
    assert said([less("CPU", 1.0)], [less("CPU", 1.21)]) == [
        "rose by 21 %: CPU: 1.21 x (1.21-1.21), was 1.00 x (1.00-1.00)",
        "1 compared: 1 worse by over 20 %",
    ]


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (more("rate", 1.0), more("rate", 0.81)),
        (more("rate", 1.0), more("rate", 5.0)),
        (less("CPU", 1.0), less("CPU", 1.19)),
        (less("CPU", 1.0), less("CPU", 0.1)),
    ],
)
def test_what_is_better_or_little_worse_is_not_named(then, now):
    assert said([then], [now]) == ["1 compared: none worse by over 20 %"]


def test_ranges_that_meet_are_told():
    (line, _) = said([more("rate", 1.0, 0.6, 1.1)], [more("rate", 0.7, 0.5, 0.8)])
    assert line.endswith("; the ranges meet")
    (line, _) = said([more("rate", 1.0, 0.9, 1.1)], [more("rate", 0.7, 0.5, 0.8)])
    assert not line.endswith("; the ranges meet")


def test_what_is_new_or_was_not_measured_is_told():
    assert said([more("old", 1.0), more("both", 1.0)], [more("both", 1.0), more("new", 2.0)]) == [
        "new: new: 2.00 x (2.00-2.00)",
        "not measured: old",
        "1 compared: none worse by over 20 %",
    ]


def test_of_some_measurements_only_it_is_told_how_many_are_not_there():
    then = [more("a", 1.0), more("b", 1.0), more("c", 1.0)]
    assert said(then, [more("a", 1.0)], whole=False) == [
        "not measured: 2 others",
        "1 compared: none worse by over 20 %",
    ]


def test_that_a_run_was_a_smoke_test_is_told():
    (line, _) = said([more("rate", 1.0)], [more("rate", 1.0)], quick=True)
    assert line == "this run was a smoke test (--quick): expect differences"


def test_what_the_repository_keeps_can_be_read():
    kept = released.load(released.FILE)
    assert not kept.quick
    assert kept.ratios
