"""The revision store: what was published stays, in order, and only one of two writers wins."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.state.audit import AuditLog
from gateway.state.errors import PublishConflict, StateCorrupt, UnknownRevision
from gateway.state.revision import Cause, Content, Proposal
from gateway.state.store import RevisionStore


def proposal(text: str = "route: digits", author: str = "ann", reason: str = "") -> Proposal:
    return Proposal(Content({"routes/digits.yaml": text}, {"digits": '{"step":0}'}), author, Cause.APPLY, reason)


@pytest.fixture
def store(engine: Engine) -> RevisionStore:
    return RevisionStore(engine)


def test_a_new_state_holds_nothing(store: RevisionStore) -> None:
    """Before anything is published there is no live revision, and its number is 0."""
    assert (0, None, ()) == (store.live_number(), store.live(), store.history())


def test_what_was_published_is_read_back_equal(store: RevisionStore) -> None:
    """Documents, states, author, reason and time come back as they were given."""
    published = store.append(proposal("arms: {ä: 1}\n", reason="because"), replaces=0, at=1e9 + 0.123456)
    assert published == store.live() == store.get(1)
    assert (1, "ann", "because", 1e9 + 0.123456) == (
        *(published.number, published.author, published.reason, published.at),
    )


def test_numbers_rise_by_one_and_each_names_the_one_before(store: RevisionStore) -> None:
    """The history is a chain: every revision carries the digest of what it replaced."""
    revisions = [store.append(proposal(f"v{n}"), replaces=n, at=float(n)) for n in range(5)]
    assert [1, 2, 3, 4, 5] == [revision.number for revision in revisions]
    assert ["", *(revision.digest for revision in revisions[:-1])] == [revision.previous for revision in revisions]
    assert [5, 4, 3] == [head.number for head in store.history(limit_n=3)]
    assert [2, 1] == [head.number for head in store.history(before=3)]


def test_who_comes_second_is_told_who_was_first(store: RevisionStore) -> None:
    """Two people edit at once: one wins, the other learns who did and when, and nothing of theirs is stored."""
    store.append(proposal(author="ann"), replaces=0, at=5.0)
    with pytest.raises(PublishConflict) as caught:
        store.append(proposal("other", author="bob"), replaces=0, at=6.0)
    assert (1, "ann", 5.0) == (caught.value.live, caught.value.author, caught.value.at)
    assert 1 == store.live_number()


def test_both_the_winner_and_the_loser_are_in_the_audit_log(store: RevisionStore, engine: Engine) -> None:
    """Refused changes are written down too, each with who asked."""
    store.append(proposal(author="ann"), replaces=0, at=5.0)
    with pytest.raises(PublishConflict):
        store.append(proposal("other", author="bob"), replaces=0, at=6.0)
    entries = [(entry.deed.author, entry.deed.outcome) for entry in AuditLog(engine).entries()]
    assert [("bob", "refused"), ("ann", "done")] == entries


def test_of_many_writers_at_once_exactly_one_wins_each_number(store: RevisionStore) -> None:
    """Compare-and-set holds between threads as between processes: no number twice, none skipped."""
    won: list[int] = []

    def publish(name: str) -> None:
        for _ in range(5):
            while True:
                try:
                    won.append(store.append(proposal(name, name), replaces=store.live_number(), at=0.0).number)
                    break
                except PublishConflict:
                    continue

    threads = [threading.Thread(target=publish, args=(f"writer {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(1, 21)) == sorted(won)


def test_a_number_that_never_was_is_refused_with_the_latest(store: RevisionStore) -> None:
    """Whoever mistypes a number learns how far they go."""
    store.append(proposal(), replaces=0, at=0.0)
    with pytest.raises(UnknownRevision, match="no revision 7; the latest is 1"):
        store.get(7)


def test_a_text_is_stored_once_however_many_revisions_hold_it(store: RevisionStore, engine: Engine) -> None:
    """A thousand small changes to one route do not store the others a thousand times."""
    for n in range(3):
        documents = {"routes/same.yaml": "the same", "routes/other.yaml": f"other {n}"}
        store.append(Proposal(Content(documents), "ann", Cause.APPLY), replaces=n, at=0.0)
    with engine.connect() as connection:
        assert 4 == connection.execute(text("SELECT count(*) FROM text")).scalar_one()


@pytest.mark.parametrize("statement", ["UPDATE revision SET author = 'eve'", "DELETE FROM text", "DELETE FROM audit"])
def test_the_database_itself_refuses_to_change_the_past(store: RevisionStore, engine: Engine, statement: str) -> None:
    """Append-only is no promise of our code alone."""
    store.append(proposal(), replaces=0, at=0.0)
    with pytest.raises(SQLAlchemyError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    assert store.live() is not None


def test_a_revision_that_was_tampered_with_is_refused(store: RevisionStore, engine: Engine) -> None:
    """Somebody with the database's password changed an author: the store says so and serves nothing of it."""
    store.append(proposal(), replaces=0, at=0.0)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER revision_no_update"))
        else:
            connection.execute(text("DROP TRIGGER revision_append_only ON revision"))
        connection.execute(text("UPDATE revision SET author = 'eve'"))
    with pytest.raises(StateCorrupt, match="revision 1 is not what was written"):
        store.live()


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, NAMES, max_size=5), st.dictionaries(NAMES, NAMES, max_size=5), NAMES, NAMES)
def test_any_text_survives(
    store: RevisionStore, documents: dict[str, str], states: dict[str, str], author: str, reason: str
) -> None:
    """Whatever people write in whatever script is what they get back."""
    wanted = Proposal(Content(documents, states), author, Cause.UNDO, reason)
    published = store.append(wanted, replaces=store.live_number(), at=1.5)
    assert (published, wanted.content) == (store.live(), published.content)
