"""How well and how fast: UA against recordings a second on this machine, one point a model and form.

ser-meta crossval examples/studies/ravdess-emobox.yaml data.root=... --keep-models --output teachers
ser-meta distill teachers examples/studies/ravdess-small.yaml data.root=... --keep-models --output students
python examples/benchmarks/frontier.py --study "six layers=teachers" --study "student=students" --output frontier

Each study is a finished `ser-meta crossval` or `distill` with its models. The UA in fp32 is its report's, on the test
sides of all folds; that of its exports is measured on the same recordings, once, and kept in OUTPUT-judged.json. Speed
is that of the first fold's models on some recordings of its test side, all forms by turns, files read included. Beside
them stand Transformers' own classifiers as people use them, with random weights: Whisper's on its 30 s, when the
studies' encoder is a Whisper, and wav2vec2's of base size. They have a speed, and no UA.
"""

import hashlib
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from measuring import alternate, in_new_process, peak_megabytes, seconds_of, start_torch, write_page
from prediction import BATCH_SIZES, our_side, stock_side
from speech import write_encoder, write_stock_classifier
from tqdm import tqdm

if TYPE_CHECKING:
    from ser_meta.configuration.study_report import CrossvalReport

FORMS = ("fp32", "exported fp32", "exported int8")
STOCK = {"whisper": "stock Whisper classifier, 30 s", "wav2vec2": "stock wav2vec2 base classifier"}


@dataclass
class Point:
    """One model in one form.

    Args:
        model, form: what it is.
        ua: on all test sides; None of a stock classifier, which is not trained.
        interval: of it, 95 %, over speakers.
        speed: recordings a second, the median of the rounds.
        times_ours, times_stock: as fast as the first study in fp32, and as the first stock classifier; the median of
            the rounds' ratios.
        megabytes: the peak memory of a process that predicts; None of an export.
        less_than_teacher: of students, what their UA differs by, with its interval.
    """

    model: str
    form: str
    ua: float | None
    interval: list[float] | None
    speed: float
    times_ours: float
    times_stock: float
    megabytes: float | None = None
    less_than_teacher: dict[str, Any] | None = None


class Study:
    """A finished study whose models are there.

    Args:
        given: `NAME=FOLDER`.
    """

    def __init__(self, given: str):
        from ser_meta.configuration.study_report import read_study_report

        self.name, _, folder = given.partition("=")
        self.folder = Path(folder)
        self.report: CrossvalReport = read_study_report(self.folder / "report.json")
        self.runs = [self.folder / run.folder for run in self.report.runs]
        if missing := [run for run in self.runs if not (run / "model").is_dir()]:
            raise typer.BadParameter(f"{missing[0]} has no model: make the study with --keep-models")

    @property
    def identity(self) -> str:
        """What names its models: the same study made anew has others."""
        digest = hashlib.sha256((self.folder / "predictions.parquet").read_bytes()).hexdigest()
        return f"{self.name} {digest[:12]}"

    @property
    def model(self) -> Path:
        """The first fold's."""
        return self.runs[0] / "model"

    def tested(self, run: Path) -> dict[str, str]:
        """A run's test recordings, each with its label."""
        from ser_meta.configuration.recipe_files import load_recipe
        from ser_meta.training.planning.plan import load_rows

        recipe = load_recipe(str(run / "recipe.yaml"))
        rows, test = load_rows(recipe), set(json.loads((run / "split.json").read_text())["test"])
        columns = zip(rows["utterance_id"], rows["audio"], rows[self.report.target], strict=True)
        return {path: label for name, path, label in columns if name in test and label is not None}


