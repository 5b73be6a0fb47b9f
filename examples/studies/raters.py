"""A corpus whose raters are known: RAVDESS's speech as people might hear it, who err more where it is acted less.

python examples/studies/raters.py /data/ravdess raters.csv

Each recording is rated by seven of twenty raters, drawn by chance. A rater hears the acted emotion with the chance
`RIGHT`, give or take his own skill, and otherwise one that is near it, or now and then any. The table has a row for
each rating; `acted` is the emotion that was acted, which no rater is told.
"""

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ser_meta.training.corpora import load_rows

RIGHT = {"normal": 0.55, "strong": 0.85}  # how often a rater of no special skill hears what was acted
SKILL = 0.1  # how much better or worse single raters are, at most
FAR = 0.1  # of the errors, the share that falls on any emotion, and not on one that is near
NEAR = {
    "neutral": ["calm", "sad"],
    "calm": ["neutral", "sad"],
    "happy": ["surprised", "neutral"],
    "sad": ["fearful", "calm"],
    "angry": ["disgust", "surprised"],
    "fearful": ["sad", "surprised"],
    "disgust": ["angry", "sad"],
    "surprised": ["happy", "fearful"],
}
EMOTIONS = list(NEAR)


def confusion(intensity: str, skill: float = 0.0) -> np.ndarray:
    """How likely a rater hears each emotion (acted, heard), in the order of `EMOTIONS`."""
    right = RIGHT[intensity] + skill
    chances = np.full((len(EMOTIONS), len(EMOTIONS)), (1 - right) * FAR / (len(EMOTIONS) - 1))
    for row, near in enumerate(NEAR.values()):
        chances[row, [EMOTIONS.index(name) for name in near]] += (1 - right) * (1 - FAR) / len(near)
        chances[row, row] = right
    return chances


def draw_ratings(acted: list[tuple[str, str]], raters: int, each: int, seed: int) -> list[list[tuple[str, str]]]:
    """Of recordings with their acted emotion and intensity, the raters of each with what they hear."""
    chance = np.random.default_rng(seed)
    skills = chance.uniform(-SKILL, SKILL, raters)
    ratings = []
    for emotion, intensity in acted:
        chosen = chance.choice(raters, each, replace=False)
        rows = [confusion(intensity, skills[rater])[EMOTIONS.index(emotion)] for rater in chosen]
        ratings.append(
            [
                (f"rater {rater + 1:02d}", str(chance.choice(EMOTIONS, p=row)))
                for rater, row in zip(chosen, rows, strict=True)
            ]
        )
    return ratings


def main(
    ravdess: Annotated[Path, typer.Argument(help="The folder of RAVDESS.")],
    table: Annotated[Path, typer.Argument(help="The CSV to write.")],
    raters: Annotated[int, typer.Option(help="How many there are.")] = 20,
    each: Annotated[int, typer.Option(help="How many of them rate a recording.")] = 7,
    seed: int = 1,
) -> None:
    """Draws the raters, writes their table, and prints how often they are right and agree."""
    rows = load_rows("ravdess", ravdess, channels="speech")
    acted = list(zip(rows["emotion"], rows["intensity"], strict=True))
    ratings = draw_ratings(acted, raters, each, seed)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["utterance_id", "audio", "speaker", "gender", "intensity", "acted", "rater", "emotion"])
        for row, heard in enumerate(ratings):
            audio = Path(rows["audio"][row]).relative_to(ravdess)
            known = [rows[name][row] for name in ("utterance_id", "speaker", "gender", "intensity", "emotion")]
            writer.writerows([known[0], audio, *known[1:], *rating] for rating in heard)
    right: dict[str, list[bool]] = {intensity: [] for intensity in RIGHT}
    for (emotion, intensity), heard in zip(acted, ratings, strict=True):
        right[intensity] += [word == emotion for _, word in heard]
    for intensity, found in right.items():
        if not found:
            continue
        print(f"{intensity}: {len(found):,} ratings, {np.mean(found):.1%} hear what was acted")
    print(f"{table}: {len(rows):,} recordings, {each} of {raters} raters each")


if __name__ == "__main__":
    typer.run(main)
