"""A masked field stays where it is: nothing is asked with it, and nothing carries it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.project import Project, resource

PEOPLE = """\
base_url: https://a.example
resources:
  users:
    path: /users
    mask: {email: drop, home.street: last4, "cards[].no": last4}
    %s
  pets:
    for_each: {resource: users}
    path: /pets
    %s
  toys:
    for_each: {resource: pets}
    path: /toys/{pets.id}
    %s
"""
_IS_MASKED = r"is masked in users, and a run that resumes has only its masked value to ask with; "
_WRITTEN = r"is masked in users, and would be written as it is; "
_OTHERWISE = r"use another field, or take it out of the `mask` of users"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project that is the current folder."""
    return Project(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("users", "pets", "toys", "expected"),
    [
        pytest.param("", "params: {of: '{users.email}'}", "",
                     rf"10: resources\.pets\.params: \{{users\.email\}} {_IS_MASKED}{_OTHERWISE}", id="a-parameter"),
        pytest.param("", "headers: {X-Of: 'a {users.home.street}'}", "",
                     rf"10: resources\.pets\.headers: \{{users\.home\.street\}} {_IS_MASKED}.*", id="a-header"),
        pytest.param("", "body: {of: ['{users.home}']}", "",
                     rf"10: resources\.pets\.body: \{{users\.home\}} {_IS_MASKED}.*", id="what-holds-it"),
        pytest.param("", "count: {path: '/{users.email.host}/n'}", "",
                     rf"10: resources\.pets\.count: \{{users\.email\.host\}} {_IS_MASKED}.*", id="a-part-of-it"),
        pytest.param("", "graphql: {query: q, variables: {of: '{users.email}'}}", "",
                     rf"10: resources\.pets\.graphql: \{{users\.email\}} {_IS_MASKED}.*", id="a-variable"),
        pytest.param("", "", "params: {of: '{users.email}'}",
                     rf"14: resources\.toys\.params: \{{users\.email\}} {_IS_MASKED}.*", id="a-grandparent"),
        pytest.param("", "carry: {of: email}", "",
                     rf"10: resources\.pets\.carry\.of: 'email' {_WRITTEN}{_OTHERWISE}", id="carried"),
        pytest.param("", "", "carry: {of: users.cards}",
                     rf"14: resources\.toys\.carry\.of: 'users\.cards' {_WRITTEN}.*", id="carried-list"),
        pytest.param("", "carry: {of: users}", "",
                     rf"10: resources\.pets\.carry\.of: 'users' {_WRITTEN}.*", id="carried-whole"),
        pytest.param("paginate: {last_id: {field: email, param: after}}", "", "",
                     r"6: resources\.users\.paginate: 'email' is masked, and a run that resumes has only its "
                     r"masked value to ask with; page by another field, or take it out of `mask`", id="paged-by"),
        pytest.param("paginate: {last_id: {field: home.street, param: after}}", "", "",
                     r"6: resources\.users\.paginate: 'home\.street' is masked.*", id="paged-by-a-part"),
        pytest.param("paginate: {cursor: {from: '[-1].email', param: after}}", "", "",
                     r"6: resources\.users\.paginate: '\[-1\]\.email' is masked.*", id="a-token-in-a-record"),
        pytest.param("records: {rows: user, single: true}\n    paginate: {next_url: user.email}", "", "",
                     r"7: resources\.users\.paginate: 'user\.email' is masked.*", id="a-link-in-a-record"),
        pytest.param("records: {columns: d}\n    paginate: {cursor: {from: 'd.email[-1]', param: after}}", "", "",
                     r"7: resources\.users\.paginate: 'd\.email\[-1\]' is masked.*", id="a-token-in-an-array"),
        pytest.param("paginate: {last_id: {field: 'to_string(email)', param: after}}", "", "",
                     r"6: resources\.users\.paginate: 'to_string\(email\)' is masked.*", id="paged-by-more"),
    ],
)  # fmt: skip
def test_a_masked_field_is_neither_asked_with_nor_carried(
    project: Project, users: str, pets: str, toys: str, expected: str
) -> None:
    project.write(PEOPLE % (users, pets, toys))

    (told,) = project.mistakes()

    assert re.fullmatch(f"config/shop\\.yaml:{expected}", told), told


def test_fields_beside_a_masked_one_are_asked_with_and_carried(project: Project) -> None:
    """`email_id` only begins like a masked one, and `toys.email` is a field of another resource."""
    project.write(
        PEOPLE
        % (
            "records: data\n    paginate: {cursor: {from: email, param: after, more: 'data[0].email_id'}}",
            "carry: {of: home.city, mail: email_id, user: users.id}",
            "carry: {email: email}",
        )
    )

    assert list(project.load()["shop"].resources) == ["users", "pets", "toys"]


