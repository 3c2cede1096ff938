"""eas_tw."""
