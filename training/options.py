"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Model = Annotated[
    str, typer.Argument(help="The folder of a ser-meta model, or owner/name of one on the Hub, with @revision or not.")
]
Backend = Annotated[
    str,
    typer.Option(
        help="What runs the network: torch; onnx, less time on a CPU, written into a cache once; auto measures once."
    ),
]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as key=value.", metavar="[KEY=VALUE]...")]
RecipeName = Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe that comes with the package.")]
FinishedRun = Annotated[Path, typer.Argument(help="The folder of a finished run.")]
StudyFolder = Annotated[Path, typer.Option(help="The study's folder; a second call goes on there.")]
Seeds = Annotated[list[int] | None, typer.Option("--seed", help="Of the runs (default: the recipe's).")]
AtOnce = Annotated[int, typer.Option(help="Folds that train at the same time, each in its own process.")]
Labels = Annotated[str | None, typer.Option(help="Choose among these of the target's labels: angry,sad.")]
Priors = Annotated[
    str | None, typer.Option(help="Your recordings' label shares, or uniform: angry=0.1,happy=0.3,neutral=0.6.")
]
LeastFamiliar = Annotated[
    float | None, typer.Option(help="Tell how familiar a recording is, and mark what is less so: 0.05, or 0.")
]
Embeddings = Annotated[Path | None, typer.Option(help="Write what the classifier sees, as Parquet.")]
ModelLicense = Annotated[
    str | None,
    typer.Option("--license", help="The model's, as the Hub names it (default: what the corpus's leaves, if one)."),
]
