"""`FilterBank`: log-mel energies or cepstra of frames, by kaldi-native-fbank; whole or as samples come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.audio.resample import check_rate
from recurra.data.audio.sound import RATE, checked_samples
from recurra.errors import DataError, need

F32: TypeAlias = NDArray[np.float32]
KINDS = ("log-mel", "mfcc")
WINDOW, SHIFT = 25, 10  # milliseconds of a frame, and from frame to frame
FULL = np.float32(32768)  # full scale, as Kaldi's banks have it


@dataclass(frozen=True)
class FilterBank:
    """What a frame of 25 ms comes to, every 10 ms: F numbers.

    Frame t is of the samples from 10 t to 10 t + 25 ms, and of no others; N samples have as many frames as lie wholly
    in them. There is no dither, so the same samples have the same bits.

    Args:
        kind: "log-mel" energies, or "mfcc" (cepstra).
        bins: F.
        rate: samples a second.
        low, high: of the lowest and highest mel filter, Hz; high 0: half the rate.

    Raises:
        DataError: a setting is out of range.
        MissingExtraError: kaldi-native-fbank is not installed; when it is used.

    >>> FilterBank(bins=40).frames(np.zeros(16_000, np.float32)).shape
    (98, 40)
    """

    kind: str = "log-mel"
    bins: int = 40
    rate: int = RATE
    low: float = 20.0
    high: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if self.kind not in KINDS:
            raise DataError(f"a filter bank: kind={str(self.kind)[:40]!r}, expected one of {', '.join(KINDS)}")
        if isinstance(self.bins, bool) or not isinstance(self.bins, int) or not 4 <= self.bins <= 128:
            raise DataError(f"a filter bank: bins={self.bins!r}, expected a whole number from 4 to 128")
        top = self.high or self.rate / 2
        if not 0 <= self.low < top <= self.rate / 2:
            raise DataError(
                f"a filter bank: from {self.low} to {self.high} Hz, expected a range between 0 and {self.rate / 2:g}"
            )

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return self.rate * WINDOW // 1000

    @property
    def shift(self) -> int:
        """Samples from frame to frame."""
        return self.rate * SHIFT // 1000

    def count(self, samples: int) -> int:
        """The frames of so many samples."""
        return 0 if samples < self.window else 1 + (samples - self.window) // self.shift

    def frames(self, samples: F32) -> F32:
        """[T, F] of samples [N]."""
        return LiveBank(self).push(samples)

    def live(self) -> LiveBank:
        """The same frames, as samples come."""
        return LiveBank(self)

    def extractor(self) -> Any:
        """What of kaldi-native-fbank does the work."""
        need("features of sound", "kaldi_native_fbank", extra="audio")
        import kaldi_native_fbank as knf

        options: Any = knf.FbankOptions() if self.kind == "log-mel" else knf.MfccOptions()
        options.frame_opts.dither = 0.0
        options.frame_opts.samp_freq = float(self.rate)
        options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = float(WINDOW), float(SHIFT)
        options.mel_opts.low_freq, options.mel_opts.high_freq = self.low, self.high
        if self.kind == "log-mel":
            options.mel_opts.num_bins = self.bins
            return knf.OnlineFbank(options)
        options.mel_opts.num_bins, options.num_ceps, options.use_energy = max(23, self.bins), self.bins, False
        return knf.OnlineMfcc(options)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        return cls(**{name: described[name] for name in ("kind", "bins", "rate", "low", "high")})


class LiveBank:
    """Frames as samples come; it remembers less than one window.

    Args:
        bank: its settings.
    """

    def __init__(self, bank: FilterBank) -> None:
        self.bank = bank
        self._tail = np.zeros(0, np.float32)  # from the next frame's first sample on
        self._begin()

    def _begin(self) -> None:
        self._extractor, self._given, self._done = self.bank.extractor(), 0, 0

    def push(self, samples: Any) -> F32:
        """The frames [n, F] that are whole once these samples are there; n may be 0.

        Raises:
            DataError: they are no samples; nothing has changed.
        """
        bank, new = self.bank, checked_samples(samples)
        self._tail = np.concatenate([self._tail, new])
        n = bank.count(len(self._tail))
        out = np.empty((n, bank.bins), np.float32)
        if not n:
            return out
        end = bank.window + (n - 1) * bank.shift
        self._extractor.accept_waveform(bank.rate, (self._tail[self._given : end] * FULL).tolist())
        for i in range(n):
            out[i] = self._extractor.get_frame(self._done + i)
        self._extractor.pop(n)
        self._done += n
        self._tail = self._tail[n * bank.shift :].copy()
        self._given = end - n * bank.shift
        return out

    def state(self) -> dict[str, NDArray[Any]]:
        """The samples of the frame that is not whole yet."""
        return {"tail": self._tail.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self._tail = checked_samples(np.array(state["tail"], np.float32))
        self._begin()
