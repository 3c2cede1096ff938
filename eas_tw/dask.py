"""Bulk scoring on a Dask cluster: one client for each worker process, shared by its threads.

    scored = eas_tw.dask.score(frame, scoring, meta={"score": "f8", "error": "object"})

`score` calls `map_partitions` with `eas_tw.bulk.score_partition`. When a worker process ends, Dask runs its partitions
again on another worker process. Their rows are sent again, but each row is in the result once.
"""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.bulk import ErrorRow, Scoring, TokenBucket, score_partition
from eas_tw.display import shown

try:
    import dask.bag
    import dask.base
    import distributed
except ImportError as error:
    raise ImportError("eas_tw.dask needs dask and distributed: pip install 'eas-tw[dask]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eas_tw.blocking import PredictClient

__all__ = ["ERROR", "ScoringPlugin", "release", "score"]

ERROR = "error"
"""The column of a data frame that contains the error of a row that could not be scored."""
_log = logging.getLogger("eas_tw.dask")


class ScoringPlugin(distributed.WorkerPlugin):
    """A Dask plugin that makes the client of a worker process in the first task, and closes it when the worker ends.

    Args:
        scoring: The service, and the limits of the whole job.
        workers: The number of workers, by which the limits are divided, ≥ 1.

    Attributes:
        scoring: The settings for one partition, set by `setup`.
        bucket: The token bucket of the worker process; `None` without `rate_per_s`. Set by `setup`.
    """

    scoring: Scoring
    bucket: TokenBucket | None

    def __init__(self, scoring: Scoring, workers: int) -> None:
        self.name = _name_of(scoring)
        self._job = scoring
        self._workers = workers

    def setup(self, worker: Any) -> None:
        """Compute this worker's share of the limits; called by Dask."""
        share = self._job.shared_by(self._workers)
        self.bucket = None if share.rate_per_s is None else TokenBucket(share.rate_per_s)
        # The partitions that run at the same time share the worker's part of the requests in flight.
        self.scoring = share.but(in_flight=max(1, share.in_flight // worker.state.nthreads))
        # The client is made by the first task, because this method runs in the worker's event loop and must not block.
        self._lock = Lock()
        self._client: PredictClient | None = None

    def teardown(self, worker: Any) -> None:  # noqa: ARG002  required by the interface
        """Close the worker's client; called by Dask."""
        with self._lock:
            if self._client is not None:
                self._client.destroy()

    @property
    def client(self) -> PredictClient:
        """The client of the worker process, which is created on first use."""
        with self._lock:
            if self._client is None:
                self._client = self._job.make_client()
            return self._client

    def outputs(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Score the rows of a partition."""
        return score_partition(rows, self.scoring, client=self.client, bucket=self.bucket)


def score(collection: Any, scoring: Scoring, *, meta: Any = None, client: Any = None) -> Any:
    """Score the rows of a Dask bag or data frame. Like other operations of Dask, this function is lazy.

    The rows of a data frame are dictionaries, and `scoring.decode` must return a dictionary with the columns of `meta`.
    The result has the index of the data frame. For a row that fails, the column `error` contains the error, and the
    other columns are empty. In a bag, the output of such a row is an `ErrorRow`.

    `rate_per_s` and `in_flight` are limits of the whole job, and are divided equally among the current workers of the
    cluster. A worker that joins later gets the same share, so the job may then exceed its limits.

    Args:
        collection: A `dask.bag.Bag` or a `dask.dataframe.DataFrame`.
        scoring: The service, and the settings of the job. `ordered` has no effect; `max_errors` applies to each
            partition.
        meta: The columns and types of the result, as for `DataFrame.map_partitions`; `None` for a bag.
        client: The `distributed.Client`; `None` for the current client.

    Returns:
        A collection of the same kind, with the outputs.

    Raises:
        ConfigError: An argument has a wrong type; there is no client or no worker; or `meta` is missing, or has no
            column `error` although `scoring.on_error` is `keep`.
    """
    if not isinstance(scoring, Scoring):
        raise ConfigError(f"scoring must be a Scoring, got {shown(scoring)}")
    if not hasattr(collection, "map_partitions"):
        raise ConfigError(f"collection must be a Dask bag or data frame, got {shown(collection)}")
    scoring = scoring.but(ordered=True)
    is_bag = isinstance(collection, dask.bag.Bag)
    columns: list[str] = [] if is_bag else _columns(meta, scoring)
    name = _register(scoring, client)
    if is_bag:
        return collection.map_partitions(_score_bag, name)
    return collection.map_partitions(_score_frame, name, columns, meta=meta)


def release(scoring: Scoring, *, client: Any = None) -> None:
    """Close the clients of the workers; without this call, they are closed when the workers end.

    Args:
        scoring: The value that was passed to `score`.
        client: The `distributed.Client`; `None` for the current client.
    """
    _client(client).unregister_worker_plugin(_name_of(scoring.but(ordered=True)))


def _register(scoring: Scoring, given: Any) -> str:
    client = _client(given)
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    if not workers:
        raise ConfigError("the Dask cluster has no worker yet: call client.wait_for_workers(N) before score()")
    plugin = ScoringPlugin(scoring, workers)
    client.register_plugin(plugin)
    share = scoring.shared_by(workers)
    rate = "no limit of the rate" if share.rate_per_s is None else f"{share.rate_per_s:g} rows/s"
    _log.info("%d workers: %d requests in flight and %s each", workers, share.in_flight, rate)
    return plugin.name


def _client(given: Any) -> Any:
    if given is not None:
        return given
    try:
        return distributed.get_client()
    except ValueError:
        raise ConfigError("eas_tw.dask needs a distributed.Client: make one, or pass client=") from None


def _name_of(scoring: Scoring) -> str:
    return f"eas_tw-{dask.base.tokenize(scoring)}"


def _columns(meta: Any, scoring: Scoring) -> list[str]:
    if meta is None:
        raise ConfigError("a data frame needs meta, the columns and types of the result")
    columns = list(meta.columns if hasattr(meta, "columns") else dict(meta))
    if scoring.on_error == "keep" and ERROR not in columns:
        raise ConfigError(f"meta must have a column {ERROR!r} for rows that fail, or scoring on_error='raise'")
    return columns


def _plugin(name: str) -> ScoringPlugin:
    """Return the plugin of the worker that runs the task."""
    plugin: ScoringPlugin = distributed.get_worker().plugins[name]
    return plugin


def _score_bag(rows: Iterable[Any], name: str) -> list[Any]:
    # A list instead of a generator, so that an error fails the whole partition in this task.
    return list(_plugin(name).outputs(rows))


def _score_frame(frame: Any, name: str, columns: list[str]) -> Any:
    import pandas as pd  # noqa: PLC0415  an optional dependency, which is installed if there are data frames

    outputs = [
        {ERROR: f"{output.error_type}: {output.message}"} if isinstance(output, ErrorRow) else output
        for output in _plugin(name).outputs(frame.to_dict("records"))
    ]
    return pd.DataFrame.from_records(outputs, columns=columns, index=frame.index)
