"""Random tables: what is trained on, tested and counted is what the table says, or the refusal names what is wrong."""

from collections import Counter
from pathlib import Path

import pytest
import soundfile
from random_tables import Draw, draw_table

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.planning.plan import Plan, plan_run


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, [0.0] * 800_000, 8_000)  # longer than all segments
    return tmp_path


def outcome(draw: Draw) -> tuple[str, str | None]:
    """What became of a draw, and what is wrong with that."""
    try:
        plan = plan_run(load_recipe(str(draw.recipe), draw.settings))
    except UserError as error:
        line = str(error)
        named = any(word in line for word in [*(draw.refused or []), *draw.perhaps]) and "\n" not in line
        return "refused", None if named else f"refused without {draw.refused}: {line}"
    if draw.refused is not None:
        return "planned", f"not refused, though {draw.refused}: tests {plan.test_fold}"
    return "planned", untrue(draw, plan)


def untrue(draw: Draw, plan: Plan) -> str | None:
    """How a plan differs from the truth."""
    rows = plan.rows
    ids = rows["utterance_id"]
    columns = [rows[name] if name in rows.column_names else [None] * len(rows) for name in ("start", "end")]
    found = dict(zip(ids, zip(rows["speaker"], rows["emotion"], *columns, strict=True), strict=True))
    if found != draw.rows:
        return f"rows are {found}, not {draw.rows}"
    if plan.test_fold != draw.tested:
        return f"tests {plan.test_fold}, not {draw.tested}"
    labels = sorted({emotion for _, emotion, _, _ in draw.rows.values()} - {None})
    if plan.tasks["emotion"]["labels"] != labels:
        return f"labels are {plan.tasks['emotion']['labels']}, not {labels}"
    sides = {side: {ids[row] for row in of_side} for side, of_side in plan.sides.items()}
    if draw.whole is None:
        return None if sides == draw.sides else f"sides are {sides}, not {draw.sides}"
    if sides["train"] | sides["test"] != set(ids) or sides["train"] & sides["test"]:
        return f"sides are no two parts of the corpus: {sides}"
    owners = [{found[id][0] for id in sides[side]} for side in ("train", "test")]
    return f"{owners} share a speaker" if draw.whole == "speaker" and owners[0] & owners[1] else None


def try_draws(numbers: range, folder: Path) -> Counter[str]:
    tally, defects = Counter(), []
    for number in numbers:
        draw = draw_table(number, folder)
        kind, wrong = outcome(draw)
        tally[kind] += 1
        if wrong is not None:
            defects.append(f"{draw.what}: {wrong}")
        for table in folder.glob("table.*"):
            table.unlink()
    print(f"{tally.total()} tables, {tally['planned']} planned, {tally['refused']} refused, {len(defects)} defects")
    assert not defects, f"{len(defects)} defects, the first:\n" + "\n".join(defects[:5])
    return tally


def test_some_tables(folder):
    tally = try_draws(range(100), folder)
    assert tally["planned"] > 30 and tally["refused"] > 20


@pytest.mark.campaign
def test_tables(folder):
    tally = try_draws(range(100, 10_100), folder)
    assert tally["planned"] > 3_000 and tally["refused"] > 2_000
