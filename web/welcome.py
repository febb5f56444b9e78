"""Whoever opens a tab; see `web.identity.Gate`."""

from web.identity import Claim, Gate, Visitor, Welcome

__all__ = ["Welcome", "look_on", "welcome"]


def welcome(gate: Gate, claim: Claim) -> Welcome:
    """As `Gate.welcome`."""
    return gate.welcome(claim)


def look_on(gate: Gate, claim: Claim) -> Visitor | None:
    """As `Gate.admit_anyone`."""
    return gate.admit_anyone(claim)
