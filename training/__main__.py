"""The command line. What needs torch is imported inside the commands, so that help comes at once."""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ..configuration.errors import Interrupted, UserError
from ..configuration.printable import one_line
from ..configuration.records import to_json
from .options import (
    AsJson,
    Debug,
    FinishedRun,
    Model,
    ModelLicense,
    Overrides,
    RecipeName,
)
from .prediction.commands import listen, predict, serve
from .studies.commands import ablate, crossval, distill, probe, show_run

app = typer.Typer(
    help="Speech emotion recognition that learns from all the metadata a corpus has.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SECONDS_TO_FOLLOW = 10  # after which a process's error is taken for its own


@app.callback()
def options(debug: Debug = False) -> None:
    """Takes the options that all commands share; `main` reads them."""


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the recordings and the run.")] = Path("ser-meta-demo"),
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted demo.")] = False,
) -> None:
    """Train the paper's model on synthetic speech in a few minutes, and show what it learned.

    Example: ser-meta demo --output /tmp/demo
    """
    from ..hub_cards.terminal.report import print_report
    from .machine.processes import is_main_process
    from .runs.demo import read_back, run_demo, sentence, unseen_recording

    report = run_demo(output, seed, resume)
    if not is_main_process():
        return
    print_report(report)
    run, recording = output / "run", unseen_recording(output)
    print(f"{run / 'model'}, read back with trust_remote_code=True where ser_meta cannot be imported:")
    print(f"  {recording}: {sentence(read_back(run / 'model', recording))}")
    print(f"Confusion matrix: {run / 'plots' / 'confusion.png'}   Report: {run / 'report.json'}")
    print("What to do next:")
    print(f"  ser-meta predict {run / 'model'} {recording.parent}   recognise recordings, these or your own")
    print(f"  ser-meta serve {run / 'model'}   open a page to try the model with a microphone")
    print('  ser-meta check my.yaml   begin with your own recordings; README, "Train on your own recordings"')


@app.command()
def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="The run folder to write.")] = ...,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe's stages and judge the model on the test side.

    Example: ser-meta train ravdess-whisper-base data.root=/data/ravdess --output runs/ravdess

    A large encoder through LoRA: ser-meta train wavlm-large-lora data.root=my.tsv --output runs/large

    On several devices: accelerate launch -m ser_meta.training train RECIPE ... --output RUN

    Several machines: examples/accelerate; --output must be on a file system that they share, which is checked.
    """
    from .planning.beforehand import plan_training

    plan = plan_training(recipe, overrides or [], output, resume)
    from .runs.stages import run_stages

    show_run(run_stages(plan.recipe, output, resume, plan=plan), output, as_json)


for command in (crossval, ablate, distill, probe, listen, serve):
    app.command()(command)


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(help="The folder of a ser-meta model or of a finished run, or owner/name on the Hub.")
    ],
    given: Annotated[
        list[str] | None,
        typer.Argument(
            help="A corpus's name and its folder or table, or a recipe; and settings. A run has its own.",
            metavar="[CORPUS ROOT | RECIPE] [KEY=VALUE]...",
        ),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="A run's split.json: judge only one of its sides.")] = None,
    side: Annotated[str, typer.Option(help="Which side of a split.")] = "test",
    degrade: Annotated[
        list[str] | None,
        typer.Option(help="Also as by telephone, noise:10, reverb, mp3:32, ...; may be given again."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a trained model on a corpus, on the corpora of a recipe, or again on its run's own test side.

    Settings of a corpus are its loader's, and label_map, quarantine and leave_out_missing as in a recipe.

    Example: ser-meta evaluate runs/ravdess

    Example: ser-meta evaluate runs/ravdess --degrade telephone --degrade noise:10

    Example: ser-meta evaluate runs/ravdess/model nemo /data/nemo "label_map={emotion: {anger: angry, fear: fearful}}"
    """
    from .planning.evaluation import find_evaluation

    evaluation = find_evaluation(model, given or [], split, side, degrade or [])
    from ..hub_cards.terminal.report import print_report
    from .runs.evaluate import evaluate_model

    report = evaluate_model(evaluation)
    print(json.dumps(to_json(report))) if as_json else print_report(report)


