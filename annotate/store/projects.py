"""Projects of a store: made, changed, closed; never erased, since records name them."""

from collections.abc import Collection
from dataclasses import asdict, fields, replace

from sqlalchemy import Connection, func, select, update

from annotate.store.base import write_audit
from annotate.store.database import reads, writes
from annotate.store.images import Images
from annotate.store.model import MAIN_PROJECT, AuditEntry, StoreError
from annotate.store.project import MOST_PROJECTS, Project, slug_of
from annotate.store.queue import NO_PROJECT
from annotate.store.tables import AUDIT, IMAGES, PROJECT, PROJECTS, adapter_of, values_of

ADDED, CHANGED = "project added", "project changed"  # in the audit log, with all that it is from then on
CLOSED = "The project {name!r} is closed: it gives out no images; choose another one."
FULL = f"A store has at most {MOST_PROJECTS} projects; go on in one of them."


class Projects(Images):
    """The projects of a store."""

    @reads
    def project(self, connection: Connection, slug: str = MAIN_PROJECT) -> Project:
        """Return a project.

        Raises:
            StoreError: there is none of that short name.
        """
        return find_project(connection, slug)

    @reads
    def projects(self, connection: Connection) -> list[Project]:
        """Return all projects, the first one first."""
        return _all(connection)

    @reads
    def images_in_projects(self, connection: Connection) -> dict[str, int]:
        """Return how many images each project has; one without images is not named."""
        query = select(IMAGES.c.project, func.count().label("images")).group_by(IMAGES.c.project)
        return {row.project: row.images for row in connection.execute(query)}

    @writes
    def add_project(self, connection: Connection, name: str, by: str) -> Project:
        """Add a project with the usual settings; its short name is made of its name.

        Raises:
            StoreError: no name, one that another project has, or too many projects.
        """
        there = _all(connection)
        name = _free_name(name, there)
        slug, taken = slug_of(name), {one.slug for one in there}
        further = (f"{slug}-{number}" for number in range(2, len(taken) + 3))
        project = Project(name=name, slug=next(one for one in (slug, *further) if one not in taken))
        _insert(connection, project)
        write_audit(connection, self.now_us(), by, ADDED, _subject(project.slug), **asdict(project))
        return project

    def set_project(self, project: Project, by: str) -> None:
        """Decide anew what holds in a project; what is being annotated goes on as it was begun.

        Tasks that asked the question that it had before ask the new one.

        Raises:
            StoreError: there is no such project, or another one has its name.
        """
        before = self._set_project(project, by)
        if before.question == project.question:
            return
        same = (IMAGES.c.project == project.slug) & (IMAGES.c.question == before.question)
        query = select(IMAGES.c.sha256).where(same, IMAGES.c.offered).order_by(IMAGES.c.sha256)
        for sha256 in self.database.read(lambda connection: list(connection.scalars(query))):
            self.set_task(sha256, by, question=project.question)  # a short transaction each, as in `close_done`

    @writes
    def _set_project(self, connection: Connection, project: Project, by: str) -> Project:
        before = find_project(connection, project.slug)
        if before != project:
            _free_name(project.name, [one for one in _all(connection) if one.slug != project.slug])
            _write(connection, project)
            write_audit(connection, self.now_us(), by, CHANGED, _subject(project.slug), **asdict(project))
        return before


def find_project(connection: Connection, slug: str) -> Project:
    """Return a project.

    Raises:
        StoreError: there is none of that short name.
    """
    found = connection.execute(select(*PROJECT).where(PROJECTS.c.slug == slug)).first()
    if found is None:
        raise StoreError(NO_PROJECT)
    return Project(*found)


def check_open(project: Project) -> Project:
    """Return a project that gives out images.

    Raises:
        StoreError: it is closed.
    """
    if project.closed:
        raise StoreError(CLOSED.format(name=project.name))
    return project


def ensure_project(connection: Connection, slug: str) -> None:
    """Make a project that an image which comes back names and the store does not have; its log may say more of it.

    Raises:
        StoreError: too many projects.
    """
    if connection.scalar(select(PROJECTS.c.id).where(PROJECTS.c.slug == slug)) is None:
        _insert(connection, Project(name=slug, slug=slug))


def follow_log(connection: Connection, entry: AuditEntry) -> None:
    """Let a project be what an entry of the log that comes back says of it, unless a later one says otherwise.

    So projects come back by the log, as they do not lie beside it.
    """
    if entry.action not in (ADDED, CHANGED):
        return
    known = {one.name for one in fields(Project)}
    try:
        project = adapter_of(Project).validate_python({k: v for k, v in entry.details.items() if k in known})
    except ValueError:
        return  # an entry is kept whatever it says
    subjects = {entry.subject, _subject(project.slug)}  # earlier programs had one project, without its short name
    latest = connection.scalar(select(func.max(AUDIT.c.at)).where(AUDIT.c.subject.in_(subjects)))
    if latest is None or latest <= entry.at:
        ensure_project(connection, project.slug)
        _write(connection, project)


def _subject(slug: str) -> str:
    return f"project {slug}"


def _all(connection: Connection) -> list[Project]:
    return [Project(*row) for row in connection.execute(select(*PROJECT).order_by(PROJECTS.c.id))]


def _free_name(name: str, others: Collection[Project]) -> str:
    """Return a name that none of the others has, with single blanks."""
    name = " ".join(name.split())
    replace(Project(), name=name)  # checks it
    if name.casefold() in {one.name.casefold() for one in others}:
        raise StoreError("There is a project of this name already; choose another one.")
    return name


def _insert(connection: Connection, project: Project) -> None:
    number = int(connection.scalar(select(func.max(PROJECTS.c.id))) or 0) + 1  # the first one is there from the start
    if number >= MOST_PROJECTS:
        raise StoreError(FULL)
    connection.execute(PROJECTS.insert().values(id=number, **values_of(PROJECTS, project)))


def _write(connection: Connection, project: Project) -> None:
    row = PROJECTS.c.slug == project.slug
    connection.execute(update(PROJECTS).where(row).values(values_of(PROJECTS, project)))
