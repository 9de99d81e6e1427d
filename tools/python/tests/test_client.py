"""The client against a scripted transport: what it sends, and what it makes of answers."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from chaperone import ChaperoneError, Client, ConnectionFailed, Pending, Problem, QueryResult

ROWS = {
    "query_id": "q_1",
    "status": "succeeded",
    "command": "SELECT",
    "columns": [{"name": "ssn", "type": "text", "table": "public.patients", "masked": True, "mask": "redact"}],
    "rows": [["[redacted]"]],
    "row_count": 1,
    "affected_rows": None,
    "truncated": False,
    "truncation_reason": None,
    "recording_id": "w.1",
}
PENDING = {
    "query_id": "q_2",
    "status": "pending_approval",
    "approval_url": "https://gw/approvals/q_2",
    "expires_at": "2026-11-24T12:00:00Z",
    "statement_sha256": "ab",
    "reasons": [{"rule": "bulk-export", "message": "Too much."}],
}


def client(handler: Callable[[httpx.Request], httpx.Response], **options: object) -> Client:
    return Client("http://gw", token="t0ken", transport=httpx.MockTransport(handler), **options)  # type: ignore[arg-type]


def test_rows_are_typed() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ROWS)

    answer = client(handler).query("clinic", "SELECT ssn FROM patients WHERE id = $1", [1], row_limit=5)
    assert isinstance(answer, QueryResult)
    assert answer.dicts() == [{"ssn": "[redacted]"}]
    assert answer.columns[0].masked and answer.columns[0].table == "public.patients"
    body = json.loads(seen[0].content)
    assert body == {
        "connection": "clinic",
        "statement": "SELECT ssn FROM patients WHERE id = $1",
        "parameters": [1],
        "row_limit": 5,
    }
    assert seen[0].headers["Authorization"] == "Bearer t0ken"
    assert seen[0].headers["Idempotency-Key"]


def test_202_is_never_rows() -> None:
    answer = client(lambda _: httpx.Response(202, json=PENDING, headers={"Retry-After": "5"})).query("clinic", "…")
    assert isinstance(answer, Pending)
    assert answer.retry_after == 5.0
    assert answer.reasons[0].rule == "bulk-export"


def test_problem_carries_what_a_program_acts_on() -> None:
    document = {"title": "Denied", "status": 403, "code": "denied_by_policy", "detail": "No.", "rule": "ddl"}
    with pytest.raises(Problem) as caught:
        client(lambda _: httpx.Response(403, json=document)).query("clinic", "DROP TABLE x")
    assert (caught.value.status, caught.value.code, caught.value.rule) == (403, "denied_by_policy", "ddl")
    assert caught.value.retryable is False


def test_retries_keep_their_key() -> None:
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadTimeout("lost", request=request)
        if len(keys) == 2:
            problem = {"code": "evidence_unavailable", "detail": "Later.", "retryable": True}
            return httpx.Response(503, json=problem, headers={"Retry-After": "0"})
        return httpx.Response(200, json=ROWS)

    assert isinstance(client(handler).query("clinic", "SELECT 1"), QueryResult)
    assert len(keys) == 3 and len(set(keys)) == 1


def test_unreachable_is_one_clear_error() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ConnectionFailed):
        client(handler, retries=0).query("clinic", "SELECT 1")


def test_an_answer_that_is_no_gateways_is_a_problem() -> None:
    with pytest.raises(Problem) as caught:
        client(lambda _: httpx.Response(502, text="<html>")).query("clinic", "SELECT 1")
    assert caught.value.code == "not_a_gateway"


def test_token_file_is_read_each_time(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("CHAPERONE_TOKEN", raising=False)
    path = tmp_path / "token"
    monkeypatch.setenv("CHAPERONE_TOKEN_FILE", str(path))
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200, json=ROWS)

    with Client("http://gw", transport=httpx.MockTransport(handler)) as c:
        path.write_text("one\n")
        c.query("clinic", "SELECT 1")
        path.write_text("two\n")
        c.query("clinic", "SELECT 1")
    assert seen == ["Bearer one", "Bearer two"]


def test_no_token_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAPERONE_TOKEN", raising=False)
    monkeypatch.delenv("CHAPERONE_TOKEN_FILE", raising=False)
    with pytest.raises(ChaperoneError, match="CHAPERONE_TOKEN"):
        Client("http://gw", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=ROWS))).query("c", "s")