def main(
    study: Annotated[list[str], typer.Option(help="NAME=FOLDER of a study with its models; the first is the whole.")],
    output: Annotated[Path, typer.Option(help="The results, as this with .json, .md and .png.")] = Path("frontier"),
    recordings: Annotated[int, typer.Option(help="By which speed is measured.")] = 40,
    rounds: Annotated[int, typer.Option(help="In each of which every form is measured once.")] = 5,
    threads: Annotated[int, typer.Option(help="Torch's and onnxruntime's.")] = 2,
    stock_size: Annotated[str, typer.Option(help="Of the stock wav2vec2: base or tiny.")] = "base",
    forms: Annotated[list[str] | None, typer.Option("--form", help="fp32, exported fp32 or exported int8.")] = None,
) -> None:
    """Measures the frontier and draws it.

    Example: python examples/benchmarks/frontier.py --study "six layers=teachers" --study "student=students"
    """
    start_torch(threads)
    studies, forms = [Study(given) for given in study], forms or list(FORMS)
    tested = list(studies[0].tested(studies[0].runs[0]))
    paths = [tested[place] for place in np.linspace(0, len(tested) - 1, min(recordings, len(tested))).astype(int)]
    judged = judge_exports(studies, forms, threads, output.with_name(f"{output.name}-judged.json"))
    with tempfile.TemporaryDirectory() as name:
        sides = sides_of(studies, forms, threads, stock_size, Path(name))
        speeds = measured(sides, paths, rounds)
    points = points_of(studies, speeds, judged, paths)
    lines = [
        "| model | form | UA | recordings/s | times ours whole | times stock | peak memory |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    lines += [line_of(point) for point in points]
    settings = {"recordings": len(paths), "rounds": rounds, "threads": threads, "test folds": len(studies[0].runs)}
    write_page(lines, [asdict(point) for point in points], settings, output)
    draw(points, output.with_suffix(".png"))


def judge_exports(studies: list[Study], forms: list[str], threads: int, kept: Path) -> dict[str, dict[str, float]]:
    """By study and form the UA of the exports, over the test sides of all folds; kept from an earlier call."""
    judged = json.loads(kept.read_text()) if kept.is_file() else {}
    for study in studies:
        own = judged.setdefault(study.identity, {})
        for form in [form for form in forms if form != FORMS[0] and form not in own]:
            pairs: list[tuple[str, str]] = []
            for run in tqdm(study.runs, f"{study.name}, {form}", disable=not sys.stderr.isatty()):
                labels = study.tested(run)
                with tempfile.TemporaryDirectory() as folder:
                    answers = exported(run / "model", form, threads, Path(folder) / "exported")(list(labels))
                pairs += zip(labels.values(), answers, strict=True)
            own[form] = unweighted_accuracy(pairs)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(judged, indent=2) + "\n")
    return {study.name: judged[study.identity] for study in studies}


def unweighted_accuracy(pairs: list[tuple[str, str]]) -> float:
    """The mean recall of pairs of label and answer."""
    labels = {label for label, _ in pairs}
    recalls = [np.mean([label == answer for label, answer in pairs if label == each]) for each in labels]
    return float(np.mean(recalls))


def exported(model: Path, form: str, threads: int, folder: Path) -> Callable[[list[str]], list[str]]:
    """The best label of each recording by the runner that an export brings."""
    from ser_meta.hub_cards.export.onnx import export_onnx
    from ser_meta.training.runs.loading import load_model

    export_onnx(*load_model(model), folder, int8=form == FORMS[2])
    sys.path.insert(0, str(folder))
    found = importlib.util.spec_from_file_location(f"runner_{len(sys.path)}", folder / "runner.py")
    runner = importlib.util.module_from_spec(found)
    found.loader.exec_module(runner)
    recognizer = runner.Recognizer(folder, threads=threads)
    target = recognizer.facts["target_task"]
    return lambda paths: [result[target][0]["label"] for result in recognizer.many(paths)]


def sides_of(
    studies: list[Study], forms: list[str], threads: int, stock_size: str, scratch: Path
) -> dict[tuple[str, str], Callable[[list[str]], Any]]:
    """By model and form what recognises recordings: the stock classifiers first."""
    sides: dict[tuple[str, str], Callable] = {
        (STOCK[kind], "fp32"): quickest(folder) for kind, folder in stock(studies, stock_size, scratch).items()
    }
    for place, study in enumerate(studies):
        for form in forms:
            made = scratch / f"{place}-{form.replace(' ', '-')}"
            side = (
                our_side(study.model, form, threads, scratch)
                if form == "fp32"
                else exported(study.model, form, threads, made)
            )
            sides[study.name, form] = side
    return sides


def stock(studies: list[Study], size: str, scratch: Path) -> dict[str, Path]:
    """The folders of the stock classifiers, with random weights."""
    from transformers import WhisperForAudioClassification

    from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaProcessor

    found, encoder = {}, SerMetaConfig.from_pretrained(studies[0].model).speech_config
    if encoder.model_type == "whisper":
        encoder.num_labels = 8
        found["whisper"] = scratch / "whisper"
        WhisperForAudioClassification(encoder).save_pretrained(found["whisper"])
        extractor = SerMetaProcessor.from_pretrained(studies[0].model).feature_extractor
        type(extractor)(feature_size=extractor.feature_size).save_pretrained(found["whisper"])
    found["wav2vec2"] = write_stock_classifier(
        scratch / "wav2vec2", write_encoder(scratch / "wav2vec2-encoder", "wav2vec2", size)
    )
    return found


