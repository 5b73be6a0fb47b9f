"""Many damaged inputs through a guarded reader: what became of them, counted and printed."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from guarded import GOOD, Guarded


def run_campaign(reader: Guarded, name: str, mutants: Iterable[tuple[str, Any]]) -> Counter[str]:
    """Reads every mutant and prints one line of figures; fails with the first few that were neither read nor refused.

    Args:
        mutants: each with what was done to it.
    """
    tally, defects, slowest, total = Counter(), [], 0.0, 0.0
    for label, mutant in mutants:
        outcome = reader(mutant)
        tally[outcome.kind] += 1
        slowest, total = max(slowest, outcome.seconds), total + outcome.seconds
        if outcome.kind not in GOOD:
            defects.append(f"{label}: {outcome.kind}: {str(outcome.detail)[-2_000:]}")
    figures = f"{tally.total()} tried, {tally['result']} read, {tally['refused']} refused"
    print(f"{name}: {figures}, {len(defects)} defects; slowest {slowest:.2f} s, {total:.1f} s in all")
    assert not defects, f"{name}: {len(defects)} defects, the first:\n" + "\n".join(defects[:3])
    return tally
