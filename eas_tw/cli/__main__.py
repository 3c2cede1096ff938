"""Entry point of `python -m eas_tw.cli`, which does the same as `eas-tw`."""

import sys

from eas_tw.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
