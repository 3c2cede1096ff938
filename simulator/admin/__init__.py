"""The admin API under `/_eas`, with which tests, scripts and people inspect and change a running simulator."""
