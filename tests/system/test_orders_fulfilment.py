"""The workflow of the orders example: the fulfilment of an order."""

from harness.wait import until


def fulfilment(orders, order, body=None, status=202):
    answer = orders.http.post(f"/orders/{order['id']}/fulfilment", body)
    assert answer.status == status, answer
    return answer.json.get("workflowId")


def run_of(orders, workflow):
    answer = orders.http.get(f"/fulfilments/{workflow}")
    assert answer.status == 200, answer
    return answer.json


def waiting(orders, order, body=None):
    workflow = fulfilment(orders, order, body)
    until(lambda: run_of(orders, workflow)["status"] == "waiting_signal", "it waits for quality control")
    return workflow


def decide(orders, workflow, body, status=202):
    answer = orders.http.post(f"/fulfilments/{workflow}/quality", body)
    assert answer.status == status, answer


def ended(orders, workflow):
    until(lambda: run_of(orders, workflow)["status"] not in ("running", "waiting_signal"), "it ends")
    return run_of(orders, workflow)


def order_of(orders, order):
    return orders.http.get(f"/orders/{order['id']}").json


def test_an_order_is_fulfilled(orders):
    order = orders.create()
    workflow = waiting(orders, order, {"assignee": "grace"})
    assert (order_of(orders, order)["status"], order_of(orders, order)["assignee"]) == ("in_progress", "grace")
    run = run_of(orders, workflow)
    assert run["workflowName"] == "order.fulfilment" and run["workflowVersion"] == 1
    assert (run["currentStepId"], run["input"]["orderId"]) == ("decide", order["id"])
    decide(orders, workflow, {"approved": True})
    run = ended(orders, workflow)
    assert (run["status"], run["state"]) == ("completed", {"approved": True})
    assert order_of(orders, order)["status"] == "completed"


def test_quality_control_refuses(orders):
    order = orders.create()
    workflow = waiting(orders, order)
    decide(orders, workflow, {"approved": False, "reason": "scratched"})
    assert ended(orders, workflow)["state"] == {"approved": False}
    assert order_of(orders, order)["status"] == "rejected"
    until(lambda: [e for e in orders.http.get(f"/orders/{order['id']}/events").json
                   if e["payload"].get("reason") == "scratched"], "the event says why")


def test_a_decision_that_comes_first_is_kept(orders):
    order = orders.create()
    orders.database.rows("select chimp.pause('workflow:order.fulfilment')")
    try:
        workflow = fulfilment(orders, order)
        decide(orders, workflow, {"approved": True})
    finally:
        orders.database.rows("select chimp.resume('workflow:order.fulfilment')")
    assert ended(orders, workflow)["status"] == "completed"
    assert order_of(orders, order)["status"] == "completed"


def test_no_decision_in_time(orders):
    order = orders.create()
    workflow = waiting(orders, order)
    # As if the five minutes were over.
    job, wake = orders.database.rows("""
        update chimp.job_scheduled s set run_at = clock_timestamp() from chimp.workflow_run r
        where r.external_id = %s and s.job_id = r.job_id
        returning s.job_id, extract(epoch from r.wake_at - r.updated_at)::float8""", workflow)[0]
    assert 299 < wake <= 300
    run = ended(orders, workflow)
    assert (run["status"], run["state"]) == ("completed", {"approved": False})
    assert order_of(orders, order)["status"] == "rejected"


def test_an_order_that_was_moved_otherwise_fails_its_fulfilment(orders):
    order = orders.create()
    workflow = waiting(orders, order)
    assert orders.http.post(f"/orders/{order['id']}/complete").status == 200
    decide(orders, workflow, {"approved": True})
    run = ended(orders, workflow)
    assert run["status"] == "failed"
    assert "cannot become completed" in run["lastError"]["message"]
    decide(orders, workflow, {"approved": True}, status=409)


def test_asked_again_it_is_the_same_run(orders):
    order = orders.create()
    assert fulfilment(orders, order) == fulfilment(orders, order)


def test_unknown_ones_are_404(orders):
    fulfilment(orders, {"id": 999999999}, status=404)
    assert orders.http.get("/fulfilments/nobody").status == 404
    decide(orders, "nobody", {"approved": True}, status=404)


def test_bad_input_is_400(orders):
    order = orders.create()
    workflow = fulfilment(orders, order)
    decide(orders, workflow, {"approved": "yes"}, status=400)
    decide(orders, workflow, {}, status=400)
