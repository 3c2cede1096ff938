"""What happened: told once, counted, and heard by whoever listens."""
