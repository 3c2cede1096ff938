"""Programs that use the packages of one extra each, for a simulator with a few services."""

from tests.docs.pages import EXAMPLES

_CALL = """
import os
from eas_tw.blocking import ENDPOINT_TYPE_DIRECT, PredictClient, TFRequest

def client(service, **how):
    made = PredictClient(os.environ["EAS_ENDPOINT"], service, **how)
    made.set_token(os.environ["EAS_TOKEN"])
    made.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    made.init()
    return made
"""
_NUMPY = """
import numpy as np
request = TFRequest("predict_images")
request.add_feed("images", content=np.ones((1, 784), np.float32))
assert client("mnist_saved_model_example").predict(request).as_numpy("scores").shape == (1, 10)
"""
_COMPRESSION = """
from eas_tw import ClientConfig
from eas_tw.body.compression import decompress
for codec in ("zstd", "snappy", "lz4", "lz4-block"):
    answer = client("scorecard_pmml_example", config=ClientConfig(compress=codec)).predict("[1]")
    assert decompress(codec, answer.content, 100) == b"[1]", codec
"""
_TLS = """
from eas_tw.blocking import PredictException
try:
    client("x", config=__import__("eas_tw").ClientConfig(init_timeout_s=0.3)).predict("[1]")
except PredictException as error:
    assert "refused" in str(error), error
"""
_PROMETHEUS = """
from prometheus_client import generate_latest
from twisted.internet.task import Clock
from eas_tw import PredictClient
from eas_tw.telemetry.prometheus import PrometheusMetrics
PrometheusMetrics().watch(PredictClient("x", "echo", reactor=Clock()))
assert b"eas_client_instances" in generate_latest()
"""
_OPENTELEMETRY = """
from twisted.internet.task import Clock
from eas_tw import PredictClient
from eas_tw.telemetry.opentelemetry import OpenTelemetry
assert OpenTelemetry().instrument(PredictClient("x", "echo", reactor=Clock())).service_name == "echo"
"""
_CLI = """
import sys
import numpy as np
import rich.live
from eas_tw.cli import main
from eas_tw.cli.perf import histogram
np.save("image.npy", np.ones((1, 784), np.float32))
sys.exit(main(["predict", "--service", "mnist_saved_model_example", "--tensor", "images=image.npy"]))
"""
_HTTPX2 = """
import os
import httpx2
from eas_tw import ENDPOINT_TYPE_DIRECT
from eas_tw.httpx2 import Transport
transport = Transport(
    os.environ["EAS_ENDPOINT"], "scorecard_pmml_example", token=os.environ["EAS_TOKEN"],
    endpoint_type=ENDPOINT_TYPE_DIRECT,
)
with httpx2.Client(transport=transport) as http:
    assert http.post("http://eas/", content=b"[1]").content == b"[1]"
"""
_PARQUET = """
import sys
import pyarrow, pyarrow.parquet
from eas_tw.cli import main
pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2]}), "in.parquet")
assert main(["score", "in.parquet", "--output", "out.parquet", "--service", "scorecard_pmml_example"]) == 0
assert pyarrow.parquet.read_table("out.parquet").to_pylist() == [{"row": 0, "id": 1}, {"row": 1, "id": 2}]
"""
_DASK = """
import os
import dask.bag, distributed
import eas_tw.dask
from eas_tw.bulk import Scoring
if __name__ == "__main__":
    with distributed.Client(n_workers=1, dashboard_address=None):
        scoring = Scoring(os.environ["EAS_ENDPOINT"], "scorecard_pmml_example")
        assert eas_tw.dask.score(dask.bag.from_sequence(["[1]"]), scoring).compute() == ["[1]"]
"""
_SIMULATOR = """
from simulator.processors import find
for name in ("zstd+echo", "echo+snappy"):
    find(name, "echo")
"""


def programs() -> dict[str, str]:
    """Return the program of each extra, by the extra's name."""
    return {
        "numpy": _CALL + _NUMPY,
        "compression": _CALL + _COMPRESSION,
        "tls": _CALL.replace('os.environ["EAS_ENDPOINT"]', '"https://127.0.0.1:1"') + _TLS,
        "scrapy": (EXAMPLES / "scrapy_project" / "loans.py").read_text("utf-8"),
        "prometheus": _PROMETHEUS,
        "opentelemetry": _OPENTELEMETRY,
        "cli": _CLI,
        "parquet": _PARQUET,
        "dask": _DASK,
        "httpx2": _HTTPX2,
        "httpx": _HTTPX2.replace("httpx2", "httpx"),
        "simulator": _SIMULATOR,
    }
