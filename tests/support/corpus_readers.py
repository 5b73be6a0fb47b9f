"""What the check of a corpus makes of a damaged recording."""

import numpy as np

from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError
from ser_meta.training.checking.recordings import measure


def measure_recording(content: bytes) -> float:
    """Seconds of a recording, whose facts are numbers; `AudioError` where the check finds that it cannot be read."""
    facts = measure({"audio": {"bytes": content, "path": None}})
    if facts["error"]:
        raise AudioError(f"it cannot be read: {facts['error']}")
    if facts["samples"] and facts["finite"]:
        assert np.isfinite([facts["peak"], facts["clipped"], facts["head"], facts["tail"]]).all(), facts
        assert np.isfinite(facts["spectrum"]).all(), facts
    return facts["samples"] / facts["rate"]