@app.command()
def check(
    given: Annotated[
        list[str],
        typer.Argument(
            help="A corpus's name and its folder or table, or a recipe; and settings.",
            metavar="(CORPUS ROOT | RECIPE) [KEY=VALUE]...",
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Write the report as JSON.")] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write the utterances to leave out, for a recipe's data.quarantine.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read (default: one a core).")] = None,
    as_json: AsJson = False,
) -> None:
    """Read every recording of a corpus, count, and tell what is wrong or odd, the worst first.

    Example: ser-meta check ravdess /data/ravdess --quarantine ravdess-quarantine.json

    Of a recipe it also tells what train and crossval would refuse: folds, sides, labels, tasks.

    Example: ser-meta check my.yaml data.root=my.csv

    The exit code is 1 where something was found that would spoil a result.
    """
    from .planning.beforehand import require_folder
    from .planning.evaluation import find_check

    require_folder(output, quarantine)
    asked = find_check(given, quarantine)
    from ..hub_cards.terminal.check import print_check
    from .checking.check import check_asked, spoils, write_reports

    report = check_asked(asked, workers)
    write_reports(report, output, quarantine, asked.quarantined)
    print(json.dumps(report)) if as_json else print_check(report)
    raise typer.Exit(int(spoils(report)))


app.command()(predict)


@app.command()
def adapt(
    model: Annotated[
        str,
        typer.Argument(help="A model that was trained with model.center_by: its folder, or owner/name on the Hub."),
    ],
    audio: Annotated[list[str], typer.Argument(help="One speaker's sound files, folders, or patterns.")],
    output: Annotated[Path, typer.Option(help="The folder of the adapted model.")] = ...,
    as_json: AsJson = False,
) -> None:
    """Make a model ready for one speaker, from recordings whose emotions nobody needs to know.

    Example: ser-meta adapt runs/ravdess/model calls/anna/ --output anna-model
    """
    from ..hub_cards.hub.names import find_model
    from .prediction.inputs import require_some

    require_some(audio)
    found = find_model(model)
    from .prediction.adaptation import adapt as adapt_to

    heard = adapt_to(found, audio, output)
    print(json.dumps(heard) if as_json else f"{output}: centred by {heard['recordings']} recordings")


@app.command()
def card(
    run: FinishedRun,
    repository: Annotated[str | None, typer.Option(help="The snippets name it: owner/name on the Hub.")] = None,
    model_license: ModelLicense = None,
) -> None:
    """Write the model card of a run anew, from what the run recorded.

    Example: ser-meta card runs/ravdess --repository someone/ravdess-emotions
    """
    from ..configuration.run_folder import RunFolder
    from .runs.hub import write_run_card

    options = {"repository": repository} if repository else {}
    print(write_run_card(RunFolder(run), model_license=model_license, **options))


@app.command()
def push(
    run: FinishedRun,
    repository: Annotated[str, typer.Argument(help="On the Hub: owner/name, made if there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Make new repositories private ones.")] = False,
    revision: Annotated[str, typer.Option(help="The branch, made if there is none.")] = "main",
    space: Annotated[
        str | None, typer.Option(help="Push a Space too that runs this commit on a page: owner/name.")
    ] = None,
    model_license: ModelLicense = None,
    benchmark: Annotated[
        str | None, typer.Option(help="Send the UA to this leaderboard of the Hub too, as owner/dataset:task.")
    ] = None,
    with_speakers: Annotated[
        bool, typer.Option("--with-speakers", help="Send what tells the speakers of the training apart too.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Send graphs for transformers.js too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be sent, and send nothing.")] = False,
) -> None:
    """Publish a run's model on the Hub in one commit: weights, processor, code, pictures, results and card.

    Example: ser-meta push runs/ravdess someone/ravdess-emotions --space someone/ravdess-page

    What the model would answer to the task speaker stays here; the other answers are the same without it.

    The Space of a private model needs a secret HF_TOKEN in its settings, which may read the model.
    """
    from ..configuration.run_folder import RunFolder
    from .runs.hub import list_files, prepare_publication, publish

    options = {"repository": repository, "revision": revision, "model_license": model_license}
    with TemporaryDirectory() as scratch:
        graphs = Path(scratch) / "graphs" if onnx else None
        publication = prepare_publication(RunFolder(run), benchmark, with_speakers, graphs, **options)
        for warning in publication.warnings:
            print(f"ser-meta: {warning}", file=sys.stderr)
        if dry_run:
            list_files(publication, repository, revision, space)
        else:
            for address in publish(publication.files, repository, private, revision, space):
                print(address)


