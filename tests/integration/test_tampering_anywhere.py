"""Any byte of a ledger, and any row: hypothesis looks for one whose change nobody notices."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tampered import alone, copied, first_entry, lines

from noctuary.lab import Lab

COLUMNS = {
    "entries": ("idx", "sha256", "envelope"),
    "nodes": ("level", "idx", "hash"),
    "heads": ("size", "note"),
    "meta": ("value",),
}
KEYS = {"entries": "idx", "nodes": "level * 100 + idx", "heads": "size", "meta": "name"}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_changed_anywhere_is_found_by_both(
    original: Lab, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Only an older head that no seeds were drawn from can go unseen; so no head is removed."""
    account = copied(original, tmp_path_factory.mktemp("any"))
    table = data.draw(st.sampled_from(sorted(COLUMNS)))
    row = data.draw(st.sampled_from(account.texts(f"SELECT {KEYS[table]} FROM {table} ORDER BY 1")))
    where = f"{KEYS[table]} = {row!r}"
    if table != "heads" and data.draw(st.booleans()):
        account.run(f"DELETE FROM {table} WHERE {where}")
    else:
        column = data.draw(st.sampled_from(COLUMNS[table]))
        [value] = account.texts(f"SELECT {column} FROM {table} WHERE {where}")
        if isinstance(value, int):
            account.change(table, where, column, value + data.draw(st.sampled_from([-100, 100])))
        else:
            content = bytearray(value if isinstance(value, bytes) else value.encode())
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
            account.change(table, where, column, bytes(content))
    ours, theirs = lines(account), alone(account)
    assert ours
    assert theirs
    assert first_entry(ours) == first_entry(theirs), (ours, theirs)
