"""Token ids to logits, and nothing else."""