@app.command()
def models(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to look for models (default: the cache of the Hub).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models in a folder of runs, or in the cache of the Hub, each with what its card says.

    Example: ser-meta models runs/
    """
    from ..hub_cards.hub.models import list_models
    from ..hub_cards.terminal.tables import print_lines
    from .planning.lists import model_table

    found = list_models(folder)
    if as_json:
        print(json.dumps([vars(model) for model in found]))
    elif found:
        print_lines(model_table(found))
    else:
        print(f"no model in {folder or 'the cache of the Hub'}", file=sys.stderr)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this one with all its settings: a name, or a file.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes that come with the package, or show one with every setting that it has.

    Example: ser-meta recipes

    Example: ser-meta recipes ravdess-whisper-base stages.emotion.epochs=2
    """
    from .planning.lists import recipe_facts, recipe_table, resolved_recipe

    if name is not None:
        print(resolved_recipe(name, overrides or [], as_json))
    elif as_json:
        print(json.dumps(recipe_facts()))
    else:
        from ..hub_cards.terminal.tables import print_lines

        print_lines(recipe_table(recipe_facts()))


@app.command()
def export(
    model: Model,
    output: Annotated[Path, typer.Option(help="The folder to write.")] = ...,
    int8: Annotated[bool, typer.Option("--int8", help="In 8 bits too, for processors with VNNI.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model as an ONNX graph, in a folder that runs on onnxruntime without torch and Transformers.

    Example: ser-meta export runs/ravdess/model --output ravdess-onnx
    """
    from ..hub_cards.hub.names import find_model

    found = find_model(model)
    from ..hub_cards.export.onnx import export_onnx
    from .prediction.recognition import tell_centring
    from .runs.loading import load_model

    model, processor = load_model(found.folder)
    tell_centring(found, model.config)
    written = export_onnx(model, processor, output, int8)
    if as_json:
        print(json.dumps(written))
    else:
        print(f"{written['bytes'] / 1e6:.1f} MB; logits differ from the model's by up to {written['difference']:.1e}")
        print(f"python {output / 'runner.py'} recording.wav")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show versions, devices, and what is missing for which feature.

    Example: ser-meta doctor
    """
    from .machine.doctor import examine

    found = examine()
    if as_json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<20}{value}")


def _user_errors() -> tuple[type[Exception], ...]:
    from ..modeling_ser_meta.audio_ser_meta import AudioError

    return UserError, AudioError


def _line(error: Exception) -> str:
    """Its message, of which a process that reads recordings makes the last line of a traceback."""
    *traceback_lines, last = str(error).strip().splitlines() or [""]
    return (traceback_lines and last.partition("Error: ")[2]) or last


def _is_first_process() -> bool:
    """Of those that `accelerate launch` starts."""
    return os.environ.get("RANK", "0") == "0"


def _print_what_cannot_be_encoded() -> None:
    """Standard output names a character that its encoding lacks, such as \\xf6, as stderr always does."""
    if hasattr(sys.stdout, "reconfigure"):  # what stands in for it may have none
        sys.stdout.reconfigure(errors="backslashreplace")


def main() -> None:
    """Runs the command line: a user's mistake is one line on stderr and exit code 2; `--debug` adds the traceback."""
    _print_what_cannot_be_encoded()
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "60")  # seconds, so that bars do not fill a log
    try:
        app(prog_name="ser-meta")
    except Interrupted as error:
        if _is_first_process():
            print(f"ser-meta: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        if not isinstance(error, _user_errors()):
            raise
        if "--debug" in sys.argv:
            traceback.print_exc()
        if not _is_first_process():
            time.sleep(SECONDS_TO_FOLLOW)  # the launcher ends this process if the first one left with the same error
        print(f"ser-meta: {one_line(_line(error))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
