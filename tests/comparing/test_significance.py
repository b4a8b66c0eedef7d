"""Tests of chance against published values and sums over all outcomes."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmnist.comparing import significance
from seqmnist.comparing.significance import mcnemar, newcombe, wilson


def two_sided(b, c):
    """The sum of the probabilities of all outcomes as uneven as b and c, or more."""
    row = [1]  # of Pascal's triangle
    for _ in range(b + c):
        row = [1, *(x + y for x, y in zip(row, row[1:])), 1]
    distance = abs(b - c)
    ways = [w for i, w in enumerate(row) if abs(2 * i - (b + c)) >= distance]
    return float(Fraction(sum(ways), 2 ** (b + c)))


@pytest.mark.parametrize(
    "b, c, p",
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 5, 2 / 2**5),
        (9, 1, 2 * (1 + 10) / 2**10),
        (1, 9, 2 * (1 + 10) / 2**10),
        (9, 2, 2 * (1 + 11 + 55) / 2**11),
        # SciPy 1.17.1: scipy.stats.binomtest(min(b, c), b + c).pvalue
        (182, 141, 0.02588446002245467),
        (700, 300, 1.7665678007949568e-37),
        (5100, 4900, 0.04658552770494645),
    ],
)
def test_mcnemar_has_the_known_values(b, c, p):
    assert mcnemar(b, c) == pytest.approx(p, rel=1e-9, abs=0)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(derandomize=True, database=None, deadline=None)
def test_mcnemar_is_the_sum_over_all_outcomes_as_uneven(b, c):
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(two_sided(b, c), rel=1e-14)


def test_mcnemar_stands_ten_thousand_images():
    assert mcnemar(10_000, 0) == 0.0  # 2 ** -9999 is below what a float holds
    assert mcnemar(1000, 0) == 2.0**-999
    assert mcnemar(5000, 5000) == 1.0


@given(st.integers(0, 300), st.integers(0, 300))
@settings(derandomize=True, database=None, deadline=None)
def test_mcnemar_in_logarithms_is_the_sum_in_whole_numbers(b, c):
    tail = significance._lower_tail(b + c, min(b, c))
    assert min(1.0, 2 * tail) == pytest.approx(mcnemar(b, c), rel=1e-11)


@pytest.mark.parametrize("difference", [0, 1, 50, 400, 3000])
def test_mcnemar_of_many_images_agrees_where_the_methods_meet(difference, monkeypatch):
    number = significance.MAX_WHOLE
    fewer = (number - difference) // 2
    whole = mcnemar(fewer, number - fewer)
    monkeypatch.setattr(significance, "MAX_WHOLE", 0)
    assert mcnemar(fewer, number - fewer) == pytest.approx(whole, rel=1e-9)


def test_mcnemar_stands_millions_of_images():
    # The normal distribution with continuity correction: z = 1999 / sqrt(2 million).
    expected = math.erfc(1999 / math.sqrt(2e6) / math.sqrt(2))
    assert mcnemar(1_001_000, 999_000) == pytest.approx(expected, rel=1e-4)
    assert mcnemar(2_000_000, 2_000_000) == 1.0
    assert mcnemar(3_000_000, 1_000_000) == 0.0


@pytest.mark.parametrize(
    "correct, count, interval",
    [  # Newcombe, Statistics in Medicine 17, 857-872, table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0)),
    ],
)
def test_wilson_has_the_published_values(correct, count, interval):
    assert wilson(correct, count) == pytest.approx(interval, abs=5.1e-5)


@pytest.mark.parametrize(
    "first, second, interval",
    [  # Newcombe, Statistics in Medicine 17, 873-890, table II, method 10
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_has_the_published_values(first, second, interval):
    assert newcombe(*first, *second) == pytest.approx(interval, abs=5.1e-5)
    low, high = newcombe(*second, *first)
    assert (-high, -low) == pytest.approx(interval, abs=5.1e-5)
