"""The software's version, as installed."""

from importlib.metadata import version

VERSION = version("impasto")
