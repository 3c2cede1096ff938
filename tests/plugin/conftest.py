"""The project beside this file is somebody else's: it is run as one, by `test_plugin` and by the tox environment."""

collect_ignore = ["project"]
