"""Many requests at once, token ids in and token ids out. No text here."""
