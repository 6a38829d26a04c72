"""Gradable examples; one class serves fine-tuning, evaluation and reinforcement learning."""
