"""What every layer may use: errors, the runtime, metrics, and the one way to write a file."""
