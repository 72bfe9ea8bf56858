"""Estimators for scikit-learn that learn online: in its pipelines, searches and frames. The extra is ``sklearn``."""

from importlib.util import find_spec

from streamem.errors import ConfigError, tell

if find_spec("sklearn") is None:
    do = "run pip install 'streamem[sklearn]', or take streamem.estimators, which need no scikit-learn"
    raise ConfigError(tell("streamem.sklearn", found="no scikit-learn", wanted="scikit-learn 1.6 or newer", do=do))

from streamem.sklearn.chain import OnlineHMM
from streamem.sklearn.mixture import OnlineGaussianMixture

__all__ = ["OnlineGaussianMixture", "OnlineHMM"]
