"""What happened, as counters."""
