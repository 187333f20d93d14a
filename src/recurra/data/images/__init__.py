"""Pictures with captions: read by Pillow (the extra `images`), within bounds, as rows for a network."""

from recurra.data.images.captioned import Captioned, read_captioned
from recurra.data.images.picture import is_image, read_picture
from recurra.data.images.transform import Pictured, Pictures

__all__ = ["Captioned", "Pictured", "Pictures", "is_image", "read_captioned", "read_picture"]
