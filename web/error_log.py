"""What nobody foresaw, in the log: one traceback of each kind, repeats counted, of others' texts a short piece.

    limit_server_logs()          # once, before the page is served
    log_error(error)      # wherever an exception ends that nobody expected
"""

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Iterator

log = logging.getLogger(__name__)
LONGEST = 200  # characters of what a message may hold of somebody else's text
UNEXPECTED = "This could not be done: an error that nobody foresaw. Whoever runs the server finds it in the log."
SERVERS = ("uvicorn.error", "asyncio", "py.warnings")  # loggers that tell of errors beside the handlers
Kind = tuple[str, str, int]

_counts: Counter[Kind] = Counter()
_lock = threading.Lock()


def brief(text: object, longest: int = LONGEST) -> str:
    """Return a text of unknown origin in one line: without what is not printable, and cut."""
    message = str(text)
    cut = message[:longest]
    line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in cut)
    return line if len(message) <= longest else f"{line}... ({len(message):,} characters)"


def log_error(error: BaseException) -> None:
    """Log an exception: with its traceback the first time, by its count at 10, 100 and so on."""
    words = _message(error)
    if words:
        log.error("%s", words)


def _message(error: BaseException) -> str:
    """Return what there is to log; "" where the like was logged and no round number is reached."""
    kind = _kind(error)
    with _lock:
        _counts[kind] += 1
        count = _counts[kind]
    if count == 1:
        return "".join(_traceback_lines(error)).rstrip()
    if str(count).strip("0") == "1":
        return f"{kind[0]} at {kind[1]}:{kind[2]} again, {count:,} times so far"
    return ""


def _kind(error: BaseException) -> Kind:
    """Type and place; the same fault in other words is of the same kind."""
    codes = [frame.f_code for frame, _line in traceback.walk_tb(error.__traceback__)]
    place = (codes[-1].co_filename, codes[-1].co_firstlineno) if codes else ("", 0)
    return type(error).__name__, *place


def _traceback_lines(error: BaseException) -> Iterator[str]:
    """Yield a traceback as Python prints it, oldest cause first, but for the messages, of which there is the
    beginning."""
    known: set[int] = set()
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and id(current) not in known:
        known.add(id(current))
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    for number, one in enumerate(reversed(chain)):
        yield "then, from it:\n" if number else "an error that nobody foresaw\n"
        yield from traceback.format_list(traceback.extract_tb(one.__traceback__))
        yield f"{type(one).__name__}: {brief(one)}\n"


class OncePerKind(logging.Filter):
    """Lets one record of each kind pass, with nobody's text at length; for loggers of libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it is logged; the record is made brief."""
        message, error = brief(record.getMessage().strip(), 5 * LONGEST), record.exc_info and record.exc_info[1]
        record.args, record.exc_info, record.exc_text = None, None, None
        record.msg = message
        if not error:
            return True
        record.msg = _message(error)
        return bool(record.msg)


def limit_server_logs() -> None:
    """Let the server's own loggers say everything once, and briefly; again, it changes nothing."""
    for name in SERVERS:
        logger = logging.getLogger(name)
        if not any(isinstance(known, OncePerKind) for known in logger.filters):
            logger.addFilter(OncePerKind())
