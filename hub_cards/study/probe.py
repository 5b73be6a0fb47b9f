"""The page on a linear probe: what each layer of a frozen encoder tells alone, and the lowest ones together."""

from collections.abc import Sequence
from functools import partial

from ...configuration.report import Measures
from ...configuration.study_report import Change, ProbeReport, SuggestedLayers
from ..document import (
    Page,
    Picture,
    Section,
    Table,
    over_speakers,
    protocol_line,
    protocol_section,
    signed_points,
    with_interval,
)
from ..pictures.study import plot_probe
from ..wording import NOTHING, words


def probe_page(report: ProbeReport) -> Page:
    """What a probe's report says."""
    suggested, layers = report.suggested, len(report.suggested.differences)
    measured = {row.name: row.pooled.metrics[report.target] for row in report.rows}
    alone = [measured[f"layer {layer}"] for layer in range(1, layers + 1)]
    lower = [alone[0], *(measured[f"lowest {count} layers"] for count in range(2, layers))]
    together = [*lower[: layers - 1], measured["all layers"]]
    draw = partial(plot_probe, alone, together, suggested.encoder_layers)
    return Page(
        f"{report.target}: the {layers} layers of {report.encoder}",
        protocol_line(report.protocol),
        headline={
            "suggested": (f"model.encoder_layers={suggested.encoder_layers}", _reason(suggested)),
            **{name: (f"UA {with_interval(measured[name], 'ua')}", "") for name in measured if "deviation" in name},
        },
        sections=[
            Section(
                "A linear probe",
                [f"UA of a logistic regression on mean frames; {over_speakers(alone[0].get('interval', {}))}."],
                [_table(alone, together, suggested.differences)],
                [Picture("layers", "UA of each layer alone, and of the lowest layers together", draw)],
                brief=True,
            ),
            protocol_section(report.protocol),
            Section("Versions", texts=[words(report.versions)]),
        ],
    )


def _table(alone: Sequence[Measures], together: Sequence[Measures], differences: Sequence[Change]) -> Table:
    rows = [
        [str(place), with_interval(one, "ua"), with_interval(lowest, "ua"), *_cells(difference)]
        for place, (one, lowest, difference) in enumerate(zip(alone, together, differences, strict=True), start=1)
    ]
    return Table(["layer", "alone", "with all below", "best less this, points", "95 % interval"], rows)


def _cells(difference: Change) -> list[str]:
    bounds = difference.get("interval")
    between = f"{signed_points(bounds[0])} to {signed_points(bounds[1])}" if bounds else NOTHING
    return [signed_points(difference["difference"]), between]


def _reason(suggested: SuggestedLayers) -> str:
    if suggested.encoder_layers == suggested.best:
        return "no fewer of the lowest layers are as good together"
    return f"the fewest within one standard error of the best, the lowest {suggested.best}"
