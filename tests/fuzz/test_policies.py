"""A short run of random policies against the reference. The long one is `python -m tests.fuzz.policies`."""

from tests.fuzz import policies


def test_random_policies_are_judged_as_the_reference_judges_them() -> None:
    """Threat G08: one evaluator, compared with an oracle; the run has both verdicts of every engine."""
    report = policies.run(2_000, seed=20_261_121)

    assert report.decisions == 2_000
    seen = {f"{engine} {verdict}" for engine in ("matcho", "complex", "json-schema") for verdict in ("yes", "no")}
    assert {"allowed", "refused", "allow yes", *seen} == report.outcomes.keys()
    assert min(report.outcomes.values()) >= 20
