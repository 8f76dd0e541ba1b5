"""The orders example, request by request: the table of its README."""

import datetime

import pytest

from harness.wait import until


def test_created_order_is_answered_with_201_and_all_members(orders):
    answer = orders.http.post("/orders", {"customer": "  Ada LOVELACE\t", "amount": 1250})
    assert answer.status == 201
    assert answer.type == "application/json"
    order = answer.json
    assert set(order) == {"id", "customer", "amount", "status", "assignee",
                          "created_at", "updated_at"}
    assert order["customer"] == "ada lovelace"
    assert order["amount"] == 1250
    assert order["status"] == "pending"
    assert order["assignee"] is None
    assert datetime.datetime.fromisoformat(order["created_at"])
    assert order["created_at"] == order["updated_at"]


def test_order_is_found_by_id(orders):
    order = orders.create()
    answer = orders.http.get(f"/orders/{order['id']}")
    assert (answer.status, answer.json) == (200, order)


def test_orders_are_listed_newest_first(orders):
    made = [orders.create(amount=n)["id"] for n in (1, 2, 3)]
    listed = [o["id"] for o in orders.http.get("/orders").json]
    assert listed[:3] == made[::-1]
    assert listed == sorted(listed, reverse=True)


def test_orders_are_listed_in_pages(orders):
    made = [orders.create(amount=n)["id"] for n in (1, 2, 3)]
    page = orders.http.get(f"/orders?limit=2&before={made[2]}").json
    assert [o["id"] for o in page] == [made[1], made[0]]


def test_unknown_order_is_404(orders):
    for answer in (orders.http.get("/orders/999999999"),
                   orders.http.post("/orders/999999999/start"),
                   orders.http.post("/orders/999999999/assign", {"assignee": "bo"}),
                   orders.http.post("/orders/999999999/reject", {"reason": "no"})):
        assert answer.status == 404, answer
        assert answer.type == "application/problem+json"
        assert "999999999" in answer.json["detail"]


def move(orders, order, step, body=None, status=200):
    answer = orders.http.post(f"/orders/{order['id']}/{step}", body)
    assert answer.status == status, answer
    return answer.json


BODIES = {"assign": {"assignee": "grace"}, "reject": {"reason": "sold out"}}
STEPS = {  # what leads to a state
    "pending": [],
    "assigned": ["assign"],
    "in_progress": ["assign", "start"],
    "completed": ["assign", "start", "complete"],
    "rejected": ["reject"],
}
TARGETS = {"assign": "assigned", "start": "in_progress",
           "complete": "completed", "reject": "rejected"}
LEGAL = {("pending", "assign"), ("pending", "reject"), ("assigned", "start"),
         ("assigned", "reject"), ("in_progress", "complete"), ("in_progress", "reject")}


def order_in(orders, state):
    order = orders.create()
    for step in STEPS[state]:
        order = move(orders, order, step, BODIES.get(step))
    assert order["status"] == state
    return order


@pytest.mark.parametrize("state", STEPS)
@pytest.mark.parametrize("step", TARGETS)
def test_transition_is_legal_or_409_naming_both_states(orders, state, step):
    order = order_in(orders, state)
    if (state, step) in LEGAL:
        moved = move(orders, order, step, BODIES.get(step))
        assert moved["status"] == TARGETS[step]
        assert moved["updated_at"] > order["updated_at"]
        assert moved["created_at"] == order["created_at"]
    else:
        problem = move(orders, order, step, BODIES.get(step), status=409)
        assert problem["status"] == 409
        assert state in problem["detail"] and TARGETS[step] in problem["detail"]
        assert orders.http.get(f"/orders/{order['id']}").json == order


def test_assignee_is_trimmed_and_kept_by_later_transitions(orders):
    order = orders.create()
    assert move(orders, order, "assign", {"assignee": " Grace H. "})["assignee"] == "Grace H."
    assert move(orders, order, "start")["assignee"] == "Grace H."
    assert move(orders, order, "complete", {})["assignee"] == "Grace H."


