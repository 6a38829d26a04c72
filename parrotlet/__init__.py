"""parrotlet: from raw text to your own chat model."""

__version__ = "0.1.0"
