"""Pictures from outside: decoded in a sandbox, kept as clean copies."""

from shared.pictures.copies import keep
from shared.pictures.data_uri import parse_data_uri
from shared.pictures.sandbox import CleanPicture, PictureLimits, clean

__all__ = ["CleanPicture", "PictureLimits", "clean", "keep", "parse_data_uri"]
