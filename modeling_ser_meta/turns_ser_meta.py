"""When somebody begins and ends to speak, told from what has been heard so far."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .windows_ser_meta import (
    FRAME_SECONDS,
    NEAR_FRAMES,
    PAST_FRAMES,
    Sounding,
    SpeechCutter,
    Stretches,
    limits,
    smoothed,
)

# Ours; chosen on strings of RAVDESS recordings
FRAMES_AFTER, FRAMES_BEFORE = 5, 3  # of a pause, that belong to the turn before and after it; 0.4 s end a turn
LONGEST_TURN = 30.0  # seconds, after which a new one begins, so that an answer comes and memory is bounded
FLOOR_DECIBELS = -50.0  # of full scale: what is taken for the pause before the first two seconds


def turn_cutter(sampling_rate: int, window: int, hop: int, gate_decibels: float) -> SpeechCutter:
    """What cuts a stream into turns, its stretches between pauses, and long turns into windows.

    Args:
        sampling_rate: in Hz.
        window: samples of a window.
        hop: samples from the start of one window to the next.
        gate_decibels: what is quieter is silence, in decibels of full scale, its mean taken off.
    """
    stretches = Stretches(FRAMES_AFTER, FRAMES_BEFORE, round(LONGEST_TURN / FRAME_SECONDS))
    return SpeechCutter(LiveSounding(round(FRAME_SECONDS * sampling_rate), gate_decibels), stretches, window, hop)


class LiveSounding(Sounding):
    """Tells which frames of a stream are sound, each 0.1 s later: it cannot wait for what comes.

    A pause lies in the lowest third from the quietest to the loudest of the two seconds before. Where these are all
    alike, the half minute before decides; what is steady then too, such as noise, a fan or a tone, is no speech.
    """

    ahead = 0

    def sounds(self, levels: np.ndarray) -> np.ndarray:
        """See `Sounding.sounds`."""
        smooth = smoothed(levels)
        past = sliding_window_view(smooth, PAST_FRAMES + 1)
        # a stream may begin in the middle of a word
        unheard = max(0, PAST_FRAMES - self.held[0].start // self.frames.frame)
        nearby = np.concatenate([np.minimum(smooth[:unheard], FLOOR_DECIBELS), smooth[unheard:]])
        near = sliding_window_view(nearby[PAST_FRAMES - NEAR_FRAMES :], NEAR_FRAMES + 1)
        return smooth[PAST_FRAMES:] > limits(near, limits(past, np.inf))
