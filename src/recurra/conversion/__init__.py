"""Models from elsewhere: read, mapped to layers of the runtime, and held against their source."""

from recurra.conversion.checked import Conversion, convert

__all__ = ["Conversion", "convert"]
