"""What a model can do, in numbers with intervals."""
