"""Sound as people stream it: files of any rate to 16,000 samples a second, and filter banks of these, whole or live.

soundfile reads files and kaldi-native-fbank makes features; both are imported when they are used (the extra `audio`).
Whole files, chunks of any size and one sample at a time give the same bits.
"""

from recurra.data.audio.augment import Augment
from recurra.data.audio.filterbank import FilterBank
from recurra.data.audio.gate import Gate
from recurra.data.audio.recordings import Recording, is_audio, read_recordings, unfinished
from recurra.data.audio.resample import Resampler
from recurra.data.audio.sound import read_sound, stream_sound
from recurra.data.audio.transform import Heard, Hearing

__all__ = [
    "Augment",
    "FilterBank",
    "Gate",
    "Heard",
    "Hearing",
    "Recording",
    "Resampler",
    "is_audio",
    "read_recordings",
    "read_sound",
    "stream_sound",
    "unfinished",
]
