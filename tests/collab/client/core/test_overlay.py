from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.client.core.overlay import Lens, Op
from collab.client.core.values import Rows
from collab.wire.realtime.messages import Create, Delete, Restore, Update
from collab.wire.realtime.values import Written

AT = "2024-01-01T00:00:00.000Z"
QUERY = {"where": {"open": True}, "orderBy": {"n": "asc"}, "limit": 3}


def create(entity: str, **data: Any) -> Op:
    op = Op.of(Create(id=1, collection="tasks", entity=entity, data=data), AT)
    assert op is not None
    return op


def update(entity: str, *unset: str, **changes: Any) -> Op:
    op = Op.of(Update(id=1, collection="tasks", entity=entity, changes=changes, unset=unset), AT)
    assert op is not None
    return op


def delete(entity: str) -> Op:
    op = Op.of(Delete(id=1, collection="tasks", entity=entity), AT)
    assert op is not None
    return op


def row(entity: str, **fields: Any) -> dict[str, Any]:
    return {"id": entity, "open": True, **fields}


def over(rows: list[dict[str, Any]], *ops: Op, query: Any = QUERY, fields: Any = None, version: int = 1) -> Rows:
    return Lens(query, fields).over(rows, {each["id"]: version for each in rows}, ops)


def ids(rows: Rows) -> list[str]:
    return [each["id"] for each in rows]


def test_a_creation_stands_where_it_belongs_and_pushes_out_what_is_over_the_limit() -> None:
    rows = over([row("a", n=1), row("b", n=3), row("c", n=4)], create("new", open=True, n=2))
    assert ids(rows) == ["a", "new", "b"]
    assert rows.versions == [1, 0, 1]
    assert rows[1] == {"id": "new", "open": True, "n": 2, "createdAt": AT, "updatedAt": AT}


def test_what_the_query_does_not_want_is_not_shown() -> None:
    assert ids(over([row("a", n=1)], create("new", open=False, n=2))) == ["a"]
    assert ids(over([row("a", n=1), row("b", n=2)], update("a", open=False))) == ["b"]


def test_an_update_moves_its_row() -> None:
    rows = over([row("a", n=1), row("b", n=2, tag="x")], update("b", "tag", n=0))
    assert rows == [{"id": "b", "open": True, "n": 0, "updatedAt": AT}, row("a", n=1)]


def test_an_update_of_what_is_not_here_waits_for_the_server() -> None:
    assert ids(over([row("a", n=1)], update("b", open=True))) == ["a"]


def test_a_deleted_row_is_gone() -> None:
    assert ids(over([row("a", n=1), row("b", n=2)], delete("a"))) == ["b"]
    assert ids(over([], create("a", open=True), update("a", n=1), delete("a"))) == []


def test_writes_lie_over_each_other_in_order() -> None:
    rows = over([], create("a", open=True, n=1), update("a", n=2), update("a", n=3))
    assert [each["n"] for each in rows] == [3]


def test_a_part_of_the_rows_is_changed_in_place_only() -> None:
    partial = [{"id": "a", "n": 1}, {"id": "b", "n": 2}]
    rows = over(partial, update("a", n=9, other=1), create("c", open=True), fields=["n"])
    assert rows == [{"id": "a", "n": 9}, {"id": "b", "n": 2}]


def test_behind_the_first_page_nothing_is_created() -> None:
    assert ids(over([row("a", n=1)], create("new", open=True), query={**QUERY, "offset": 5})) == ["a"]


def test_a_query_that_makes_no_sense_changes_in_place() -> None:
    assert over([row("a", n=1)], update("a", n=5), query={"where": {"AND": 5}})[0]["n"] == 5


def test_what_the_rows_have_already_is_not_done_again() -> None:
    done = update("a", n=9).committed(Written(data=row("a", n=7), version=2), 1)
    assert over([row("a", n=1)], done, version=2)[0]["n"] == 1
    assert over([row("a", n=1)], done, version=1)[0]["n"] == 7, "that is what the server made of it"
    made = create("b", open=True, n=0).committed(Written(data=row("b", n=5), version=1), 1)
    assert ids(over([row("a", n=1)], made)) == ["a", "b"]


def test_what_waits_is_newer_than_all_that_was_told_in_the_order_in_which_it_was_made() -> None:
    newest = "2030-01-01T00:00:00.000Z"
    rows = [row("b", createdAt=newest, updatedAt=newest), row("a", createdAt=AT, updatedAt=AT)]
    own = [create(name, open=True) for name in ("z", "c", "y")]
    shown = over(rows, *own, query={"orderBy": {"createdAt": "desc"}, "limit": 4})
    assert ids(shown) == ["y", "c", "z", "b"]
    shown = over(rows, *own, query={"orderBy": {"createdAt": "asc"}})
    assert ids(shown) == ["a", "b", "z", "c", "y"]
    changed = over(rows, update("a", n=1), query={"orderBy": {"updatedAt": "desc"}})
    assert ids(changed) == ["a", "b"]


def test_a_row_that_left_is_not_shown_by_an_older_write() -> None:
    made = create("b", open=True, n=0).committed(Written(data=row("b", n=0), version=1), 1)
    assert Lens(QUERY, None).over([], {"b": 2}, [made]) == []
    again = Lens(QUERY, None).over([], {"b": 2}, [create("b", open=True, n=0)])
    assert (ids(again), again.versions) == (["b"], [0])


def test_what_a_restored_entity_is_only_the_server_knows() -> None:
    assert Op.of(Restore(id=1, collection="tasks", entity="a"), AT) is None


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 9), st.booleans()), max_size=12))
def test_with_own_writes_rows_stay_in_order_and_within_the_query(writes: list[tuple[str, int, bool]]) -> None:
    rows = [row("a", n=2), row("b", n=4), row("c", n=6)]
    ops = [
        update(name, n=n, open=open_) if name in "abc" else create(name, n=n, open=open_) for name, n, open_ in writes
    ]
    shown = over(rows, *ops)
    assert all(each["open"] for each in shown)
    assert [each["n"] for each in shown] == sorted(each["n"] for each in shown)
    assert len(shown) <= 3
    assert rows == [row("a", n=2), row("b", n=4), row("c", n=6)]
