"""One E-step of a Gaussian hidden Markov model, statistics included, against hmmlearn's with scaling."""

from collections.abc import Iterator

import numpy as np
from hmmlearn.hmm import GaussianHMM

from streamem.em import HMM
from streamem.em.chain import ChainParameters
from streamem.em.families.gaussian import GaussianParameters
from tests.bench.side_by_side import Comparison, in_turn

STATES, COLUMNS, STEPS = 8, 4, 50_000


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield one comparison, in microseconds a step."""
    rng = np.random.default_rng(0)
    transition = 0.9 * np.eye(STATES) + 0.1 / STATES
    means, covariances = 2.0 * rng.normal(size=(STATES, COLUMNS)), np.stack([np.eye(COLUMNS)] * STATES)
    states = GaussianParameters(means, covariances, np.ones(COLUMNS))
    theta = ChainParameters(np.full(STATES, 1.0 / STATES), transition, np.zeros(STATES), states)
    model = HMM(states=STATES, sequences="complete")
    rows, _ = model.sample(theta, 1, rng, np.array([STEPS]))
    peer = GaussianHMM(STATES, "full", implementation="scaling", init_params="")
    peer.n_features = COLUMNS
    peer.startprob_, peer.transmat_, peer.means_, peer.covars_ = theta.initial, transition, means, covariances

    def ours() -> object:
        return model.expect(theta, rows).statistics

    def theirs() -> object:
        statistics = peer._initialize_sufficient_statistics()
        lattice, _, posteriors, forward, backward = peer._fit_scaling(rows.values)
        peer._accumulate_sufficient_statistics_scaling(statistics, rows.values, lattice, posteriors, forward, backward)
        return statistics

    found = theirs()
    np.testing.assert_allclose(ours().transition, found["trans"], rtol=1e-6)
    scaled = [seconds / STEPS * 1e6 for seconds in in_turn(ours, theirs, rounds)]
    yield Comparison(f"HMM E-step K={STATES} d={COLUMNS}", *scaled, "us/step", 3.0, 5.0)
