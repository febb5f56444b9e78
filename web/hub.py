"""Asking the Hub for something, again where that may help, and what went wrong in one sentence without any token."""

from collections.abc import Callable
from typing import TypeVar

import httpx
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

ATTEMPTS, FIRST_WAIT_S, LONGEST_WAIT_S = 5, 1.0, 30.0
T = TypeVar("T")
LOST = (httpx.TransportError, ConnectionError, TimeoutError)  # a connection; other OSErrors are this machine's
LASTING = (400, 401, 403, 404, 410, 413, 422)  # asking again does not help


class HubError(RuntimeError):
    """The Hub did not do it; the text is one sentence for the user."""


def is_transient(error: BaseException) -> bool:
    """Return whether asking again may help: lost connections, time-outs, a Hub that is busy or broken."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        return status not in LASTING
    return isinstance(error, LOST) and not isinstance(error, OfflineModeIsEnabled)


def ask_hub(
    action: Callable[[], T], repo_id: str, *, attempts: int = ATTEMPTS, first_wait_s: float = FIRST_WAIT_S,
    later: str = "",
) -> T:  # fmt: skip
    """Do it, again where that may help.

    Args:
        action: a call that does no harm when it is made twice.
        repo_id: "owner/name", for the message.
        attempts: how often it is tried before it counts as failed.
        first_wait_s: before the second attempt; doubled each time, with some jitter.
        later: what becomes of it when the Hub cannot be reached, for the message.

    Raises:
        HubError: it did not work; what the Hub said is left out where it may hold the token.
        OSError: this machine did not do it, e.g. its disk is full.
    """

    def attempt() -> T:
        try:
            return action()
        except LocalEntryNotFoundError as error:  # what a download makes of anything that kept it from asking
            raise error.__cause__ or error from None

    retrying = Retrying(
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(first_wait_s, LONGEST_WAIT_S) + wait_random(0, first_wait_s),
        retry=retry_if_exception(is_transient),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise HubError(f"The Hub refused ({status}) for {repo_id}{_advice(status)}.") from None
    except LocalTokenNotFoundError:
        raise HubError(f"There is no token that may write to {repo_id}; set HF_TOKEN, or log in with hf.") from None
    except OfflineModeIsEnabled:
        raise HubError("The Hub is not asked while HF_HUB_OFFLINE is set; unset it and try again.") from None
    except LOST as error:
        raise HubError(f"The Hub cannot be reached ({type(error).__name__}){later}.") from None


def _advice(status: int) -> str:
    if status in (401, 403):
        return "; check that the token may write there"
    return "; check the repository's name" if status == 404 else ""
