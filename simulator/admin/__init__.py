"""The admin API under `/_eas`: how a test, a script or a person looks at the simulator and makes it fail."""
