"""The same samples in every format in which people have recordings, made on the spot by libsndfile and FFmpeg."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

NEVER_FILLED_IN = (
    (0, 0),
    (36, 0),
    (0xFFFFFFFF, 0),
)  # sizes of a WAV, and of its sound


class Format(NamedTuple):
    """One format.

    Args:
        ending: of the file.
        rate: in Hz, at which it is written.
        needs_av: whether it takes PyAV to read it.
        write: the file of `(samples,)` at that rate.
    """

    ending: str
    rate: int
    needs_av: bool
    write: Callable[[Path, np.ndarray, int], None]


def write_format(name: str, folder: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Writes `(samples,)` in the format of that name, resampled to its rate; the file."""
    form = FORMATS[name]
    path = folder / f"{name}{form.ending}"
    if form.rate != rate:
        samples = soxr.resample(samples, rate, form.rate)
    form.write(path, samples.astype(np.float32), form.rate)
    return path


def by_libsndfile(subtype: str, kind: str | None = None) -> Callable[[Path, np.ndarray, int], None]:
    """Writes what libsndfile can write."""
    return lambda path, samples, rate: soundfile.write(path, samples, rate, subtype=subtype, format=kind)


def by_ffmpeg(
    codec: str, kind: str, bit_rate: int | None = None, layout: str = "mono", **options: str
) -> Callable[[Path, np.ndarray, int], None]:
    """Writes what FFmpeg can write."""

    def write(path: Path, samples: np.ndarray, rate: int) -> None:
        import av

        with av.open(str(path), "w", format=kind, options=options) as container:
            stream = container.add_stream(codec, rate=rate)
            stream.codec_context.layout = layout
            if bit_rate:
                stream.codec_context.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            sample_format = stream.codec_context.codec.audio_formats[0].name
            resampler, queue = av.AudioResampler(format=sample_format, layout=layout, rate=rate), av.AudioFifo()
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                part.pts = None
                queue.write(part)
            stream.codec_context.open()
            size, done = stream.codec_context.frame_size or 1024, 0
            while (part := queue.read(size) or queue.read(0, partial=True)) is not None:
                part.pts, part.time_base = done, Fraction(1, rate)
                done += part.samples
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))

    return write


def never_filled_in(path: Path, samples: np.ndarray, rate: int, sizes: tuple[int, int] = (0, 0)) -> None:
    """A WAV whose writer was ended before it could fill in the sizes."""
    soundfile.write(path, samples, rate, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    for place, size in zip((4, 40), sizes, strict=True):
        content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)


def flac_of_open_length(path: Path, samples: np.ndarray, rate: int) -> None:
    """FLAC as `ffmpeg -f flac -` writes it into a pipe: the header leaves the number of samples open."""
    soundfile.write(path, samples, rate, format="FLAC")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the total is the lower 36 bits of bytes 21 to 25
    content[22:26] = bytes(4)
    path.write_bytes(content)


def joined(write: Callable[[Path, np.ndarray, int], None]) -> Callable[[Path, np.ndarray, int], None]:
    """Writes two files, each of half the samples, and joins them as `cat` does."""

    def write_both(path: Path, samples: np.ndarray, rate: int) -> None:
        content = b""
        for half in np.array_split(samples, 2):
            write(path, half, rate)
            content += path.read_bytes()
        path.write_bytes(content)

    return write_both


FORMATS = {
    "wav-16-bit": Format(".wav", 16_000, False, by_libsndfile("PCM_16")),
    "wav-24-bit-48-kHz": Format(".wav", 48_000, False, by_libsndfile("PCM_24")),
    "wav-float": Format(".wav", 44_100, False, by_libsndfile("FLOAT")),
    "wav-a-law": Format(".wav", 8_000, False, by_libsndfile("ALAW")),
    "wav-mu-law": Format(".wav", 8_000, False, by_libsndfile("ULAW")),
    "wav-gsm": Format(".wav", 8_000, False, by_libsndfile("GSM610")),
    "wav-ima-adpcm": Format(".wav", 16_000, False, by_libsndfile("IMA_ADPCM")),
    "wav-ms-adpcm": Format(".wav", 16_000, False, by_libsndfile("MS_ADPCM")),
    "wav-g722": Format(".wav", 16_000, True, by_ffmpeg("g722", "wav")),
    "wav-mp3": Format(".wav", 16_000, False, by_ffmpeg("libmp3lame", "wav")),
    "wav-never-filled-in": Format(".wav", 16_000, True, never_filled_in),
    "w64": Format(".w64", 16_000, False, by_libsndfile("PCM_16", "W64")),
    "aiff": Format(".aiff", 44_100, False, by_libsndfile("PCM_16")),
    "au": Format(".au", 8_000, False, by_libsndfile("ULAW")),
    "caf": Format(".caf", 16_000, False, by_libsndfile("PCM_16")),
    "flac": Format(".flac", 16_000, False, by_libsndfile("PCM_16")),
    "flac-of-a-pipe": Format(".flac", 16_000, False, flac_of_open_length),
    "ogg-vorbis": Format(".ogg", 16_000, False, by_libsndfile("VORBIS")),
    "ogg-opus": Format(".opus", 48_000, False, by_libsndfile("OPUS", "OGG")),
    "ogg-flac": Format(".oga", 16_000, True, by_ffmpeg("flac", "ogg")),
    "mp3": Format(".mp3", 16_000, False, by_libsndfile("MPEG_LAYER_III")),
    "mp3-without-tag": Format(".mp3", 16_000, False, by_ffmpeg("libmp3lame", "mp3", write_xing="0")),
    "mp3-joined": Format(".mp3", 44_100, True, joined(by_libsndfile("MPEG_LAYER_III"))),
    "ogg-vorbis-joined": Format(".ogg", 16_000, True, joined(by_libsndfile("VORBIS"))),
    "ogg-opus-joined": Format(".opus", 48_000, True, joined(by_libsndfile("OPUS", "OGG"))),
    "m4a-aac": Format(".m4a", 44_100, True, by_ffmpeg("aac", "ipod")),
    "m4a-alac": Format(".m4a", 44_100, True, by_ffmpeg("alac", "ipod")),
    "aac": Format(".aac", 16_000, True, by_ffmpeg("aac", "adts")),
    "mp4": Format(".mp4", 48_000, True, by_ffmpeg("aac", "mp4")),
    "mov": Format(".mov", 48_000, True, by_ffmpeg("aac", "mov")),
    "mkv": Format(".mkv", 48_000, True, by_ffmpeg("aac", "matroska")),
    "webm-opus": Format(".webm", 48_000, True, by_ffmpeg("libopus", "webm", live="1")),
    "amr": Format(".amr", 8_000, True, by_ffmpeg("libopencore_amrnb", "amr", bit_rate=12_200)),
    "3gp-amr": Format(".3gp", 8_000, True, by_ffmpeg("libopencore_amrnb", "3gp", bit_rate=12_200)),
    "wma": Format(".wma", 44_100, True, by_ffmpeg("wmav2", "asf", bit_rate=64_000, layout="stereo")),
    "avi-mp3": Format(".avi", 16_000, True, by_ffmpeg("libmp3lame", "avi")),
    "ac3": Format(".ac3", 48_000, True, by_ffmpeg("ac3", "ac3")),
    "wavpack": Format(".wv", 16_000, True, by_ffmpeg("wavpack", "wv")),
    "tta": Format(".tta", 16_000, True, by_ffmpeg("tta", "tta")),
}
