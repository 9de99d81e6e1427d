"""A CrewAI tool that asks a clinical database through the gateway.

The tool never raises (CrewAI re-runs a raising tool up to six times) and never
blocks longer than its own bounds. A pending approval is a normal observation,
not a failure: it names the link and the query id, and the same statement asked
again is answered from the request already filed.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from crewai.tools import BaseTool
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from chaperone.client import Client, Token
from chaperone.errors import ChaperoneError, Problem
from chaperone.types import Pending, QueryResult, State

try:  # CrewAI 1.15.9 and later tell failures from answers
    from crewai.tools.tool_failure import ToolFailure
except ImportError:  # pragma: no cover
    ToolFailure = None  # type: ignore[assignment,misc]

_REMEMBERED = 256  # pending statements a tool remembers


class QueryArguments(BaseModel):
    """What a model may say to the tool. Common synonyms are accepted."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    statement: str = Field(
        default="",
        description="One SQL statement, with literals or with parameter markers.",
        validation_alias=AliasChoices("statement", "sql_query", "query", "sql"),
    )
    parameters: list[Any] | dict[str, Any] | None = Field(
        default=None, description="Values for the markers: a list, or an object for :name markers."
    )
    reason: str | None = Field(default=None, description="Why this is needed, for the people who review it.")
    query_id: str | None = Field(
        default=None,
        description="Instead of a statement: the query_id of a pending statement, to fetch its rows once approved.",
    )

    @model_validator(mode="after")
    def _one_of(self) -> QueryArguments:
        # CrewAI drops arguments that are not in the schema, and passes them all
        # only after a validation error: raising is what lets synonyms through.
        if not self.statement.strip() and not self.query_id:
            raise ValueError("give `statement` (one SQL statement), or `query_id`")
        return self


class ChaperoneQueryTool(BaseTool):
    """Runs SQL on one connection of a Chaperone gateway.

    Attributes:
        url: base URL of the gateway, else ``CHAPERONE_URL``.
        connection: the connection's name.
        wait_for_approval: seconds to wait for a person before giving the
            pending state back to the model; 0 does not wait.
        purpose_of_use: HL7 v3 PurposeOfUse code sent with each statement.
        session_id: groups the crew's statements in the recordings; made if omitted.
        row_limit: most rows of one answer, or None for the gateway's default.
        on_pending: called once with each pending statement, to tell a person.
    """

    name: str = "query_clinical_database"
    description: str = ""
    args_schema: type[BaseModel] = QueryArguments

    url: str | None = None
    connection: str
    wait_for_approval: float = 0
    purpose_of_use: str | None = None
    session_id: str = Field(default_factory=lambda: f"crew-{uuid.uuid4().hex[:12]}")
    row_limit: int | None = None
    on_pending: Callable[[Pending], None] | None = Field(default=None, exclude=True)

    _client: Client = PrivateAttr()
    _pending: OrderedDict[str, str] = PrivateAttr(default_factory=OrderedDict)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, *, token: Token | None = None, client: Client | None = None, **data: Any) -> None:
        """Build the tool; pass ``client`` to share one between tools."""
        if not data.get("description"):
            data["description"] = (
                f"Runs one SQL statement on the clinical database connection '{data.get('connection')}' and returns "
                "JSON. Protected values come back masked; do not try to unmask them. If status is "
                "'pending_approval', a person must approve first: tell the user the approval_url, and fetch the "
                "rows later by calling this tool with that query_id."
            )
        data.setdefault("cache_function", _never_cache)
        super().__init__(**data)
        self._client = client or Client(self.url, token=token)

    def _run(
        self,
        statement: str = "",
        parameters: list[Any] | dict[str, Any] | None = None,
        reason: str | None = None,
        query_id: str | None = None,
        **_: Any,
    ) -> Any:
        """Ask; always returns text (JSON) or CrewAI's ToolFailure."""
        try:
            if query_id:
                return self._fetch(query_id)
            if not statement.strip():
                return _failure({"status": "failed", "message": "Give one SQL statement, or a query_id."})
            return self._ask(statement, parameters, reason)
        except Problem as problem:
            return _failure(_describe(problem))
        except ChaperoneError as error:
            return _failure({"status": "failed", "message": str(error), "retryable": True})
        except Exception as error:  # a tool that raises is run again by CrewAI
            return _failure({"status": "failed", "message": f"The tool failed: {type(error).__name__}."})

    def _ask(self, statement: str, parameters: Any, reason: str | None) -> Any:
        call = _fingerprint(statement, parameters)
        with self._lock:
            known = self._pending.get(call)
        if known:
            return self._fetch(known)
        answer = self._client.query(
            self.connection,
            statement,
            parameters,
            session_id=self.session_id,
            reason=reason,
            purpose_of_use=self.purpose_of_use,
            row_limit=self.row_limit,
        )
        if isinstance(answer, QueryResult):
            return _rows(answer)
        with self._lock:
            self._pending[call] = answer.query_id
            while len(self._pending) > _REMEMBERED:
                self._pending.popitem(last=False)
        if self.on_pending is not None:
            self.on_pending(answer)
        return self._await(answer)

    def _fetch(self, query_id: str) -> Any:
        return self._await(self._client.state(query_id))

    def _await(self, state: Pending) -> Any:
        """Wait for the decision as long as allowed, then claim or report."""
        if state.status == State.PENDING and self.wait_for_approval > 0:
            state = self._client.wait(state.query_id, timeout=self.wait_for_approval)
        if state.status == State.PENDING:
            return json.dumps(_pending(state))
        self._forget(state.query_id)
        if state.status in (State.APPROVED, State.RUNNING, State.SUCCEEDED):
            return _rows(self._client.result(state.query_id))
        return _failure(
            {"status": state.status, "query_id": state.query_id, "message": f"The statement is {state.status}."}
        )

    def _forget(self, query_id: str) -> None:
        with self._lock:
            for call, known in list(self._pending.items()):
                if known == query_id:
                    del self._pending[call]


