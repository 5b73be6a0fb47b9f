"""The commands that ask a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from ...configuration.errors import UserError
from ..options import AsJson, Backend, Embeddings, Labels, LeastFamiliar, Model, Priors


def predict(
    model: Model,
    audio: Annotated[
        list[str] | None,
        typer.Argument(
            help="Sound files, folders, .tar shards, patterns, or - for standard input; behind --table its settings.",
            metavar="[AUDIO]... | [KEY=VALUE]...",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="A table whose rows are recordings, or segments of them by start and end.")
    ] = None,
    window: Annotated[float | None, typer.Option(help="Seconds of a window (default: 4, from 15 s on).")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds between windows (default: half a window).")] = None,
    gate: Annotated[
        float | None, typer.Option(help="What is quieter is silence, in dB of full scale (default: -70).")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Mark results of a lower score as uncertain.")] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", help="Report this task; may be given again.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Recordings or windows at a time.")] = 8,
    precision: Annotated[str, typer.Option(help="fp32, or bf16: faster where the device has it.")] = "fp32",
    backend: Backend = "torch",
    channels: Annotated[
        str, typer.Option("--channels", "--channel", help="mix, separate, left, right, or a number from 0.")
    ] = "mix",
    turns: Annotated[
        str | None, typer.Option(help="Who speaks when: an RTTM file, a table, or found, from pause to pause.")
    ] = None,
    diarization: Annotated[
        str | None, typer.Option(help="Ask this pipeline of pyannote.audio who speaks when: a name, or a folder.")
    ] = None,
    raw_rate: Annotated[
        int | None, typer.Option(help="Standard input is 16-bit PCM, one channel, of this rate.")
    ] = None,
    as_json: AsJson = False,
    csv: Annotated[Path | None, typer.Option(help="Write a table, one row a recording.")] = None,
    segments: Annotated[Path | None, typer.Option(help="Write a table, one row a segment.")] = None,
    embeddings: Embeddings = None,
    labels: Labels = None,
    priors: Priors = None,
    least_familiar: LeastFamiliar = None,
    speakers: Annotated[
        Path | None, typer.Option(help="With turns: write a table, rows of each speaker's shares over time.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Folder for Parquet parts; a second call goes on there.")
    ] = None,
    srt: Annotated[Path | None, typer.Option(help="Write segments as subtitles: a folder, or a .srt file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw waveform and emotions over time: a folder, or a .png file.")
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Write segments as {}.TextGrid or {}.eaf ({}: the recording), .rttm, or FOLDER/db.yaml."),
    ] = None,
) -> None:
    """Recognise the emotion of recordings, with the metadata the model knows of.

    Example: ser-meta predict runs/ravdess/model recording.wav --json

    With --segments, --srt, --plot or --window a short recording is cut too: its result is then of all its segments.

    A table is read as the corpus of that name is, with its settings. Results keep the rows' utterance ids, and their
    segments have the times of the whole recording.

    Example: ser-meta predict runs/ravdess/model --table calls.tsv "columns={audio: path, start: begin, end: stop}"
    time_unit=ms audio_root=/data/calls --csv emotions.csv

    Recordings that cannot be used are listed at the end; the exit code is then 1, or 2 if none could be used.

    A table may be a data set by its name on the Hub, Parquet with the recordings' bytes, or annotations: TextGrid,
    ELAN, a folder of such, RTTM, a database of audformat. --annotations writes these formats.

    Example: ser-meta predict runs/ravdess/model --table talk.TextGrid --annotations heard.TextGrid

    Conversations: ser-meta predict MODEL call.wav --turns call.rttm --segments turns.csv --speakers speakers.csv. A
    model that is centred by speaker is centred by each speaker's turns of the same recording.

    Very many: accelerate launch -m ser_meta.training predict MODEL "shards-*.tar" --parquet OUTPUT. Parts are written
    as they are done, in the order of the recordings; the same command completes them after whatever stopped it.
    """
    from ...hub_cards.hub.names import find_model
    from .choices import chosen
    from .inputs import find_inputs

    inputs = find_inputs(audio or [], table, raw_rate)
    found = find_model(model)
    from .outputs import Outputs
    from .recognition import predict as predict_recordings

    options = {
        "window_seconds": window,
        "hop_seconds": hop,
        "gate_decibels": gate,
        "threshold": threshold,
        "tasks": tasks,
        **chosen(labels, priors, least_familiar),
    }
    outputs = Outputs(as_json, csv, segments, parquet, srt, plot, speakers, annotations, embeddings)
    if (turns or diarization) and embeddings:
        raise UserError(f"--embeddings {embeddings} are of recordings, not of turns: leave --turns out")
    if turns or diarization:
        from .conversations import Conversations, predict_conversations

        asked = Conversations(turns, diarization, channels)
        raise typer.Exit(predict_conversations(found, inputs, options, outputs, batch_size, precision, asked, backend))
    if speakers:
        raise UserError(f"--speakers {speakers} needs --turns: who speaks when")
    raise typer.Exit(predict_recordings(found, inputs, options, outputs, batch_size, precision, channels, backend))


def listen(
    model: Model,
    raw_rate: Annotated[
        int | None, typer.Option(help="Standard input is raw samples of this rate (default: a WAV file).")
    ] = None,
    raw_channels: Annotated[int, typer.Option(help="Channels of raw samples, which take turns.")] = 1,
    encoding: Annotated[
        str, typer.Option(help="Of raw samples: pcm_16, pcm_u8, pcm_24, pcm_32, float, double, alaw or ulaw.")
    ] = "pcm_16",
    channels: Annotated[
        str, typer.Option("--channels", "--channel", help="separate, mix, left, right, or a number from 0.")
    ] = "separate",
    provisional: Annotated[
        float | None, typer.Option(help="Tell a turn that goes on every so many seconds too.")
    ] = None,
    window: Annotated[float | None, typer.Option(help="Seconds of a window of a long turn (default: 4).")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds between windows (default: half a window).")] = None,
    gate: Annotated[
        float | None, typer.Option(help="What is quieter is silence, in dB of full scale (default: -70).")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Mark turns of a lower score as uncertain.")] = None,
    least_familiar: LeastFamiliar = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", help="Report this task; may be given again.")] = None,
    buffer: Annotated[float, typer.Option(help="Seconds of sound that may wait to be heard.")] = 10.0,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Open a WebSocket here instead of standard input; 0 finds a free port."),
    ] = None,
    host: Annotated[str, typer.Option(help="The WebSocket's address; 0.0.0.0 for all.")] = "127.0.0.1",
    origin: Annotated[
        list[str] | None, typer.Option(help="A web page that may connect, as https://example.org; may be given again.")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, help="Of the WebSocket at the same time.")] = 4,
    backend: Backend = "torch",
) -> None:
    """Hear sound while it is made, and print a line of JSON when a turn ends.

    Example: arecord -q -f S16_LE -r 16000 -t raw | ser-meta listen runs/ravdess/model --raw-rate 16000

    A turn ends with a pause of 0.4 s, or after 30 s. Ctrl-C tells the last one. Each channel has its own turns.

    Example: ffmpeg -loglevel error -i call.mp3 -f wav - | ser-meta listen runs/ravdess/model --provisional 2

    A WebSocket for programs on this machine: ser-meta listen runs/ravdess/model --port 8765. A client first sends
    {"sampling_rate": 8000, "encoding": "alaw"}, then samples as binary messages, and {"end": true} at the end.

    When sound comes in faster than it can be heard, the sender has to wait, and a line {"behind": seconds} says so:
    nothing is dropped.
    """
    from ...hub_cards.hub.names import find_model

    if port is not None:
        if raw_rate is not None:
            raise UserError(f"--raw-rate {raw_rate} is of standard input: with --port each client says its own rate")
        from .live_socket import require_websockets

        require_websockets()
    found = find_model(model)
    from .live import Listening, listen_to_input
    from .live_sound import SoundFormat
    from .recognition import load_pipeline, tell_centring

    options = {
        "window_seconds": window,
        "hop_seconds": hop,
        "gate_decibels": gate,
        "threshold": threshold,
        "tasks": tasks,
        "least_familiar": least_familiar,
    }
    recognise = load_pipeline(found.folder, options, 1, None, backend=backend)
    tell_centring(found, recognise.model.config)
    listening = Listening(recognise, channels, provisional, buffer)
    if port is None:
        raw = None if raw_rate is None else SoundFormat(raw_rate, raw_channels, encoding.lower()).checked()
        listen_to_input(listening, raw)
    else:
        from .live_socket import Socket

        Socket(listening, host, port, origin or (), connections).run()


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 7860,
    minutes: Annotated[float, typer.Option(help="That a visitor's recording may last.")] = 10,
    megabytes: Annotated[float, typer.Option(help="That it may take.")] = 50,
    backend: Backend = "torch",
) -> None:
    """Open a page on which a model is tried: record or upload, and see emotion, timeline and transcript.

    Example: ser-meta serve runs/ravdess/model
    """
    from ...hub_cards.hub.names import find_model

    found = find_model(model)
    from ...hub_cards.hub.space import check_gradio, serve
    from .recognition import load_pipeline, tell_centring

    check_gradio()
    recognise = load_pipeline(found.folder, {}, 8, None, backend=backend)
    tell_centring(found, recognise.model.config)
    serve(recognise, found.title, host, port, minutes, megabytes)
