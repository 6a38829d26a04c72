"""Tokenizer, pretraining, fine-tuning: each a stream of batches and an objective."""
