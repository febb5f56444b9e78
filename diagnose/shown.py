"""What one visitor's page shows; kept on the server between events."""

from dataclasses import dataclass, replace

from diagnose.view import model_paths, reader_path, viewer_grid
from gazevlm_core.records import Diagnosis
from web.viewer.payload import Role, ViewerPayload

ROLES: tuple[Role, Role] = ("model", "second model")
MOST_EARLIER = 50  # questions about one image


@dataclass(frozen=True)
class Exchange:
    """A question about the image, and the first model's answer."""

    question: str
    answer: str


@dataclass(frozen=True, eq=False)
class Result:
    """What one choice said, so far.

    Args:
        title: what it is called beside another one, e.g. "gazevlm-nano, temperature 0.7".
        diagnosis: the latest record.
        seconds: since the question was asked.
    """

    title: str
    diagnosis: Diagnosis
    seconds: float


@dataclass(frozen=True, eq=False)
class Shown:
    """An image with everything that was said about it.

    Args:
        value: of a viewer that shows the image alone.
        name: of the image, for the record; never used as a path.
        upload: path of the uploaded file, or None.
        example: number of the example, or None.
        question: the latest, or "".
        results: about the latest question; two where they are compared.
        earlier: the last MOST_EARLIER questions before the latest, oldest first.
    """

    value: ViewerPayload
    name: str
    upload: str | None = None
    example: int | None = None
    question: str = ""
    results: tuple[Result, ...] = ()
    earlier: tuple[Exchange, ...] = ()

    def asked(self, question: str) -> "Shown":
        """With another question, and no result yet."""
        return replace(self, question=question, results=(), earlier=self.exchanges()[-MOST_EARLIER:])

    def with_result(self, number: int, result: Result) -> "Shown":
        """With the newest state of the first (0) or second (1) result."""
        return replace(self, results=(*self.results[:number], result))

    def exchanges(self) -> tuple[Exchange, ...]:
        """All questions and answers about the image, the latest one too."""
        if not self.results:
            return self.earlier
        return (*self.earlier, Exchange(self.question, self.results[0].diagnosis.answer))

    def payload(self, number: int, *, revealed: bool, autoplay: bool = False) -> ViewerPayload:
        """Value of one result's viewer.

        Args:
            number: 0 or 1; one without a result shows the image alone.
            revealed: whether the simulated reader's path of an example lies beside the model's.
            autoplay: replay at once.
        """
        paths, grid = [], None
        if number < len(self.results):
            diagnosis = self.results[number].diagnosis
            paths, grid = model_paths(diagnosis, ROLES[number]), viewer_grid(diagnosis)
        if revealed and self.example is not None:
            paths = [*paths, reader_path(self.example)]
        return self.value.model_copy(update={"paths": paths, "grid": grid, "autoplay": autoplay})
