"""The command line tool `eas-tw`: commands `predict`, `score`, `discover`, `perf`, `queue` and `completion`.

| exit code | |
|---|---|
| 0 | success, or the reader of standard output has closed it |
| 1 | a limit of `perf --fail-if` is violated, or `perf compare` finds the second result worse |
| 2 | a usage error, or a setting that is missing or wrong |
| 65 | the request's body is not valid, the response's body cannot be parsed, or too many rows failed |
| 66 | a file cannot be read |
| 69 | there are no instances, or no instance could be reached |
| 74 | standard output or a file cannot be written to, for example because the disk is full |
| 75 | the deadline passed |
| 76 | the response's status is not a success |
| 77 | the response's status is 401 or 403, so the token is wrong or missing |
| 130 | interrupted |
"""

from eas_tw.cli.main import main

__all__ = ["main"]