def test_audit_trail_tells_the_order_s_life(orders):
    done = order_in(orders, "completed")
    path = f"/orders/{done['id']}/events"
    trail = until(lambda: (t := orders.http.get(path).json) and len(t) == 4 and t,
                  "four events in the trail")
    assert [e["event"] for e in trail] == ["order.created", "order.assigned",
                                           "order.started", "order.completed"]
    assert [e["id"] for e in trail] == sorted(e["id"] for e in trail)
    for entry in trail:
        assert set(entry) == {"id", "order_id", "event", "payload", "created_at"}
        assert entry["order_id"] == done["id"]
        assert entry["payload"]["id"] == done["id"]
    assert trail[3]["payload"] == done


def test_rejection_is_audited_with_its_reason(orders):
    order = orders.create()
    move(orders, order, "reject", {"reason": " no stock "})
    trail = until(lambda: (t := orders.http.get(f"/orders/{order['id']}/events").json)
                  and len(t) == 2 and t, "two events in the trail")
    assert trail[1]["event"] == "order.rejected"
    assert trail[1]["payload"]["reason"] == "no stock"


def notifications(orders, order):
    return [n for n in orders.http.get("/notifications").json if n["order_id"] == order["id"]]


def test_completed_order_is_notified_once(orders):
    order = order_in(orders, "completed")
    until(lambda: notifications(orders, order), "the notification")
    [sent] = notifications(orders, order)
    assert set(sent) == {"id", "order_id", "channel", "status", "detail", "created_at"}
    assert (sent["channel"], sent["status"]) == ("email", "sent")
    assert sent["detail"] == f"order {order['id']} for ada settled at 1250 cents"


def test_notification_that_never_succeeds_becomes_one_with_status_failed(orders):
    order = order_in(orders, "completed")
    orders.database.rows(
        "alter table orders.notifications add constraint refuse check (detail !~ 'bounces')")
    job = orders.database.value(
        "select chimp.enqueue('order.completed.notify', jsonb_build_object("
        "'order_id', %s::bigint, 'customer', 'bounces', 'amount', 1), max_attempts => 2)",
        order["id"])
    failed = until(lambda: [n for n in notifications(orders, order) if n["status"] == "failed"],
                   "a failed notification", timeout=20)
    assert len(failed) == 1
    assert "2 attempts" in failed[0]["detail"] and "refuse" in failed[0]["detail"]
    assert orders.database.value("select state from chimp.jobs where id = %s", job) == "dead"


def test_backlog_snapshots_are_newest_first_and_at_most_fifty(orders):
    counts = orders.database.rows(
        "select count(*) filter (where status = 'pending'),"
        " count(*) filter (where status = 'in_progress'), count(*) from orders.orders")[0]
    for _ in range(55):
        orders.database.rows("select orders.snapshot_backlog('{}')")
    listed = orders.http.get("/backlog/snapshots").json
    assert len(listed) == 50
    assert [s["id"] for s in listed] == sorted((s["id"] for s in listed), reverse=True)
    assert set(listed[0]) == {"id", "pending_count", "in_progress_count", "total_count",
                              "snapshot_at"}
    assert (listed[0]["pending_count"], listed[0]["in_progress_count"],
            listed[0]["total_count"]) == counts


def test_backlog_is_snapshot_by_cron(orders):
    before = orders.database.value("select count(*) from chimp.firings")
    # Its slot of a quarter of an hour ago, as if nothing had run since then.
    orders.database.rows(
        "update chimp.schedule set next_at = date_trunc('hour', now()) - interval '15 min'"
        " where name = 'orders.backlog.snapshot'")
    orders.database.rows("select pg_notify('chimp_control', 'schedules')")
    until(lambda: orders.database.value("select count(*) from chimp.firings") > before,
          "the missed slot fires")
    until(lambda: orders.database.value(
        "select bool_and(state = 'done') from chimp.jobs"
        " where queue = 'cron:orders.backlog.snapshot'"), "the firing's job is done")


@pytest.mark.parametrize("body, member", [
    ({"amount": 1}, "customer"),
    ({"customer": "", "amount": 1}, "customer"),
    ({"customer": " \t\n", "amount": 1}, "customer"),
    ({"customer": None, "amount": 1}, "customer"),
    ({"customer": 7, "amount": 1}, "customer"),
    ({"customer": "ada"}, "amount"),
    ({"customer": "ada", "amount": 0}, "amount"),
    ({"customer": "ada", "amount": -5}, "amount"),
    ({"customer": "ada", "amount": 1.5}, "amount"),
    ({"customer": "ada", "amount": "12"}, "amount"),
    ({"customer": "ada", "amount": int("9" * 25)}, "amount"),
])
def test_bad_member_of_an_order_is_400_naming_it(orders, body, member):
    answer = orders.http.post("/orders", body)
    assert answer.status == 400, answer
    assert answer.type == "application/problem+json"
    assert f"args.{member}" in answer.body.decode()
    for error in answer.json.get("errors", []):
        assert set(error) == {"path", "message"} and error["path"] == f"args.{member}", error


