"""Audio files, resampling, framing and the short-time Fourier transform.

What `septet.audio` and `septet.speech` share. Arrays are NumPy on the way from and to files and
torch in the transform; samples are floats, 1.0 being full scale, and times are in seconds.

Examples
--------
>>> import numpy as np
>>> from septet.signal import frames, n_frames
>>> frames(np.arange(6.0), length=4, hop=2)
array([[0., 1., 2., 3.],
       [2., 3., 4., 5.]])
>>> n_frames(22050, hop=512)
44
"""

from septet._core.extras import needs

needs("torch", extra="torch", purpose="septet.signal")

from septet.signal._files import (  # noqa: E402 - torch is checked for first
    AUDIO_SUFFIXES,
    AudioInfo,
    Recording,
    audio_info,
    read_audio,
    write_audio,
)
from septet.signal._frames import frames, n_frames, overlap_add  # noqa: E402
from septet.signal._resample import resample  # noqa: E402
from septet.signal._stft import STFT  # noqa: E402

__all__ = [
    "AUDIO_SUFFIXES",
    "STFT",
    "AudioInfo",
    "Recording",
    "audio_info",
    "frames",
    "n_frames",
    "overlap_add",
    "read_audio",
    "resample",
    "write_audio",
]
