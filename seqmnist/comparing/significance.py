"""Whether two accuracies differ beyond chance: McNemar's test, Newcombe's interval.

"Chance" here is the random choice of test images. The spread over seeds shows the
chance of the training.
"""

from __future__ import annotations

import math

# McNemar's test of so many images takes a twentieth of a second in whole numbers; the
# time grows with the square.
MAX_WHOLE = 20_000
Z_95 = 1.959963984540054  # the normal distribution has 95 % between -Z_95 and Z_95


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact test, two-sided.

    The null hypothesis: an image that only one of the two has right is the first's or
    the second's with probability 1/2. The computation is in whole numbers; for more
    than `MAX_WHOLE` images in logarithms, with a relative error below 1e-7.

    Args:
        only_first: images that the first has right and the second wrong.
        only_second: images that the second has right and the first wrong.

    Returns:
        The probability, 0 to 1, of a split as uneven as this or more.

    Source:
        McNemar, Note on the sampling error of the difference between correlated
        proportions or percentages, Psychometrika 12, 1947; in its exact form, with the
        binomial distribution in place of chi-square.
    """
    number, fewer = only_first + only_second, min(only_first, only_second)
    if number > MAX_WHOLE:
        return min(1.0, 2 * _lower_tail(number, fewer))
    ways = total = 1  # binomial coefficient for 0, and the sum up to it
    for i in range(fewer):
        ways = ways * (number - i) // (i + 1)
        total += ways
    return min(1.0, 2 * total / 2**number)


def _lower_tail(number: int, most: int) -> float:
    """The probability of at most so many heads of a number of coins."""
    logarithm = math.lgamma(number + 1) - number * math.log(2)
    logarithm -= math.lgamma(most + 1) + math.lgamma(number - most + 1)
    total = share = 1.0  # of the probability of `most` heads
    for heads in range(most, 0, -1):
        share *= heads / (number - heads + 1)
        total += share
        if share < 1e-17 * total:
            break
    return math.exp(logarithm) * total


def wilson(correct: int, count: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval for a proportion.

    Args:
        correct: 0 to `count`.
        count: 1 or more.
        z: the quantile of the normal distribution, by default for 95 %.

    Returns:
        The lower and the upper end, from 0 to 1.

    Source:
        Wilson, Probable inference, the law of succession, and statistical inference,
        Journal of the American Statistical Association 22, 1927.
    """
    share, weight = correct / count, z * z / count
    middle = share + weight / 2
    half = math.sqrt(weight * (share * (1 - share) + weight / 4))
    low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
    # The ends 0 and 1 are exact, without rounding errors.
    return (low if correct else 0.0), (high if correct < count else 1.0)


def newcombe(
    correct_1: int, count_1: int, correct_2: int, count_2: int, z: float = Z_95
) -> tuple[float, float]:
    """Newcombe's interval for the difference of two proportions, from Wilson's.

    The interval assumes independent samples. Two networks that were tested on the same
    images mostly err on the same images, so the interval is wider than necessary.

    Args:
        correct_1: number of correct images of the first, 0 to `count_1`.
        count_1: number of images of the first, 1 or more.
        correct_2: number of correct images of the second, 0 to `count_2`.
        count_2: number of images of the second, 1 or more.
        z: the quantile of the normal distribution, by default for 95 %.

    Returns:
        The lower and the upper end, from -1 to 1, of first minus second.

    Source:
        Newcombe, Interval estimation for the difference between independent
        proportions, Statistics in Medicine 17, 1998: method 10.
    """
    share_1, share_2 = correct_1 / count_1, correct_2 / count_2
    low_1, high_1 = wilson(correct_1, count_1, z)
    low_2, high_2 = wilson(correct_2, count_2, z)
    difference = share_1 - share_2
    below = math.hypot(share_1 - low_1, high_2 - share_2)
    above = math.hypot(high_1 - share_1, share_2 - low_2)
    return difference - below, difference + above
