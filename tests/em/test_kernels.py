"""Every kernel against its twin in tests/naive.py."""

from math import factorial

import numpy as np
import pytest

from streamem.em.families import Bernoulli, Exponential, Geometric, Multinomial, Poisson
from streamem.em.families.gaussian import Gaussian, GaussianParameters
from streamem.em.families.independent import IndependentParameters
from streamem.em.kernels import cholesky, full, wide
from streamem.em.kernels.motion import integrated, interleaved
from streamem.em.kernels.rank import mid_ranks
from streamem.em.kernels.single import diagonal_row, full_row, natural_row
from streamem.em.kernels.softmax import softmax
from streamem.em.observations import Observations
from tests import naive

# sums of some hundred terms in another order: 1e-12 relative is a thousand roundings
ROUNDING = 1e-12


def drawn(components, columns, rows, seed=0):
    """Parameters with correlated covariances, rows near them, and random shares."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(scale=2.0, size=(components, columns))
    factor = rng.normal(size=(components, columns, columns))
    covariance = factor @ factor.transpose(0, 2, 1) + np.eye(columns)
    values = rng.normal(scale=3.0, size=(rows, columns))
    share = rng.dirichlet(np.ones(components), size=rows).T.copy()
    return GaussianParameters(mean, covariance, np.ones(columns)), values, share


def with_holes(values, seed=1):
    holes = np.random.default_rng(seed).random(values.shape) < 0.3
    return np.where(holes, np.nan, values)


@pytest.mark.parametrize("columns", range(1, 14))
@pytest.mark.parametrize("rows", [1, 127, 300])
def test_full_covariance_agrees_with_scipy_and_the_textbook(columns, rows):
    parameters, values, share = drawn(3, columns, rows)
    family = Gaussian()
    density = family.log_density(parameters, Observations(values))
    np.testing.assert_allclose(density, naive.log_density(values, parameters.mean, parameters.covariance), rtol=1e-10)
    found = family.expect(parameters, Observations(values), share)
    weight, mean, scatter = naive.statistics(values, share, parameters.mean, parameters.covariance)
    np.testing.assert_allclose(found.weight, weight, rtol=ROUNDING)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10, atol=ROUNDING)
    np.testing.assert_allclose(found.scatter, scatter, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("columns", [72, 100])
def test_wide_rows_through_blas_agree_with_the_loops(columns):
    parameters, values, share = drawn(2, columns, 700)
    share[0, ::3] = 0.0
    expected, found = np.empty((2, 700)), np.empty((2, 700))
    full.log_density(values, parameters.mean, parameters.whitening, parameters.constant, expected)
    wide.log_density(values, parameters.mean, parameters.whitening, parameters.constant, found)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    sums = [(np.zeros(2), np.zeros((2, columns)), np.zeros((2, columns, columns))) for _ in range(2)]
    full.accumulate(values, share, parameters.mean, *sums[0])
    wide.accumulate(values, share, parameters.mean, *sums[1])
    for one, other in zip(*sums, strict=True):
        np.testing.assert_allclose(np.tril(other) if other.ndim == 3 else other, one, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("holes", [False, True])
def test_missing_values_count_as_their_conditional_expectation(covariance, holes):
    parameters, values, share = drawn(3, 4, 150)
    if holes:
        values = with_holes(values)
        values[0] = np.nan
    if covariance == "diagonal":
        diagonals = np.diagonal(parameters.covariance, axis1=1, axis2=2).copy()
        parameters = GaussianParameters(parameters.mean, diagonals, parameters.scale)
    family = Gaussian(covariance=covariance)
    density = naive.log_density(values, parameters.mean, parameters.covariance)
    np.testing.assert_allclose(family.log_density(parameters, Observations(values)), density, rtol=1e-10, atol=1e-12)
    found = family.expect(parameters, Observations(values), share)
    weight, mean, scatter = naive.statistics(values, share, parameters.mean, parameters.covariance)
    np.testing.assert_allclose(found.weight, weight, rtol=ROUNDING)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10, atol=ROUNDING)
    np.testing.assert_allclose(found.scatter, scatter, rtol=1e-9, atol=1e-9)


def test_softmax_agrees_with_the_textbook_far_from_zero_and_near_ties():
    rng = np.random.default_rng(0)
    density = rng.normal(scale=300.0, size=(5, 1000)) - 5000.0
    density[:, :10] = -1e5
    weights = rng.dirichlet(np.ones(5))
    expected, likelihood = naive.responsibilities(density, weights)
    found, log_likelihood = density.copy(), np.empty(1000)
    softmax(found, weights, log_likelihood)
    # the home-made exp is within two units in the last place
    np.testing.assert_allclose(found, expected, rtol=4e-15, atol=1e-300)
    np.testing.assert_allclose(log_likelihood, likelihood, rtol=1e-15)


def test_a_component_without_a_share_gets_no_responsibility():
    found, log_likelihood = np.zeros((2, 3)), np.empty(3)
    softmax(found, np.array([1.0, 0.0]), log_likelihood)
    assert found[1].tolist() == [0.0, 0.0, 0.0]
    assert log_likelihood.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("columns", [1, 5, 47, 48, 60])
def test_whitening_is_the_inverse_of_numpys_cholesky_factor(columns):
    parameters, _, _ = drawn(3, columns, 1)
    inverse, failed = cholesky.whitening(parameters.covariance)
    assert failed == -1
    np.testing.assert_allclose(inverse, np.linalg.inv(np.linalg.cholesky(parameters.covariance)), atol=1e-10)


@pytest.mark.parametrize("columns", [2, 60])
def test_whitening_names_the_matrix_that_is_not_positive_definite(columns):
    matrices = np.stack([np.eye(columns), np.ones((columns, columns))])
    assert cholesky.whitening(matrices)[1] == 1


@pytest.mark.parametrize("window", [100, 130])
@pytest.mark.parametrize("values", [1, 40, 1_000_000])
def test_ranks_agree_with_counting(window, values):
    numbers = np.random.default_rng(0).integers(0, values, size=500).astype(float)
    parts = [
        mid_ranks(numbers[max(0, start - window) : start + 37], min(37, 500 - start), window=window, least=100)
        for start in range(0, 500, 37)
    ]
    out = np.concatenate(parts)
    np.testing.assert_array_equal(out, naive.mid_ranks(numbers, window, 100))


@pytest.mark.parametrize("columns", [1, 2, 5, 13])
@pytest.mark.parametrize("weights", [[0.2, 0.3, 0.5], [0.0, 0.4, 0.6]])
def test_one_row_agrees_with_the_textbook(columns, weights):
    parameters, values, _ = drawn(3, columns, 20)
    variance = np.diagonal(parameters.covariance, axis1=1, axis2=2).copy()
    diagonal = np.stack([np.diag(one) for one in variance])
    weights = np.array(weights)
    for row in values:
        share = np.empty(3)
        with np.errstate(divide="ignore"):
            density = naive.log_density(row[None], parameters.mean, parameters.covariance)
            wanted, likelihood = naive.responsibilities(density, weights)
            found = full_row(row, parameters.mean, parameters.whitening, parameters.constant, weights, share)
        assert found == (pytest.approx(likelihood[0], rel=ROUNDING), wanted[:, 0].argmax())
        np.testing.assert_allclose(share, wanted[:, 0], rtol=1e-9, atol=1e-300)
        holed = with_holes(row)
        with np.errstate(divide="ignore"):
            density = naive.log_density(holed[None], parameters.mean, diagonal)
            wanted, likelihood = naive.responsibilities(density, weights)
            found = diagonal_row(holed, parameters.mean, variance, weights, share)
        assert found == (pytest.approx(likelihood[0], rel=ROUNDING, abs=ROUNDING), wanted[:, 0].argmax())
        np.testing.assert_allclose(share, wanted[:, 0], rtol=1e-9, atol=1e-300)
    row = np.full(columns, np.nan)
    assert np.isnan(full_row(row, parameters.mean, parameters.whitening, parameters.constant, weights, share)[0])


@pytest.mark.parametrize("family", [Poisson(), Bernoulli(), Geometric(), Exponential(), Multinomial()], ids=repr)
@pytest.mark.parametrize("weights", [[0.2, 0.3, 0.5], [0.0, 0.4, 0.6]])
def test_one_row_of_independent_columns_is_the_row_of_a_batch(family, weights):
    rng = np.random.default_rng(1)
    weights, mean = np.array(weights), rng.dirichlet(np.ones(4), size=3)
    parameters = IndependentParameters(mean, mean[0])
    values = rng.integers(0, 2, size=(20, 4)).astype(float)
    for row in values if isinstance(family, Multinomial) else with_holes(values):
        density = family.log_density(parameters, Observations(row[None]))
        exposure, share, expected = family.exposure_alone(row), np.empty(3), np.empty(1)
        base = family.log_base(row[None], np.array([[exposure]]))[0]
        softmax(density, weights, expected)
        found = natural_row(row, exposure, family.natural(mean), family.log_partition(mean), base, weights, share)
        assert found[0] == pytest.approx(expected[0], rel=ROUNDING, abs=ROUNDING)
        np.testing.assert_allclose(share, density[:, 0], rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_integrals_of_noise_agree_with_the_formula(order):
    """Harvey (1989): the covariance of the a-th and the b-th integral gathers s^(a + b + 1) / ((a + b + 1) a! b!)."""
    seconds = np.array([0.0, 0.3, 1.0, 7.5, 1e5])
    transition, noise = np.empty((2, len(seconds), order, order))
    integrated(seconds, transition, noise)
    for i in range(order):
        for j in range(order):
            step = seconds ** (j - i) / factorial(j - i) if j >= i else np.zeros(len(seconds))
            a, b = order - 1 - i, order - 1 - j
            gathered = seconds ** (a + b + 1) / ((a + b + 1) * factorial(a) * factorial(b))
            np.testing.assert_allclose(transition[:, i, j], step, rtol=ROUNDING)
            np.testing.assert_allclose(noise[:, i, j], gathered, rtol=ROUNDING)


@pytest.mark.parametrize("columns", [1, 3])
def test_matrices_of_columns_that_move_alike_are_kronecker_products(columns):
    rng = np.random.default_rng(columns)
    transition, noise, size = rng.normal(size=(4, 2, 2)), rng.normal(size=(2, 4, 2, 2)), rng.random((2, columns))
    A, Q = np.zeros((2, 4, 2 * columns, 2 * columns))
    interleaved(transition, noise, size, A, Q)
    for u in range(4):
        np.testing.assert_array_equal(A[u], np.kron(transition[u], np.eye(columns)))
        expected = sum(np.kron(noise[b, u], np.diag(size[b])) for b in range(2))
        np.testing.assert_allclose(Q[u], expected, rtol=ROUNDING, atol=ROUNDING)
