"""Student's t against SciPy."""

import pytest
import scipy.stats

from mf_pmd.functional.student_t import t_quantile, t_two_sided


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 19, 24, 200])
def test_quantiles_are_those_of_scipy(degrees):
    for probability in (0.5, 0.6, 0.95, 0.975, 0.9999, 1 - 1e-7):
        expected = scipy.stats.t.ppf(probability, degrees)
        assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 5, 8])
def test_probabilities_are_those_of_scipy(degrees):
    for t in (0.0, 0.3, 2.0, 40.0):
        expected = 1 - 2 * scipy.stats.t.sf(t, degrees)
        assert t_two_sided(t, degrees) == pytest.approx(expected, abs=1e-13)
