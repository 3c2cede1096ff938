"""The command line: `eas-tw predict`, `eas-tw discover`, `eas-tw perf`.

| exit code | |
|---|---|
| 0 | answered, or whoever read standard output has closed it |
| 2 | usage, or a setting that is missing or wrong |
| 65 | a body that cannot be made or read |
| 66 | a file that cannot be read |
| 69 | no instances, or none that could be reached |
| 74 | standard output cannot be written to, such as to a full disk |
| 75 | the deadline passed |
| 76 | answered with a status other than 200 |
| 77 | answered with 401 or 403: the token |
| 130 | interrupted |
"""

from eas_tw.cli.main import main

__all__ = ["main"]
