"""What providers tell over HTTP: what became of messages, and what people wrote back."""
