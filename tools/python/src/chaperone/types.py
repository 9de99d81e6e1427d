"""The gateway's answers as typed, immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class State:
    """The states of a query (DESIGN "HTTP")."""

    PENDING = "pending_approval"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Column:
    """One column of a result.

    Attributes:
        name: the column's label.
        type: the database's type name.
        table: ``schema.table`` of a plain column, or None.
        masked: True if the values are masks.
        mask: the mask's name, or None.
    """

    name: str
    type: str
    table: str | None = None
    masked: bool = False
    mask: str | None = None


@dataclass(frozen=True)
class QueryResult:
    """The rows of a statement that ran.

    Integers of 64 bits, decimals and money are strings, exactly as the
    database wrote them; timestamps are RFC 3339.
    """

    query_id: str
    command: str
    columns: tuple[Column, ...]
    rows: list[list[Any]]
    row_count: int
    affected_rows: int | None
    truncated: bool
    truncation_reason: str | None
    notes: tuple[str, ...]
    recording_id: str
    raw: Mapping[str, Any] = field(repr=False)

    def dicts(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column name; of equal names the last wins."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> QueryResult:
        """Build from the body of a 200."""
        return cls(
            query_id=body["query_id"],
            command=body.get("command") or "",
            columns=tuple(
                Column(c["name"], c["type"], c.get("table"), bool(c.get("masked")), c.get("mask"))
                for c in body["columns"]
            ),
            rows=body["rows"],
            row_count=body["row_count"],
            affected_rows=body.get("affected_rows"),
            truncated=bool(body.get("truncated")),
            truncation_reason=body.get("truncation_reason"),
            notes=tuple(body.get("notes") or ()),
            recording_id=body["recording_id"],
            raw=body,
        )


@dataclass(frozen=True)
class Reason:
    """A policy rule that asked for approval."""

    rule: str
    message: str


@dataclass(frozen=True)
class Pending:
    """A statement that waits for a person's approval, or was decided meanwhile."""

    query_id: str
    status: str
    approval_url: str
    expires_at: datetime | None
    statement_sha256: str
    reasons: tuple[Reason, ...]
    retry_after: float | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, body: Mapping[str, Any], retry_after: float | None) -> Pending:
        """Build from the body of a 202 or of a state look-up."""
        expires = body.get("expires_at")
        return cls(
            query_id=body["query_id"],
            status=body["status"],
            approval_url=body.get("approval_url") or "",
            expires_at=datetime.fromisoformat(expires.replace("Z", "+00:00")) if expires else None,
            statement_sha256=body.get("statement_sha256") or "",
            reasons=tuple(Reason(r["rule"], r["message"]) for r in body.get("reasons") or ()),
            retry_after=retry_after,
            raw=body,
        )
