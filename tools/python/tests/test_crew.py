"""Real crews with a scripted model against the running gateway.

Needs the development stack: CHAPERONE_URL, CHAPERONE_AGENT_TOKEN and
CHAPERONE_APPROVER_TOKEN. Without them the tests fail, saying so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
os.environ.setdefault("CREWAI_TESTING", "true")
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")

from crewai import Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM

from chaperone import Client
from chaperone.crewai import ChaperoneQueryTool


def need(name: str) -> str:
    value = os.environ.get(name)
    assert value, f"{name} is not set: start the stack with `make up` and load .stack/env"
    return value


@pytest.fixture
def url() -> str:
    return need("CHAPERONE_URL")


@pytest.fixture
def agent_client(url: str) -> Client:
    return Client(url, token=need("CHAPERONE_AGENT_TOKEN"))


def approve(url: str, query_id: str) -> None:
    response = httpx.post(
        f"{url}/v1/approvals/{query_id}/decision",
        json={"decision": "approve", "comment": "chart review"},
        headers={"Authorization": f"Bearer {need('CHAPERONE_APPROVER_TOKEN')}"},
    )
    assert response.status_code == 200, response.text


class ScriptedLLM(BaseLLM):
    """A model whose next words are a function of the conversation so far."""

    script: Callable[[list[dict[str, Any]]], str] = lambda _messages: ""
    seen: list[str] = []

    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> str:
        self.seen.append(json.dumps(messages, default=str))
        return self.script(messages)

    def supports_function_calling(self) -> bool:
        return False


class CallingLLM(ScriptedLLM):
    """The same with native function calls."""

    calls: list[dict[str, Any]] = []

    def call(self, messages: Any, tools: Any = None, *_args: Any, **_kwargs: Any) -> Any:
        self.seen.append(json.dumps(messages, default=str))
        if tools and self.calls:
            arguments = self.calls.pop(0)
            return [
                {
                    "id": f"call_{len(self.calls)}",
                    "type": "function",
                    "function": {"name": "query_clinical_database", "arguments": json.dumps(arguments)},
                }
            ]
        return self.script(messages)

    def supports_function_calling(self) -> bool:
        return True


def run_crew(llm: BaseLLM, tool: ChaperoneQueryTool, question: str) -> str:
    agent = Agent(
        role="Analyst", goal="Answer from the database", backstory="A clinical analyst.", llm=llm, tools=[tool]
    )
    task = Task(description=question, expected_output="One sentence.", agent=agent)
    return str(Crew(agents=[agent], tasks=[task], tracing=False).kickoff())


def react(action: dict[str, Any]) -> str:
    return f"Thought: I need data.\nAction: query_clinical_database\nAction Input: {json.dumps(action)}\n"


def test_react_crew_gets_masked_rows(url: str, agent_client: Client) -> None:
    tool = ChaperoneQueryTool(url=url, connection="clinic", client=agent_client)
    steps = iter([react({"statement": "SELECT id, last_name, zip FROM patients WHERE id = 1"})])

    def script(messages: list[dict[str, Any]]) -> str:
        return next(steps, "Thought: I now know the final answer\nFinal Answer: done")

    llm = ScriptedLLM(model="scripted", script=script, seen=[])
    assert "done" in run_crew(llm, tool, "Where does patient 1 live?")
    observation = llm.seen[-1]
    assert "[redacted]" in observation and "succeeded" in observation


def test_crew_waits_for_a_person_and_goes_on(url: str, agent_client: Client) -> None:
    tool = ChaperoneQueryTool(
        url=url,
        connection="clinic",
        client=agent_client,
        wait_for_approval=20,
        on_pending=lambda pending: approve(url, pending.query_id),
    )
    steps = iter([react({"query": "SELECT id, zip, last_name FROM patients"})])
    llm = ScriptedLLM(
        model="scripted",
        script=lambda _m: next(steps, "Thought: I now know the final answer\nFinal Answer: exported"),
        seen=[],
    )
    assert "exported" in run_crew(llm, tool, "Export all patients.")
    assert "succeeded" in llm.seen[-1] and "row_count" in llm.seen[-1]


def test_pending_comes_back_as_an_observation_and_is_fetched_later(url: str, agent_client: Client) -> None:
    ids: list[str] = []
    tool = ChaperoneQueryTool(
        url=url, connection="clinic", client=agent_client, on_pending=lambda pending: ids.append(pending.query_id)
    )
    first = tool.run(statement="SELECT id, first_name FROM patients")
    state = json.loads(first)
    assert state["status"] == "pending_approval" and state["approval_url"].endswith(ids[0])
    again = json.loads(tool.run(statement="SELECT id, first_name FROM patients"))
    assert again["query_id"] == ids[0], "asking again must not file a second request"
    approve(url, ids[0])
    rows = json.loads(tool.run(query_id=ids[0]))
    assert rows["status"] == "succeeded" and rows["masked_columns"] == ["first_name"]


def test_native_function_calls(url: str, agent_client: Client) -> None:
    tool = ChaperoneQueryTool(url=url, connection="billing", client=agent_client)
    llm = CallingLLM(
        model="scripted",
        script=lambda _m: "counted",
        calls=[{"statement": "SELECT count(*) AS n FROM patients"}],
        seen=[],
    )
    assert "counted" in run_crew(llm, tool, "How many patients?")
    assert any("row_count" in seen for seen in llm.seen)


def test_a_refusal_teaches_and_does_not_raise(url: str, agent_client: Client) -> None:
    tool = ChaperoneQueryTool(url=url, connection="clinic", client=agent_client)
    text = str(tool.run(statement="SELECT ssnn FROM patients WHERE id = 1"))
    assert "ssn" in text and "sql_unresolved" in text
    text = str(tool.run(statement="DROP TABLE patients"))
    assert "denied_by_policy" in text


def test_an_unreachable_gateway_does_not_raise() -> None:
    tool = ChaperoneQueryTool(
        url="http://127.0.0.1:9", connection="clinic", client=Client("http://127.0.0.1:9", token="x", retries=0)
    )
    assert "could not be reached" in str(tool.run(statement="SELECT 1"))
