"""Keeps pytest from collecting the project in this folder; `test_plugin` and a tox environment run it."""

collect_ignore = ["project"]
