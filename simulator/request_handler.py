"""The handling of one request at an instance, up to one response and one row in the journal.

The steps are: faults that replace the work, validation (path, token, rate limit), a worker, the processor, and faults
on the response. At any time the client may disconnect, the instance may hang, or the time limit may end the request. A
worker that has begun continues in each case, as in the real service, except for a stream, which is closed when the
client disconnects or the time limit ends the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from attrs import evolve
from twisted.internet.defer import Deferred

from simulator.auth import has_token, is_authorized
from simulator.computation import compute_request, work_s
from simulator.delivery import Ending, Wire
from simulator.http1 import HANG, Response
from simulator.journal import Row
from simulator.messages import text_response
from simulator.queues.operations import QueueJob
from simulator.response_faults import apply_response_faults, delay_s, is_response_fault, plan_of
from simulator.stream_records import RunningStream
from simulator.streaming import StreamPlan
from simulator.worker_job import WorkerJob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.faults import Fault
    from simulator.http1 import Answer, ReceivedRequest
    from simulator.instance import SimulatedInstance
    from simulator.streaming import PieceReader, StreamEnd, StreamResponse

CLIENT_LEFT = 499
_NO_ANSWER = 0
_ALLOW = {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}


class RequestHandler:
    """Handles one request (`JobOwner`).

    Args:
        instance: The instance.
        request: The request.
    """

    __slots__ = (
        "_answer", "_began", "_clock", "_faults", "_is_answered", "_is_over", "_job", "_life", "_limit",
        "_request", "_sent", "_service", "_timer", "_waiting", "instance",
    )  # fmt: skip

    def __init__(self, instance: SimulatedInstance, request: ReceivedRequest) -> None:
        self.instance = instance
        self._service = instance.service
        self._request = request
        self._clock = instance.service.world.reactor
        self._began = self._clock.seconds()
        self._life = instance.life
        self._faults: Sequence[Fault] = ()
        self._answer: Answer | None = None
        self._waiting: Deferred[Answer] | None = None
        self._timer: Any = None
        self._limit: Any = None
        self._job: WorkerJob | QueueJob | None = None
        self._sent: Response | None = None
        self._is_answered = False
        self._is_over = False

    @property
    def clock(self) -> Any:
        """The clock of the simulator."""
        return self._clock

    @property
    def is_over(self) -> bool:
        """Whether a response is no longer needed."""
        return self._is_over or self._is_answered

    def answer(self) -> Answer | Deferred[Answer]:
        """Handle the request, now or when the instance no longer hangs; return the response, or a Deferred of it."""
        if self.instance.is_hung:
            self.instance.when_running(self._begin)
        else:
            self._begin()
        if self._answer is not None:
            return self._answer
        self._waiting = Deferred(self._left)
        return self._waiting

    # -- before the work

    def _begin(self) -> None:
        if self._is_over:
            return
        instance = self.instance
        faults = self._service.world.faults
        if faults.is_quiet:
            self._admit()
            return
        # In a queue service, `slow` applies to the worker that computes the frame (`QueueWorker`).
        takes = None if self._service.queues is None else _takes_no_worker
        self._faults = faults.on_instance(self._service.name, instance.id, instance.zone, takes=takes)
        self._after(delay_s(self._faults, "upstream", instance.rng), self._suffer)

    def _suffer(self) -> None:
        """Apply the faults that replace the work, in the order of `_ENDINGS`; response faults are applied later."""
        for type_, end in _ENDINGS.items():
            for fault in self._faults:
                if fault.type == type_ and not is_response_fault(fault):
                    end(self, fault)
                    return
        self._admit()

    def _say_status(self, fault: Fault) -> None:
        pause = fault.get("retry_after")
        headers = {} if pause is None else {"Retry-After": f"{pause:g}"}
        self.respond(Response(fault.get("code"), fault.get("body").encode(), "text/plain; charset=utf-8", headers))

    def _say_reused(self, _: Fault) -> None:
        self.respond(text_response(404, f"no such service here: {self._service.world.mask(self._request.path)}"))

    def _say_nothing(self, fault: Fault) -> None:
        after_s = fault.get("timeout") / 1000
        ending = Ending.RESET if fault.type == "reset_peer" else Ending.CLOSE
        is_endless = fault.type == "timeout" and not after_s
        self._end(HANG if is_endless else Wire((), ending, after_s), _NO_ANSWER, 0)

    def _admit(self) -> None:
        problem = self._problem()
        if problem is not None:
            self.respond(problem)
            return
        if self._service.queues is not None:
            below = self._service.below(self._request.path)
            self._job = QueueJob(self, self._service.queues, self._request, unquote(below), self._activate)
            self._job.begin()
            return
        spec = self._service.spec
        self._job = job = WorkerJob(self)
        if not job.submit():
            self.respond(text_response(450, "the instance's queue is full"))
        elif not self._is_answered and spec.keepalive_s:
            self._limit = self._clock.callLater(spec.keepalive_s, self._expire)

    def _problem(self) -> Response | None:
        request, service = self._request, self._service
        path = unquote(request.path) if "%" in request.target else request.path
        if path == "*":  # OPTIONS of the server as a whole needs no token, like a ping (RFC 9110 §9.3.7)
            return Response(200, b"", "", _ALLOW)
        if not service.answers(path):
            return text_response(404, f"no such service here: {service.world.mask(path)}")
        # A queue service accepts the token in clear text only, and no signature.
        knows_token = is_authorized if service.queues is None else has_token
        if not knows_token(request, service.token):
            return text_response(401, "Unauthorized: the token is missing or wrong")
        wait_s = self.instance.rate_limit.admit() if self.instance.rate_limit else 0
        if wait_s:
            return text_response(429, "too many requests")._replace(headers={"Retry-After": str(wait_s)})
        return None

    def _activate(self, moment: str) -> Sequence[Fault]:
        """Draw the faults that apply at a moment of a queue's operation, and record them for the journal."""
        faults, instance = self._service.world.faults, self.instance
        if faults.is_quiet:
            return ()
        found = faults.on_instance(self._service.name, instance.id, instance.zone, moment=moment)
        self._faults = [*self._faults, *(fault for fault in found if fault not in self._faults)]
        return found

    # -- the work

    def work_s(self) -> float:
        """Draw the time that a worker takes before the processor runs, in seconds."""
        return work_s(self.instance, self._faults)

    def compute(self) -> Any:
        """Run a stub or the processor, and return its result (`compute_request`)."""
        return compute_request(self.instance, self._request)

    def _expire(self) -> None:
        """Answer 408 and close the connection, because the instance's time limit, queueing included, has passed."""
        self._limit = None
        if self._job is not None:
            self._job.withdraw()
        self.respond(text_response(408, "the request took too long")._replace(close=True))

    # -- the response

    def respond(self, response: Response) -> None:
        """Send a response, unless the request has been answered or has expired, or its client has disconnected."""
        if self._is_over or self._is_answered:
            return
        self._is_answered = True
        self._stop_limit()
        if self._faults:
            self._after(delay_s(self._faults, "downstream", self.instance.rng), lambda: self._send(response))
        else:
            self._send(response)

    def _send(self, response: Response) -> None:
        if self._is_over:
            return
        instance = self.instance
        if instance.is_hung:
            instance.when_running(lambda: self._send(response))
            return
        if instance.is_draining:
            response = response._replace(close=True)
        self._sent = response
        answer: Answer = response
        if self._faults and any(is_response_fault(fault) for fault in self._faults):
            answer = apply_response_faults(response, self._faults, instance.rng, self._request)
        self._end(answer, response.status, len(response.body))

    def respond_stream(self, stream: StreamResponse, reader: PieceReader, done: Callable[[], None]) -> None:
        """Send a stream whose first piece has been read, unless the request has been answered or has expired.

        Args:
            stream: The response.
            reader: Reads the pieces of the stream.
            done: Called once, when the stream has ended or is not sent.
        """
        if self._is_over or self._is_answered:
            reader.close()
            done()
            return
        self._is_answered = True
        self._stop_limit()
        pause_s = delay_s(self._faults, "downstream", self.instance.rng) if self._faults else 0.0
        self._after(pause_s, lambda: self._send_stream(stream, reader, done))

    def _send_stream(self, stream: StreamResponse, reader: PieceReader, done: Callable[[], None]) -> None:
        instance = self.instance
        if self._is_over:
            return  # `_left` has closed the reader
        if instance.is_hung:
            instance.when_running(lambda: self._send_stream(stream, reader, done))
            return

        def ended(record: RunningStream, end: StreamEnd) -> None:
            captured = bytes(record.captured) if self._service.spec.capture_bytes is not None else b""
            self._sent = Response(stream.status, captured, stream.content_type, stream.headers)
            self._note(stream.status, record.bytes_out, record.first_byte_s, end)
            done()

        plan = plan_of(self._faults, instance.rng) if self._faults else StreamPlan()
        plan = evolve(
            plan,
            own_steps=stream.plan.own_steps,
            gate=instance,
            observer=RunningStream(instance, self._request, stream.status, self._began, ended),
            must_close=plan.must_close or (lambda: instance.is_draining),
        )
        close = stream.close or instance.is_draining or any(fault.type == "slow_close" for fault in self._faults)
        self._deliver(evolve(stream, body=reader, close=close, plan=plan))

    def _end(self, answer: Answer, status: int, size: int) -> None:
        now = self._clock.seconds()
        self._note(status, size, now - self._began if size else 0.0)
        self._deliver(answer)

    def _deliver(self, answer: Answer) -> None:
        self._is_over = True
        self._job = None
        if self._waiting is None:
            self._answer = answer
        else:
            self._waiting.callback(answer)

    def _left(self, _: Deferred[Answer]) -> None:
        """Handle the loss of the connection before the response."""
        self._is_over = True
        self._stop_limit()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._job is not None:
            self._job.withdraw()
        self._note(CLIENT_LEFT if self._life == self.instance.life else _NO_ANSWER, 0)
        if self._waiting is not None:
            self._waiting.callback(HANG)

    def _note(self, status: int, size: int, first_byte_s: float = 0.0, stream: str = "") -> None:
        now, request = self._clock.seconds(), self._request
        journal = self._service.world.journal
        journal.write(
            Row(
                at=now,
                service=self._service.name,
                instance=self.instance.id,
                method=request.method,
                path=request.target,
                status=status,
                fault=",".join(fault.name for fault in self._faults) if self._faults else "",
                bytes_in=len(request.body),
                bytes_out=size,
                elapsed_s=now - self._began,
                first_byte_s=first_byte_s,
                stream=str(stream),
            )
        )
        if self._service.spec.capture_bytes is not None:
            self._service.world.captured(self._service, journal.total, request, self._sent, size)

    def _after(self, pause_s: float, then: Callable[[], None]) -> None:
        if pause_s <= 0:
            then()
            return
        self._timer = self._clock.callLater(pause_s, self._due, then)

    def _due(self, then: Callable[[], None]) -> None:
        self._timer = None
        then()

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _takes_no_worker(fault: Fault) -> bool:
    return fault.type != "slow"


_ENDINGS: dict[str, Callable[[RequestHandler, Fault], None]] = {
    "reset_peer": RequestHandler._say_nothing,  # noqa: SLF001  the class's own table
    "timeout": RequestHandler._say_nothing,  # noqa: SLF001
    "reused": RequestHandler._say_reused,  # noqa: SLF001
    "http_status": RequestHandler._say_status,  # noqa: SLF001
}
"""Faults that replace the work, in the order of precedence."""
