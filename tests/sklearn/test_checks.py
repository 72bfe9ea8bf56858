"""The estimators pass scikit-learn's own checks; those that cannot are named with the reason."""

import subprocess
import sys
from collections import Counter

import pytest
from sklearn.utils.estimator_checks import check_estimator

from streamem.sklearn import OnlineGaussianMixture, OnlineHMM

NARROW = {"check_sample_weight_equivalence_on_dense_data": "15 rows in 30 columns: no covariance is the likeliest"}
CHAINED = dict.fromkeys(
    ("check_sample_weights_not_overwritten", "check_sample_weight_equivalence_on_dense_data"),
    "it weighs rows one by one; a sequence has one weight, for its rows only make sense together",
)
CHECKED = [
    (OnlineGaussianMixture(), NARROW),
    (OnlineGaussianMixture(covariance_type="diag"), {}),
    (OnlineGaussianMixture(2, prior_records=1.0), {}),
    (OnlineHMM(), CHAINED),
    (OnlineHMM(2, prior_records=1.0), CHAINED),
]


@pytest.mark.parametrize(("estimator", "expected"), CHECKED, ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.EstimatorCheckFailedWarning")
def test_scikit_learns_own_checks_pass(estimator, expected, capsys):
    found = check_estimator(estimator, expected_failed_checks=expected, on_skip=None)
    tally = Counter(one["status"] for one in found)
    with capsys.disabled():
        print(f"\ncheck_estimator({estimator}): {len(found)} checks, {dict(tally)}")
        for one in found:
            if one["status"] in ("xfail", "skipped"):
                reason = one["exception"] if one["status"] == "skipped" else one["expected_to_fail_reason"]
                print(f"  {one['status']} {one['check_name']}: {reason}")
    assert tally["passed"] >= 50
    assert tally["failed"] == 0
    assert {one["check_name"] for one in found if one["status"] == "xfail"} == set(expected)
    assert {one["check_name"] for one in found if one["status"] == "skipped"} <= {"check_array_api_input"}


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys\nsys.modules['sklearn'] = None\n"
        "from streamem.errors import ConfigError\n"
        "try:\n    import streamem.sklearn\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'streamem[sklearn]'" in ran.stdout