def _never_cache(_args: Any = None, _result: Any = None) -> bool:
    """Tell CrewAI that no answer may be served from its cache."""
    return False


def _rows(result: QueryResult) -> str:
    body: dict[str, Any] = {
        "status": "succeeded",
        "columns": [column.name for column in result.columns],
        "rows": result.rows,
        "row_count": result.row_count,
    }
    if masked := [column.name for column in result.columns if column.masked]:
        body["masked_columns"] = masked
    if result.truncated:
        body["truncated"] = result.truncation_reason
    if result.affected_rows is not None:
        body["affected_rows"] = result.affected_rows
    if result.notes:
        body["notes"] = list(result.notes)
    return json.dumps(body, ensure_ascii=False)


def _pending(state: Pending) -> dict[str, Any]:
    return {
        "status": State.PENDING,
        "query_id": state.query_id,
        "approval_url": state.approval_url,
        "expires_at": state.expires_at.isoformat() if state.expires_at else None,
        "reasons": [reason.message for reason in state.reasons],
        "message": (
            "A person must approve this statement at approval_url before it runs. Do not rewrite it to get around "
            "the approval. Continue with other work, or finish by telling the user the link; fetch the rows later "
            "with this query_id."
        ),
    }


def _describe(problem: Problem) -> dict[str, Any]:
    document: dict[str, Any] = {"status": "failed", "code": problem.code, "message": problem.detail}
    if problem.hint:
        document["hint"] = problem.hint
    if problem.rule:
        document["rule"] = problem.rule
    if problem.position:
        document["position"] = problem.position
    document["retryable"] = problem.retryable
    return document


def _failure(document: dict[str, Any]) -> Any:
    """Wrap a failure the way this version of CrewAI shows it to the model."""
    text = json.dumps(document, ensure_ascii=False)
    if ToolFailure is None:
        return text
    return ToolFailure(message=text, retryable=bool(document.get("retryable")), details=document)


def _fingerprint(statement: str, parameters: Any) -> str:
    text = json.dumps([statement.strip(), parameters], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
