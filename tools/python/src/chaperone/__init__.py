"""Ask clinical databases through the Chaperone gateway.

`Client` posts statements and gives back typed answers. `chaperone.crewai`
holds the tool for CrewAI agents and is imported only by those who use it.
"""

from chaperone.client import Client
from chaperone.errors import ChaperoneError, ConnectionFailed, Problem
from chaperone.types import Column, Pending, QueryResult, Reason, State

__all__ = [
    "ChaperoneError",
    "Client",
    "Column",
    "ConnectionFailed",
    "Pending",
    "Problem",
    "QueryResult",
    "Reason",
    "State",
]
__version__ = "0.1.0"
