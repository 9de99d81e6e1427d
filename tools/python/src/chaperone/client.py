"""A small typed client of the gateway's HTTP interface."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from chaperone.errors import ChaperoneError, ConnectionFailed, Problem
from chaperone.types import Pending, QueryResult, State

Parameters = Sequence[Any] | Mapping[str, Any]
Token = str | Callable[[], str]

# The longest that the gateway holds a request open for a decision (RFC 7240 "wait").
_LONGEST_WAIT = 25


class Client:
    """Posts statements to one gateway. Safe to share between threads.

    The token comes from ``token`` (a string, or a function called for every
    request so that it can refresh), else from the environment:
    ``CHAPERONE_TOKEN``, or ``CHAPERONE_TOKEN_FILE`` (read anew each time).

    Args:
        url: base URL of the gateway; ``CHAPERONE_URL`` if omitted.
        token: bearer token or a function that returns one.
        timeout: seconds for one HTTP exchange; must exceed the statement's own time.
        retries: how often a request that got no answer, or 503, is sent again.
            Always safe: each logical call has one Idempotency-Key.
        transport: an ``httpx`` transport, for proxies and private CAs.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: Token | None = None,
        timeout: float = 60.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open no connection yet."""
        base = url or os.environ.get("CHAPERONE_URL")
        if not base:
            raise ChaperoneError("No gateway URL: pass url= or set CHAPERONE_URL.")
        self._token = token
        self._retries = retries
        self._http = httpx.Client(
            base_url=base, timeout=timeout, transport=transport, headers={"User-Agent": "chaperone-sql-python"}
        )

    def __enter__(self) -> Client:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def query(
        self,
        connection: str,
        statement: str,
        parameters: Parameters | None = None,
        *,
        wait: float = 0,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> QueryResult | Pending:
        """Run a statement, or file it for approval.

        Args:
            connection: name of the connection.
            statement: one SQL statement.
            parameters: a sequence for positional markers, a mapping for ``:name``.
            wait: seconds to let the gateway wait for a decision, at most 25.
            idempotency_key: repeats with the same key get the first answer; made if omitted.
            options: further fields of the request, such as ``row_limit``,
                ``purpose_of_use``, ``reason``, ``session_id``, ``dry_run``, ``max_affected``.

        Returns:
            QueryResult for a statement that ran; Pending for one that needs a person.

        Raises:
            Problem: the gateway refused or failed.
            ConnectionFailed: the gateway could not be reached.
        """
        body: dict[str, Any] = {"connection": connection, "statement": statement}
        if parameters is not None:
            body["parameters"] = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
        body.update({name: value for name, value in options.items() if value is not None})
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if wait > 0:
            headers["Prefer"] = f"wait={min(int(wait) or 1, _LONGEST_WAIT)}"
        return _answer(self._send("POST", "/v1/query", json=body, headers=headers))

    def explain(
        self, connection: str, statement: str, parameters: Parameters | None = None, **options: Any
    ) -> Mapping[str, Any]:
        """Say what a statement would read, how it would be masked and decided; run nothing."""
        body: dict[str, Any] = {"connection": connection, "statement": statement, "dry_run": True, **options}
        if parameters is not None:
            body["parameters"] = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
        answer: Mapping[str, Any] = self._send("POST", "/v1/query", json=body).json()
        return answer

    def state(self, query_id: str) -> Pending:
        """Tell where a query stands."""
        response = self._send("GET", f"/v1/queries/{query_id}")
        return Pending.parse(response.json(), _retry_after(response))

    def result(self, query_id: str, *, idempotency_key: str | None = None) -> QueryResult:
        """Claim an approved query: it runs now, once.

        Repeating with the same key gives the same answer again. The key made
        here is derived from the query, so that a restarted program finds it.
        """
        headers = {"Idempotency-Key": idempotency_key or f"claim-{query_id}"}
        answer = _answer(self._send("POST", f"/v1/queries/{query_id}/result", headers=headers))
        if isinstance(answer, Pending):
            raise ChaperoneError("The gateway answered a claim with a pending state.")
        return answer

    def cancel(self, query_id: str) -> None:
        """Withdraw a pending query, or stop a running one."""
        self._send("POST", f"/v1/queries/{query_id}/cancel")

    def wait(self, query_id: str, *, timeout: float, poll: float = 2.0) -> Pending:
        """Wait until a pending query is decided, at most ``timeout`` seconds.

        Returns the last state seen, which may still be pending.
        """
        deadline = time.monotonic() + timeout
        while True:
            state = self.state(query_id)
            left = deadline - time.monotonic()
            if state.status != State.PENDING or left <= 0:
                return state
            time.sleep(min(poll, left))

    def connections(self) -> list[Mapping[str, Any]]:
        """List the connections that this caller may use."""
        listed: list[Mapping[str, Any]] = self._send("GET", "/v1/connections").json()["connections"]
        return listed

    def schema(self, connection: str) -> Mapping[str, Any]:
        """Describe a connection's tables, columns and masks."""
        described: Mapping[str, Any] = self._send("GET", f"/v1/connections/{connection}/schema").json()
        return described

    def _bearer(self) -> str:
        if callable(self._token):
            return self._token()
        if self._token:
            return self._token
        if token := os.environ.get("CHAPERONE_TOKEN"):
            return token
        if path := os.environ.get("CHAPERONE_TOKEN_FILE"):
            return Path(path).read_text(encoding="ascii").strip()
        raise ChaperoneError("No token: pass token= or set CHAPERONE_TOKEN or CHAPERONE_TOKEN_FILE.")

    def _send(
        self, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send with retries where a repeat cannot do harm: reads, and calls that carry a key."""
        safe = method == "GET" or (headers is not None and "Idempotency-Key" in headers)
        attempts = self._retries + 1 if safe else 1
        failure: Exception | None = None
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                response = self._http.request(
                    method, path, json=json, headers={"Authorization": f"Bearer {self._bearer()}", **(headers or {})}
                )
            except httpx.TransportError as error:
                failure = error
                if not last:
                    time.sleep(0.2 * 2**attempt)
                continue
            if response.status_code < 400:
                return response
            problem = _problem(response)
            again = problem.retryable and (response.status_code == 503 or problem.code == "still_running")
            if last or not again:
                raise problem
            time.sleep(min(problem.retry_after or 0.2 * 2**attempt, 5.0))
        raise ConnectionFailed(f"The gateway could not be reached: {type(failure).__name__}.") from failure


def _answer(response: httpx.Response) -> QueryResult | Pending:
    """Tell rows from a pending state by the status code, never by guessing at the body."""
    if response.status_code == 200:
        return QueryResult.parse(response.json())
    if response.status_code == 202:
        return Pending.parse(response.json(), _retry_after(response))
    raise ChaperoneError(f"Unexpected answer: HTTP {response.status_code}.")


def _problem(response: httpx.Response) -> Problem:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"title": f"HTTP {response.status_code}", "code": "not_a_gateway"}
    return Problem(response.status_code, document, _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After")
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None
