"""Text in, streamed text out: stop strings, filters, tools, conversations."""
