"""Whoever opens a tab, with or without a name: what everybody may see is counted before it is looked at."""

from contextlib import suppress
from dataclasses import dataclass

from web.identity import LOGIN, Claim, Gate, NotAllowed, Role, Visitor

NAME = "Choose a name first; any will do. It is the same as in the Teach tab."


@dataclass(frozen=True)
class Welcome:
    """Who asks, as the server sees them.

    Args:
        visitor: None where nobody is named.
        problem: what to do to be somebody; "" where there is nothing to do.
    """

    visitor: Visitor | None
    problem: str = ""

    @property
    def roles(self) -> frozenset[Role]:
        """What they may do; nothing where nobody is named."""
        return self.visitor.roles if self.visitor else frozenset()


def welcome(gate: Gate, claim: Claim) -> Welcome:
    """Who asks; a name without a token is an annotator.

    Raises:
        NotAllowed: a wrong token, a name that cannot be used, or too many requests.
    """
    if _is_named(gate, claim):
        return Welcome(gate.admit(claim, "read"))
    gate.check_rate(claim, "read")
    return Welcome(None, NAME if gate.asks_name else LOGIN)


def look_on(gate: Gate, claim: Claim) -> Visitor | None:
    """Let everybody look, though not too often; a name that cannot be used or a wrong token count as nobody.

    Raises:
        NotAllowed: too many requests.
    """
    if _is_named(gate, claim):
        with suppress(NotAllowed):
            return gate.admit(claim, "read")  # counts before it makes anybody known to the store
    gate.check_rate(claim, "read")
    return None


def _is_named(gate: Gate, claim: Claim) -> bool:
    return bool(claim.name if gate.asks_name else claim.login)
