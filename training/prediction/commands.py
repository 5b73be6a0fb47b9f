"""The commands that answer while they run."""

from typing import Annotated

import typer

from ..options import Backend, Model


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
    tasks: Annotated[list[str] | None, typer.Option("--task", help="Report this task; may be given again.")] = None,
    buffer: Annotated[float, typer.Option(help="Seconds of sound that may wait to be heard.")] = 10.0,
    port: Annotated[int | None, typer.Option(help="Open a WebSocket here instead of standard input.")] = None,
    host: Annotated[str, typer.Option(help="The WebSocket's address; 0.0.0.0 for all.")] = "127.0.0.1",
    origin: Annotated[
        list[str] | None, typer.Option(help="A web page that may connect, as https://example.org; may be given again.")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, help="Of the WebSocket at the same time.")] = 4,
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
        from .live_socket import require_websockets

        require_websockets()
    found = find_model(model)
    from .live import Listening, listen_to_input
    from .live_sound import SoundFormat
    from .recognition import load_pipeline, tell_centring

    options = {"window_seconds": window, "hop_seconds": hop, "gate_decibels": gate, "threshold": threshold}
    recognise = load_pipeline(found.folder, {**options, "tasks": tasks}, 1, None)
    tell_centring(found, recognise)
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
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 7860,
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
    from .recognition import load_pipeline

    check_gradio()
    serve(load_pipeline(found.folder, {}, 8, None, backend=backend), found.title, host, port, minutes, megabytes)