def test_missing_assignee_or_reason_is_400_naming_it(orders):
    order = orders.create()
    for step, member in (("assign", "assignee"), ("reject", "reason")):
        for body in (None, {}, {member: "  "}, {member: 5}):
            problem = move(orders, order, step, body, status=400)
            assert f"args.{member}" in str(problem)


def test_id_that_is_no_integer_is_400_naming_it(orders):
    for bad in ("x", "1.5", "1e3", "%20"):
        answer = orders.http.get(f"/orders/{bad}")
        assert answer.status == 400, answer
        assert "args.id" in answer.body.decode()


def test_unknown_path_is_404(orders):
    answer = orders.http.get("/nothing/here")
    assert answer.status == 404
    assert answer.type == "application/problem+json"


def test_wrong_method_is_405_with_allow(orders):
    answer = orders.http.request("DELETE", "/orders")
    assert answer.status == 405
    assert answer.type == "application/problem+json"
    allowed = {m.strip() for m in answer.headers["Allow"].split(",")}
    assert {"GET", "HEAD", "POST", "OPTIONS"} == allowed


def test_unknown_members_are_dropped(orders):
    answer = orders.http.post(
        "/orders", {"customer": "ada", "amount": 1, "status": "completed", "x": {}})
    assert answer.status == 201
    assert answer.json["status"] == "pending"


def test_order_and_its_event_commit_together(orders):
    order = orders.create()
    assert orders.database.value(
        "select count(*) from chimp.events where event = 'order.created' and key = %s",
        str(order["id"])) == 1
    orders.http.post("/orders", {"customer": " ", "amount": 1})
    assert orders.database.value(
        "select count(*) from chimp.events e where not exists"
        " (select from orders.orders o where o.id = (e.payload ->> 'id')::bigint)") == 0


# --- quality reports -------------------------------------------------------------------

REPORTS = "/api/quality_reports"


def test_quality_reports_are_kept_and_found_by_order_and_reviewer(orders):
    made = [orders.http.post(REPORTS, {"orderId": order, "reviewer": reviewer, "score": 8, "photos": [{"n": 1}]})
            for order, reviewer in ((901, "lin"), (901, "mo"), (902, "lin"))]
    assert [a.status for a in made] == [201] * 3
    first = made[0]
    assert first.headers["Location"] == f"{REPORTS}/{first.json['id']}"
    assert orders.http.get(first.headers["Location"]).json == first.json

    def found(query):
        return {d["id"] for d in orders.http.get(f"{REPORTS}?{query}").json["items"]}

    one, two, three = (a.json["id"] for a in made)
    assert found("orderId=901") == {one, two}
    assert found("reviewer=lin") == {one, three}
    assert found("orderId=901&reviewer=lin") == {one}
    assert orders.http.get(f"{REPORTS}?score=8").status == 400


def test_a_quality_report_is_changed_by_who_has_read_it_last(orders):
    made = orders.http.post(REPORTS, {"orderId": 903})
    where, tag = made.headers["Location"], {"If-Match": made.headers["ETag"]}
    changed = orders.http.request("PATCH", where, {"score": 3}, tag)
    assert (changed.status, changed.json) == (200, made.json | {"score": 3})
    assert orders.http.request("PATCH", where, {"score": 4}, tag).status == 412
    assert orders.http.request("PUT", where, {"score": 4}).status == 405
    assert orders.http.request("DELETE", where, headers=tag).status == 412
    assert orders.http.request("DELETE", where).status == 204
    assert orders.http.get(where).status == 404


def test_the_filters_of_quality_reports_have_indexes(orders):
    assert orders.database.value(
        "select indexes from chimp.collection_list() where name = 'quality_reports'") == ["orderId", "reviewer"]
