"""What can go wrong, as exceptions that a program can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ChaperoneError(Exception):
    """Base of every error this package raises by itself."""


class ConnectionFailed(ChaperoneError):
    """The gateway could not be reached, or broke off, and retrying did not help."""


class Problem(ChaperoneError):
    """The gateway answered with a problem document (RFC 9457).

    Attributes:
        status: HTTP status code.
        code: the gateway's stable name of the problem, such as ``denied_by_policy``.
        detail: one sentence for people and models; never holds data.
        hint: what to write or do instead, or "".
        query_id: the query it belongs to, or "".
        sqlstate: the database's SQLSTATE, or "".
        position: 1-based character offset in the statement, or None.
        rule: the policy rule that decided, or "".
        retryable: True if the same request may succeed later.
        retry_after: seconds to wait before that, or None.
    """

    def __init__(self, status: int, document: Mapping[str, Any], retry_after: float | None = None) -> None:
        """Build from a decoded problem document."""
        self.status = status
        self.code = str(document.get("code") or "unknown")
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
        self.hint = str(document.get("hint") or "")
        self.query_id = str(document.get("query_id") or "")
        self.sqlstate = str(document.get("sqlstate") or "")
        position = document.get("position")
        self.position = position if isinstance(position, int) and position > 0 else None
        self.rule = str(document.get("rule") or "")
        self.retryable = bool(document.get("retryable", False))
        self.retry_after = retry_after
        super().__init__(f"{self.detail} {self.hint}".strip())
