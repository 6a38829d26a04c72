"""What a model may call while it answers: a JSON schema and a function each."""
