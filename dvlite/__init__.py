"""dvlite versions data and models next to code."""

__version__ = "0.1.0"
