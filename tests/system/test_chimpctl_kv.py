"""chimpctl kv."""

import json

import pytest

from harness.chimpd import chimpctl


@pytest.fixture
def ctl(database):
    def run(*args, status=0, **more):
        done = chimpctl("-d", database.url, *args, **more)
        assert done.status == status and bool(done.err) == bool(status), done
        return done.err if status else done.out
    return run


def test_a_key_is_set_read_and_deleted(ctl, database):
    assert ctl("kv", "set", "a", '{"n":  1}') == ""
    assert ctl("kv", "get", "a") == '{"n": 1}\n'
    assert ctl("--json", "kv", "get", "a") == '{"n": 1}\n'
    assert database.value("select chimp.kv_get('a')") == {"n": 1}
    assert ctl("kv", "delete", "a") == "deleted\n"
    assert ctl("kv", "delete", "a") == "there was no such key\n"
    assert ctl("--json", "kv", "delete", "a") == "false\n"
    assert "there is no such key" in ctl("kv", "get", "a", status=1)


def test_its_end(ctl, database):
    ctl("kv", "set", "--ttl", "1 hour", "a", "1")
    assert database.value("select expires_at - now() between '59 min' and '60 min' from chimp.kv")
    assert "the ttl of \"a\" is -00:00:01" in ctl("kv", "set", "--ttl", "-1 s", "a", "2", status=1)
    assert "invalid input syntax for type interval" in ctl(
        "kv", "set", "--ttl", "soon", "a", "2", status=1)
    assert database.value("select chimp.kv_get('a')") == 1


def test_a_value_must_be_json(ctl, database):
    assert "json" in ctl("kv", "set", "a", "{", status=1)
    assert database.rows("select * from chimp.kv") == []


def test_keys_are_listed(ctl):
    assert ctl("kv", "list") == "no keys\n"
    assert ctl("--json", "kv", "list") == "[]\n"
    for key in ("b:2", "b:1", "a%", "b_1"):
        ctl("kv", "set", key, f'"of {key}"')
    ctl("kv", "set", "--ttl", "1 h", "b:3", "3")
    lines = ctl("kv", "list", "b:").splitlines()
    assert lines[0].split() == ["KEY", "EXPIRES", "VALUE"]
    assert [line.split()[0] for line in lines[1:]] == ["b:1", "b:2", "b:3"]
    assert lines[1].split()[1:] == ["never", '"of', 'b:1"']
    found = json.loads(ctl("--json", "kv", "list", "b"))
    assert [(e["key"], e["value"]) for e in found] == [
        ("b:1", "of b:1"), ("b:2", "of b:2"), ("b:3", 3), ("b_1", "of b_1")]
    assert [e["expires_at"] is None for e in found] == [True, True, False, True]
    page = json.loads(ctl("--json", "kv", "list", "-n", "2", "--after", "b:1"))
    assert [e["key"] for e in page] == ["b:2", "b:3"]
    assert json.loads(ctl("--json", "kv", "list", "a%"))[0]["key"] == "a%"
