"""Batch fits beside those of scikit-learn and hmmlearn."""

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM, PoissonHMM
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from streamem.em import Poisson
from streamem.sklearn import OnlineGaussianMixture, OnlineHMM

SUMS = 1e-9  # relative: the same sums in another order
FITS = 1e-2  # of two fits that ended within their tolerances of one optimum


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_fit_finds_what_scikit_learn_finds(rows, kind):
    ours = OnlineGaussianMixture(3, covariance_type=kind).fit(rows)
    theirs = GaussianMixture(3, covariance_type=kind, tol=1e-6, max_iter=500, n_init=5, random_state=0).fit(rows)
    assert ours.converged_
    assert ours.score(rows) == pytest.approx(theirs.score(rows), abs=1e-4)
    assert ours.lower_bound_ == pytest.approx(ours.score(rows), abs=1e-4)
    assert ours.bic(rows) == pytest.approx(theirs.bic(rows), rel=1e-4)
    assert ours.aic(rows) == pytest.approx(theirs.aic(rows), rel=1e-4)
    mine, other = np.argsort(ours.means_[:, 0] + ours.means_[:, 1]), np.argsort(theirs.means_ @ [1, 1])
    np.testing.assert_allclose(ours.means_[mine], theirs.means_[other], atol=FITS)
    assert ours.covariances_.shape == theirs.covariances_.shape


def test_an_hmm_finds_what_hmmlearn_finds_in_several_sequences(rows, counts):
    lengths = [300, 700, 500]
    ours = OnlineHMM(3, covariance_type="diag").fit(rows, lengths=lengths)
    theirs = GaussianHMM(3, covariance_type="diag", n_iter=200, tol=1e-6, min_covar=0, covars_prior=0, covars_weight=0)
    theirs.startprob_ = ours.startprob_
    theirs.transmat_, theirs.means_, theirs.covars_ = ours.transmat_, ours.means_, ours.covariances_
    assert ours.score(rows, lengths=lengths) == pytest.approx(theirs.score(rows, lengths), rel=SUMS)
    np.testing.assert_allclose(ours.predict_proba(rows, lengths), theirs.predict_proba(rows, lengths), atol=SUMS)
    assert (ours.predict(rows, lengths) == theirs.predict(rows, lengths)).all()
    assert ours.decode(rows, lengths)[0] == pytest.approx(theirs.decode(rows, lengths)[0], rel=SUMS)
    theirs.init_params = ""
    better = theirs.fit(rows, lengths).score(rows, lengths) - ours.score(rows, lengths=lengths)
    assert better < 1e-3 * len(rows)
    of_counts = OnlineHMM(2, family=Poisson()).fit(counts)
    peer = PoissonHMM(2, random_state=0, n_iter=200).fit(counts)
    np.testing.assert_allclose(np.sort(of_counts.lambdas_, axis=0), np.sort(peer.lambdas_, axis=0), rtol=FITS)
    assert of_counts.bic(counts) == pytest.approx(peer.bic(counts), rel=FITS)
    assert of_counts.aic(counts) < of_counts.bic(counts)


def test_a_fit_to_many_rows_starts_from_some_of_all_over_them(rows):
    """These are sorted by cluster: a start from the first 400 ends 0.3 and 0.6 nats a row lower."""
    sorted_rows = rows[np.argsort(rows @ [1.0, -1.0])]
    for online in (OnlineGaussianMixture(3, warmup_records=400), OnlineHMM(3, warmup_records=400)):
        whole = clone(online).set_params(warmup_records=1500)
        assert online.fit(sorted_rows).lower_bound_ == pytest.approx(whole.fit(sorted_rows).lower_bound_, abs=FITS)
