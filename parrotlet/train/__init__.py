"""The one loop, the one driver, losses and checkpoints."""
