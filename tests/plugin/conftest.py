"""Excludes the project in this folder from collection. `test_plugin` and a tox environment run its tests."""

collect_ignore = ["project"]
