"""Weights in, models out: other programs' formats, each proved on what it wrote."""
