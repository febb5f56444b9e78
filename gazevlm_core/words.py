"""The words that go in and come out: which questions a model knows, where an answer begins to repeat itself, and what
else cuts it short."""

import re
import unicodedata
from collections.abc import Sequence

LONGEST_QUESTION = 500  # characters
LONGEST_PERIOD = 40  # words of the longest loop that is found
REPEATS, WORD_REPEATS, PART_REPEATS = 3, 4, 8  # of several words, of one word, of a part of a word: that is a loop
LOOP_NOTE = "The text went on repeating itself, and was cut where it began to."
LENGTH_NOTE = "The text reached the longest length that was asked for, and was cut there."
STOPPED_NOTE = "Stopped before the answer was complete."
CUT_SHORT = (LOOP_NOTE, LENGTH_NOTE, STOPPED_NOTE)  # notes of an answer whose last sentence may be a part of one
_THERE = re.compile(r"(?:is|are) there (?:(?:an?|any) )?(?P<finding>.+)")
_PART_LOOP = re.compile(rf"(?P<part>\S{{1,20}}?)(?P=part){{{PART_REPEATS - 1},}}")
_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?]+(?=\s|$)|(?=\s*(?:\n|$)))")
_WHOLE = re.compile(r".*(?:[.!?](?=\s|$)|\n)", re.DOTALL)
_PRESENCE = re.compile(r"(?:Is|Are) there (?P<finding>.+)\?")


class UnknownQuestionError(ValueError):
    """A question that the model was not trained on; the message lists the ones that it knows."""


def check_question(question: object) -> str:
    """Return the question without surrounding blanks.

    Raises:
        ValueError: no text, empty or too long.
    """
    if not isinstance(question, str):
        raise ValueError("The question must be a text; write one.")
    question = question.strip()
    if not question:
        raise ValueError("The question is empty; ask something about the image.")
    if len(question) > LONGEST_QUESTION:
        raise ValueError(f"The question has {len(question)} characters; shorten it to {LONGEST_QUESTION}.")
    return question


def recognised(question: str, known: Sequence[str], model: str = "This model") -> str:
    """Return a question in the wording that a model was trained on.

    Case, blanks, punctuation and an article behind "Is there" do not matter; nothing else is guessed.

    Args:
        known: every question that the model was trained on; none for one that answers freely, which gets it as it is.
        model: its name, for the message.

    Raises:
        UnknownQuestionError: it is none of them.
    """
    if not known:
        return question
    wordings = {_key(one): one for one in known}
    found = wordings.get(_key(question))
    if found is None:
        raise UnknownQuestionError(
            f"{model} was not taught this question, so it does not answer it. {known_questions_words(known)}"
        )
    return found


def known_questions_words(known: Sequence[str]) -> str:
    """Return every question that a model knows, in a sentence or two; those about the presence of a finding in one."""
    presence = {one: match["finding"] for one in known if (match := _PRESENCE.fullmatch(one))}
    others = ", ".join(f'"{one}"' for one in known if one not in presence)
    parts = [f"It knows {others}" if others else "", (
        f'{"And" if others else "It knows"} "Is there ...?" of: {", ".join(presence.values())}.' if presence else ""
    )]  # fmt: skip
    return " ".join(filter(None, parts))


def _key(question: str) -> str:
    """Return what two wordings of one question have in common."""
    text = unicodedata.normalize("NFKC", question).casefold()
    words = " ".join(re.findall(r"\w+", text))
    match = _THERE.fullmatch(words)
    return f"is there {match['finding']}" if match else words


def cut_loop(text: str) -> str:
    """Return a text up to where it begins to repeat itself; the same text where it does not.

    A loop is a run of words that stands three times in a row (a single word four times, a part of a word eight times);
    its first turn is kept.
    """
    ends = [(match.group().casefold(), match.end()) for match in re.finditer(r"\S+", text)]
    words = [word for word, _ in ends]
    cuts = [len(text)]
    for period in range(1, min(LONGEST_PERIOD, len(words) // REPEATS) + 1):
        wanted = period * ((WORD_REPEATS if period == 1 else REPEATS) - 1)
        run = 0
        for index in range(len(words) - period):
            run = run + 1 if words[index] == words[index + period] else 0
            if run == wanted:
                cuts.append(ends[index - wanted + period][1])
                break
    for match in _PART_LOOP.finditer(text):
        if any(character.isalpha() for character in match["part"]):  # a ruler of dashes is none
            cuts.append(match.start() + len(match["part"]))
            break
    return text[: min(cuts)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the first character of each sentence, and the one behind its last; a line ends a sentence too."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def whole_sentences(text: str) -> str:
    """Return the whole sentences of a text that was cut short; a line ends a sentence too."""
    match = _WHOLE.match(text)
    return match.group().rstrip() if match else ""
