"""The embedded corpus: a seeded generator of a small world in simple English."""
