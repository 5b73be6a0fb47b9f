"""Recordings in WebDataset shards: tar files, of which each recording is read where it lies."""

import tarfile
from functools import cache
from typing import Any

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import SOUND_FILES, readable_endings

ENDING = ".tar"


def shard_names(shard: str) -> list[str]:
    """Names of a shard's sound files in their order, as `shard.tar/key.flac`.

    Raises:
        UserError: it is no tar file, is compressed, or holds no sound files.
    """
    found = [f"{shard}/{member}" for member in _places(shard)]
    if not found:
        raise UserError(f"{shard} holds no sound files: {', '.join(SOUND_FILES)} are read")
    return found


def in_shard(name: str) -> bool:
    """Whether a name is that of a recording in a shard."""
    return f"{ENDING}/" in name


def read_member(name: str) -> dict[str, Any]:
    """A recording in a shard, as `read_audio` takes it."""
    shard, _, member = name.partition(f"{ENDING}/")
    shard += ENDING
    offset, size = _places(shard)[member]
    with open(shard, "rb") as file:
        file.seek(offset)
        return {"path": name, "bytes": file.read(size)}


@cache
def _places(shard: str) -> dict[str, tuple[int, int]]:
    """Where each sound file of a shard begins, and its size, in bytes."""
    try:
        with tarfile.open(shard, "r:") as archive:
            return {
                member.name: (member.offset_data, member.size)
                for member in archive
                if member.isfile() and member.name.lower().endswith(readable_endings())
            }
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{shard} cannot be read as a tar file without compression: {error}") from error
