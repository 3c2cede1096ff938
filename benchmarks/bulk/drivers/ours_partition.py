"""Benchmark driver: `score_partition` in a plain script."""

import json

from arguments import arguments

from eas_tw.bulk import Scoring, score_partition

given = arguments()
scoring = Scoring(given.endpoint, given.service, in_flight=given.in_flight, on_error="raise")
with open(given.input, "rb") as rows, open(given.output, "w") as output:
    for number, answer in enumerate(score_partition(map(json.loads, rows), scoring)):
        output.write(json.dumps({"row": number, "response": answer}) + "\n")
