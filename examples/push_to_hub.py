"""Publishes a run on the Hub with a page to try it, and uses it from there, as anybody else would.

Log in first: `hf auth login`, or set HF_TOKEN.

python examples/push_to_hub.py runs/ravdess someone/ravdess-emotions someone/ravdess-page recording.wav
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import pipeline

from ser_meta.configuration.run_folder import RunFolder
from ser_meta.hub_cards.hub.push import push
from ser_meta.hub_cards.hub.space import space_files
from ser_meta.training.runs.hub import prepare_publication


def main(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    repository: Annotated[str, typer.Argument(help="The model's, owner/name; made if there is none.")],
    space: Annotated[str, typer.Argument(help="The page's, owner/name; made if there is none.")],
    recording: Annotated[Path, typer.Argument(help="A recording that the published model is asked about.")],
) -> None:
    """Pushes a model and its Space, and asks the model on the Hub about a recording."""
    commit = push(prepare_publication(RunFolder(run), repository=repository).files, repository)
    page = push(space_files(repository, commit.oid), space, kind="space")
    print(commit.commit_url, page.commit_url, sep="\n")
    # remote code runs here: the commit's id says which, for good
    recognise = pipeline("speech-emotion-recognition", model=repository, revision=commit.oid, trust_remote_code=True)
    for entry in recognise(str(recording))["emotion"]:
        print(f"{entry['score']:.2f}  {entry['label']}")


if __name__ == "__main__":
    typer.run(main)
