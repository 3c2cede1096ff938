"""Entry point of `python -m simulator`."""

import sys

from simulator.ready_file import remove_stale_in

remove_stale_in(sys.argv)

from simulator.cli import main  # noqa: E402  slow to import; a stale ready file must be removed first

sys.exit(main())
