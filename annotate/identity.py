"""Who is annotating: what the pages ask of any way to sign in, and the local way, a chosen name."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

NAME_COOKIE = "gazevlm_name"
SHORTEST_NAME, LONGEST_NAME = 2, 40  # characters
NAME_SIGNS = frozenset(" .-_'")
ANNOTATOR = "annotator"
NO_NAME = "Choose a name first: 2 to 40 letters, digits, spaces and any of . - _ '"


class Asked(Protocol):
    """What is needed of a web request."""

    @property
    def cookies(self) -> Mapping[str, str]:
        """As the browser sent them."""


class Pseudonyms(Protocol):
    """What is needed of the store."""

    def pseudonym(self, name: str) -> str:
        """The name under which somebody's records leave the store."""


@dataclass(frozen=True)
class Person:
    """Whoever sent a request.

    Args:
        pseudonym: under which records are stored.
        roles: what the person may do, "annotator" among them.
        name: as shown to the person alone.
    """

    pseudonym: str
    roles: frozenset[str]
    name: str


class Identity(Protocol):
    """A way to sign in."""

    @property
    def asks_name(self) -> bool:
        """Whether the page shows a field for a name of one's choice, sent as a cookie."""

    def who(self, request: Asked) -> Person:
        """The person behind a request.

        Raises:
            ValueError: nobody known; the sentence says what to do.
        """


class ChosenName:
    """A name that people choose in the page: for a laptop or a trusted network, where nobody pretends to be another.

    Args:
        store: gives the pseudonyms.
    """

    asks_name = True

    def __init__(self, store: Pseudonyms) -> None:
        self._store = store

    def who(self, request: Asked) -> Person:
        """See `Identity`."""
        name = checked_name(unquote(request.cookies.get(NAME_COOKIE, "")[: 12 * LONGEST_NAME]))
        return Person(self._store.pseudonym(name), frozenset({ANNOTATOR}), name)


def checked_name(text: str) -> str:
    """A name in its one form: NFC, without space around it.

    Raises:
        ValueError: too short, too long, or with signs that names have no need of.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not SHORTEST_NAME <= len(name) <= LONGEST_NAME:
        raise ValueError(NO_NAME)
    if not all(sign.isalnum() or sign in NAME_SIGNS or unicodedata.category(sign) == "Mn" for sign in name):
        raise ValueError(NO_NAME)
    return name