def quickest(folder: Path) -> Callable[[list[str]], Any]:
    """The stock pipeline over files, at its best batch size, which it finds on the first recordings it gets."""
    chosen: list[Callable] = []

    def recognise(paths: list[str]) -> Any:
        if not chosen:
            every = [stock_side(folder, size) for size in BATCH_SIZES]
            chosen.append(min(every, key=lambda side: seconds_of(partial(side, paths[: max(BATCH_SIZES)]))))
        return chosen[0](paths)

    return recognise


def measured(
    sides: dict[tuple[str, str], Callable], paths: list[str], rounds: int
) -> dict[tuple[str, str], list[float]]:
    """By model and form the recordings a second of each round, after a first one that does not count."""
    for side in sides.values():
        side(paths[: max(BATCH_SIZES)])
    timed = {
        f"{model}, {form}": partial(lambda side: len(paths) / seconds_of(partial(side, paths)), side)
        for (model, form), side in sides.items()
    }
    return dict(zip(sides, alternate(timed, rounds).values(), strict=True))


def points_of(
    studies: list[Study],
    speeds: dict[tuple[str, str], list[float]],
    judged: dict[str, dict[str, float]],
    paths: list[str],
) -> list[Point]:
    """What stands in the table, the stock classifiers first."""
    (first, *_), ours = speeds.values(), speeds[studies[0].name, "fp32"]
    by_name, points = {study.name: study for study in studies}, []

    def times(speed: list[float], of: list[float]) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(speed, of, strict=True))

    for (name, form), speed in speeds.items():
        point = Point(name, form, None, None, statistics.median(speed), times(speed, ours), times(speed, first))
        if name in by_name:
            report, in_torch = by_name[name].report, form == "fp32"
            point.ua = report.measures["ua"] if in_torch else judged[name][form]
            point.interval = report.measures.get("interval", {}).get("ua") if in_torch else None
            point.megabytes = in_new_process(memory_of, by_name[name].model, paths) if in_torch else None
            point.less_than_teacher = report.teacher.ua if in_torch and report.teacher else None
        points.append(point)
    return points


def memory_of(model: Path, paths: list[str]) -> float:
    """The peak memory of a process that recognises, in megabytes."""
    start_torch(2)
    our_side(model, "fp32", 2, Path())(paths)
    return peak_megabytes()


def line_of(point: Point) -> str:
    """A line of the table."""
    ua = "" if point.ua is None else f"{100 * point.ua:.1f}%"
    if point.interval:
        ua += " ({:.1f}-{:.1f}%)".format(*(100 * end for end in point.interval))
    if point.less_than_teacher:
        ends = point.less_than_teacher.get("interval", [])
        between = " ({:+.1f} to {:+.1f})".format(*(100 * end for end in ends)) if ends else ""
        ua += f"; {100 * point.less_than_teacher['difference']:+.1f} points{between} against its teacher"
    memory = "" if point.megabytes is None else f"{point.megabytes:.0f} MB"
    figures = f"{point.speed:.3g} | {point.times_ours:.2f} | {point.times_stock:.1f} | {memory}"
    return f"| {point.model} | {point.form} | {ua} | {figures} |"


def draw(points: list[Point], path: Path) -> None:
    """UA against recordings a second; classifiers without a UA stand on the axis below."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    from ser_meta.hub_cards.page.plots_style import INK, TASK_COLOURS, bare, save

    figure = Figure(figsize=(7.2, 4.0))
    axes = figure.subplots()
    bare(axes)
    models = list(dict.fromkeys(point.model for point in points if point.ua is not None))
    lowest = min(point.ua for point in points if point.ua is not None) * 100 - 6
    for model, colour in zip(models, TASK_COLOURS, strict=False):
        own = sorted((point for point in points if point.model == model), key=lambda point: point.speed)
        axes.plot(
            [point.speed for point in own], [100 * point.ua for point in own], color=colour, linewidth=1, alpha=0.5
        )
        for point in own:
            axes.plot(point.speed, 100 * point.ua, MARKS[point.form], color=colour, markersize=8)
        axes.plot([], [], color=colour, linewidth=3, label=model)
    for point in points:
        if point.ua is None:
            axes.plot(point.speed, lowest, "x", color=INK, markersize=8, clip_on=False)
            axes.annotate(
                point.model,
                (point.speed, lowest),
                (0, 10),
                textcoords="offset points",
                color=INK,
                rotation=35,
                fontsize=8,
            )
    for form, mark in MARKS.items():
        axes.plot([], [], mark, color=INK, label=form)
    axes.plot([], [], "x", color=INK, label="untrained: speed alone")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(lowest, max(100 * point.ua for point in points if point.ua is not None) + 1)
    axes.set_xlabel("recordings a second (log scale)")
    axes.set_ylabel("UA, %")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


MARKS = {"fp32": "o", "exported fp32": "s", "exported int8": "^"}


if __name__ == "__main__":
    typer.run(main)
