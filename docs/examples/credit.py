"""Functions for `eas-tw score` that encode rows and decode responses."""

import json


def encode(row):
    return json.dumps([{"money_credit": row["money_credit"]}])


def decode(row, response):
    (answer,) = json.loads(response.to_string())
    return {"id": row["id"], "credit": answer["money_credit"]}
