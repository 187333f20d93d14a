"""`read_picture`: an image of any kind as bytes of red, green and blue at one size, by Pillow."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError, need

if TYPE_CHECKING:
    from PIL.Image import Image

Bytes: TypeAlias = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")  # no format that runs another program
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
MOST_PIXELS = 1 << 26  # of an image, looked at before it is decoded
MOST_BYTES = 1 << 28  # of a file


def is_image(X: Any) -> bool:
    """Whether X is the name of a file that may be an image."""
    return isinstance(X, (str, os.PathLike)) and Path(X).suffix.lower() in SUFFIXES


def read_picture(source: Any, size: int, background: str = "white", name: str = "") -> Bytes:
    """The whole of an image in a square: uint8 [size, size, 3].

    It is turned as its EXIF says, its first frame is taken, what is transparent shows the background, and so does what
    is left of the square beside it; grey, palettes, CMYK and 16 bits become red, green and blue.

    Args:
        source: a path, the bytes of a file, an image of Pillow's, or an array: uint8, or floats from 0 to 1, [h, w],
            [h, w, 1], [h, w, 3] or [h, w, 4].
        size: pixels.
        background: a colour as Pillow knows it.
        name: what to call it in messages; the path where it is one.

    Raises:
        DataError: it is no image, is damaged, or has more than 67 million pixels; the message names it.
        OSError: the file cannot be opened.

    >>> grey = np.full((4, 2), 7, np.uint8)
    >>> read_picture(grey, 4, "black")[0].tolist()
    [[0, 0, 0], [7, 7, 7], [7, 7, 7], [0, 0, 0]]
    """
    need("pictures", "PIL", extra="images")
    from PIL import Image

    name = name or (str(source) if isinstance(source, (str, os.PathLike)) else "the image")
    image = _decoded(source, size, background, name)
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    whole = Image.new("RGB", (size, size), background)
    fitted = image.resize((width, height), Image.Resampling.LANCZOS)
    whole.paste(fitted, ((size - width) // 2, (size - height) // 2))
    return np.array(whole)


def _decoded(source: Any, size: int, background: str, name: str) -> Image:
    """An image in red, green and blue."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    broken = (UnidentifiedImageError, SyntaxError, ValueError, struct.error, zlib.error, EOFError, IndexError, KeyError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, on metadata; what matters is raised
            image = _opened(source, name)
            if not 0 < image.width * image.height <= MOST_PIXELS:
                raise DataError(
                    f"{name}: the image has {image.width} x {image.height} pixels, expected 1 to {MOST_PIXELS}: make "
                    "it smaller"
                )
            image.draft("RGB", (size, size))  # of JPEG: decoded at a fraction of its size
            return _coloured(ImageOps.exif_transpose(image), background)
    except DataError:
        raise
    except (*broken, TypeError, OverflowError, MemoryError, Image.DecompressionBombError) as error:
        raise _unreadable(name, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: Exception) -> DataError:
    from PIL import UnidentifiedImageError

    known = not isinstance(error, UnidentifiedImageError)  # which names an object of Python's
    said = (" ".join(f"{error}".split())[:120] or type(error).__name__) if known else "its format is not known"
    return DataError(f"{name}: this cannot be read as an image ({said}), expected one of {', '.join(FORMATS)}, whole")


def _opened(source: Any, name: str) -> Image:
    """An image whose pixels are not decoded yet."""
    from PIL import Image

    if isinstance(source, Image.Image):
        return source
    if isinstance(source, (str, os.PathLike)):
        if os.path.getsize(source) > MOST_BYTES:
            raise DataError(f"{name}: the file has more than {MOST_BYTES} bytes, expected an image: make it smaller")
        return Image.open(io.BytesIO(Path(source).read_bytes()), formats=FORMATS)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Image.open(io.BytesIO(source), formats=FORMATS)
    return Image.fromarray(_array(source, name))


def _array(source: Any, name: str) -> Bytes:
    """An array as bytes that Pillow takes."""
    x = np.asarray(source)
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[..., 0]
    fits = x.ndim == 2 or (x.ndim == 3 and x.shape[2] in (3, 4))
    if not fits or not x.size or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
        raise DataError(
            f"{name}: got an array {x.dtype} {x.shape}, expected uint8, or floats from 0 to 1, as [h, w], [h, w, 3] or "
            "[h, w, 4]"
        )
    if x.dtype.kind == "f":
        if not (np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1):
            raise DataError(f"{name}: an array of floats has numbers outside 0 to 1, expected shares: divide by 255")
        x = np.rint(255 * x).astype(np.uint8)
    return np.ascontiguousarray(x)


def _coloured(image: Image, background: str) -> Image:
    """In red, green and blue, on a background."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # more bits than a byte: their own range becomes a byte's
        wide = np.asarray(image, np.float64)
        most = 65535.0 if image.mode.startswith("I") else max(1.0, float(np.nanmax(wide)))
        return Image.fromarray(np.uint8(np.clip(np.nan_to_num(wide) / most, 0, 1) * 255 + 0.5)).convert("RGB")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        below = Image.new("RGBA", above.size, background)
        return Image.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")
