"""Call for a while with a token that is read again when its file changes.

python rotated_token.py ENDPOINT SERVICE TOKEN_FILE SECONDS
"""

import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient


class TokenFile:
    """Returns the token in a file; reads the file when it has changed."""

    def __init__(self, path):
        self.path = Path(path)
        self.changed = None

    def __call__(self):
        changed = self.path.stat().st_mtime_ns
        if changed != self.changed:
            self.token = self.path.read_text().strip()
            self.changed = changed
        return self.token


async def main(reactor, endpoint, service, token_file, seconds):
    client = PredictClient(
        endpoint,
        service,
        token=TokenFile(token_file),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        for number in range(int(float(seconds) * 10)):
            print(await client.predict(f"[{number}]"), flush=True)
            await deferLater(reactor, 0.1)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
