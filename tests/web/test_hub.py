"""Asking the Hub: what is asked again, and what is said of what went wrong."""

import errno

import httpx
import pytest
from huggingface_hub.errors import (
    FileMetadataError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from web.hub import HubError, ask_hub, is_transient

REQUEST = httpx.Request("GET", "https://huggingface.co/api/models/a/b")
FULL = OSError(errno.ENOSPC, "No space left on device", "file")
CAUSES = {
    "offline": OfflineModeIsEnabled("offline"),
    "no route": httpx.ConnectError("no route", request=REQUEST),
    "busy": HfHubHTTPError("busy", response=httpx.Response(503, request=REQUEST)),
    "no hub": FileMetadataError("this is no Hub"),
}


def refused(status: int) -> HfHubHTTPError:
    return HfHubHTTPError("no", response=httpx.Response(status, request=REQUEST))


def not_downloaded(cause: str) -> LocalEntryNotFoundError:
    """As `hf_hub_download` raises it for whatever kept it from asking."""
    error = LocalEntryNotFoundError("Please check your connection")
    error.__cause__ = CAUSES[cause]
    return error


def asked(error: Exception) -> tuple[int, Exception]:
    """How often an action that fails so is tried, and what is raised in the end."""
    tries = []

    def fail() -> None:
        tries.append(1)
        raise error

    with pytest.raises(Exception) as caught:  # noqa: PT011 (the tests compare it)
        ask_hub(fail, "a/b", attempts=3, first_wait_s=0.001)
    return len(tries), caught.value


@pytest.mark.parametrize(
    ("error", "tries", "said"),
    [
        (httpx.ConnectError("no route", request=REQUEST), 3, "cannot be reached (ConnectError)"),
        (httpx.ReadTimeout("late", request=REQUEST), 3, "cannot be reached (ReadTimeout)"),
        (ConnectionResetError("reset"), 3, "cannot be reached (ConnectionResetError)"),
        (TimeoutError("late"), 3, "cannot be reached (TimeoutError)"),
        (refused(503), 3, "refused (503)"),
        (refused(429), 3, "refused (429)"),
        (refused(404), 1, "refused (404)"),
        (OfflineModeIsEnabled("offline"), 1, "HF_HUB_OFFLINE is set"),
        (LocalTokenNotFoundError("none"), 1, "There is no token"),
        (not_downloaded("no route"), 3, "cannot be reached (ConnectError)"),
        (not_downloaded("busy"), 3, "refused (503)"),
        (not_downloaded("offline"), 1, "HF_HUB_OFFLINE is set"),
    ],
)
def test_what_the_hub_did_not_do_is_one_sentence(error: Exception, tries: int, said: str) -> None:
    count, raised = asked(error)
    assert isinstance(raised, HubError)
    assert said in str(raised)
    assert count == tries


@pytest.mark.parametrize("error", [FULL, FileNotFoundError(errno.ENOENT, "No such file"), PermissionError("no")])
def test_what_this_machine_did_not_do_is_said_at_once_in_its_own_words(error: OSError) -> None:
    assert not is_transient(error)
    assert asked(error) == (1, error)


def test_what_does_not_look_like_a_hub_is_not_asked_again() -> None:
    assert asked(not_downloaded("no hub")) == (1, CAUSES["no hub"])
    bare = LocalEntryNotFoundError("nothing here")
    assert asked(bare) == (1, bare)


def test_an_action_that_works_at_last_is_done() -> None:
    tries = []

    def act() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionAbortedError
        return "done"

    assert ask_hub(act, "a/b", first_wait_s=0.001) == "done"
