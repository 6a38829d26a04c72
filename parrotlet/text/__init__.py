"""Text to token ids and back: tokenizers, the chat template, streamed decoding."""
