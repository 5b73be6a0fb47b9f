"""How long Hypothesis looks for a counterexample: the same examples in every run, and none kept on disk."""

from hypothesis import HealthCheck, settings

_common = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    # the fixtures of these tests are made to be used many times
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
cheap = settings(**_common, max_examples=200)  # a millisecond each
moderate = settings(**_common, max_examples=40)  # a data set each
few = settings(**_common, max_examples=10)  # a second each
costly = settings(**_common, max_examples=4)  # a model each