def test_a_key_of_the_answer_cannot_be_masked(project: Project) -> None:
    """A value can, by its name."""
    project.write(
        "base_url: https://a.example\nresources:\n  users:\n    path: /users\n"
        "    records: {entries: d, keys: [team, user], value: email}\n"
        "    mask:\n      email: drop\n      user: {sha256: pepper-and-salt}\n      name: drop\n"
    )

    (told,) = project.mistakes()

    assert told == (
        "config/shop.yaml:8: resources.users.mask.user: 'user' is of the `keys` of `records`, and what the API uses"
        " as keys is kept as it came; ask for a list of records, or take it out of `mask`"
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(["key: phone", "write: upsert", "mask: {phone: last4}"],
                     r"5: resources\.r\.key: 'phone' is masked, and `phone: last4` under `mask` would make one row of "
                     r"different records, or none; say `phone: sha256`, or choose another key", id="a-key"),
        pytest.param(["key: [id, phone]", "write: history", "mask: {phone: drop}"],
                     r"5: resources\.r\.key: 'phone' is masked, and `phone: drop` .*", id="a-part-of-a-key"),
        pytest.param(["key: phone_no", "write: upsert", "mask: {phoneNo: last4}"],
                     r"5: resources\.r\.key: 'phone_no' is masked, and `phoneNo: last4` .*", id="another-spelling"),
        pytest.param(["key: tel", "write: upsert", "mask: {phone: last4}", "rename: {phone: tel}"],
                     r"5: resources\.r\.key: 'tel' is masked, and `phone: last4` .*", id="renamed"),
        pytest.param(["key: tel", "write: upsert", "mask: {user.phone: last4}", "flatten: 1",
                      "rename: {user_phone: tel}"],
                     r"5: resources\.r\.key: 'tel' is masked, and `user\.phone: last4` .*", id="renamed-and-opened"),
        pytest.param(["key: user_phone", "write: upsert", "mask: {user.phone: last4}", "flatten: 1"],
                     r"5: resources\.r\.key: 'user_phone' is masked.*", id="opened"),
        pytest.param(["key: user_phone", "write: upsert", "mask: {user.phone: last4}", "format: csv"],
                     r"5: resources\.r\.key: 'user_phone' is masked.*", id="a-point-in-a-name"),
        pytest.param(["key: tel", "write: upsert", "mask: {user.phone: last4}", "columns: {tel: {from: user.phone}}"],
                     r"5: resources\.r\.key: 'tel' is masked.*", id="read-from"),
        pytest.param(["key: tel", "write: upsert", "mask: {user: drop}", "columns: {tel: {from: 'user.phones[0].no'}}"],
                     r"5: resources\.r\.key: 'tel' is masked.*", id="read-from-a-part-of-it"),
        pytest.param(["key: tel", "write: upsert", "mask: {user.phone: drop}",
                      "columns: {tel: {from: '\"user.phone\"'}}"],
                     r"5: resources\.r\.key: 'tel' is masked.*", id="read-from-a-name-with-a-point"),
        pytest.param(["key: id", "version: at", "write: upsert", "mask: {at: {sha256: pepper-and-salt}}"],
                     r"6: resources\.r\.version: 'at' is masked, and compares as its masked value; "
                     r"name another field, or take it out of `mask`", id="a-version"),
        pytest.param(["incremental: {cursor: at, start: a, format: text}", "write: append", "mask: {at: last4}"],
                     r"5: resources\.r\.incremental\.cursor: 'at' is masked.*", id="a-cursor"),
        pytest.param(["key: id", "write: upsert", "deletes: {when: state == 'gone'}", "mask: {state: last4}"],
                     r"7: resources\.r\.deletes\.when: 'state' is masked.*", id="a-mark-of-deletes"),
        pytest.param(["key: id", "write: upsert", "deletes: {when: deletedState == 'gone'}",
                      "mask: {deletedState: last4}"],
                     r"7: resources\.r\.deletes\.when: 'deletedState' is masked.*", id="a-mark-named-as-its-field"),
        pytest.param(["key: id", "write: upsert", "deletes: {when: _state == 'gone'}",
                      "columns: {state: {from: user.state}}", "mask: {user: last4}"],
                     r"7: resources\.r\.deletes\.when: '_state' is masked.*", id="a-mark-read-from"),
        pytest.param(["key: id", "write: upsert", 'deletes: {when: "contains(by, \'x\')"}', "mask: {_by: last4}"],
                     r"7: resources\.r\.deletes\.when: 'by' is masked.*", id="a-mark-in-a-function"),
        pytest.param(["key: id", "write: upsert", "deletes: {when: deleted_by}", "mask: {deleted_by: drop}"],
                     r"7: resources\.r\.deletes\.when: 'deleted_by' is masked.*", id="a-mark-that-is-dropped"),
    ],
)  # fmt: skip
def test_rows_are_not_told_apart_or_compared_by_what_a_mask_makes_equal(
    project: Project, lines: list[str], expected: str
) -> None:
    project.write(resource("path: /x", *lines))

    (told,) = project.mistakes()

    assert re.fullmatch(f"config/shop\\.yaml:{expected}", told), told


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["key: phone", "mask: {phone: {sha256: pepper-and-salt}}"], id="a-fingerprint"),
        pytest.param(["key: user_phone", "write: upsert", "mask: {user.phone: last4}"], id="inside-of-a-column"),
        pytest.param(["key: id", "write: upsert", "mask: {user.id: last4}", "flatten: 1"], id="another-column"),
        pytest.param(
            ["key: tel", "write: upsert", "mask: {tel: last4}", "columns: {tel: {from: user.tel}}"], id="read-elsewhere"
        ),
        pytest.param(
            ["for_each: [{phone: '1'}]", "carry: {phone: phone}", "key: phone", "write: upsert", "mask: {phone: drop}"],
            id="carried",
        ),
        pytest.param(["key: phone", "mask: {phone: drop}"], id="of-what-is-replaced"),
        pytest.param(
            ["key: id", "write: upsert", "deletes: {when: by}", "mask: {by: {sha256: pepper-and-salt}}"],
            id="a-mark-that-is-there-or-not",
        ),
        pytest.param(
            ["key: id", "write: upsert", "deletes: {when: '!(by == `null`) || gone'}", "mask: {by: last4}"],
            id="a-mark-that-is-null-or-not",
        ),
    ],
)
def test_rows_may_be_told_apart_by_what_stays_different(project: Project, lines: list[str]) -> None:
    project.write(resource("path: /x", *lines))

    assert list(project.load()["shop"].resources) == ["r"]
