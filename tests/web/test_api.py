"""The API answers as the pipeline does, and refuses what it should."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import PAYLOADS, passages, serving

from shortlist import RetrieveRerankPipeline

QUESTION = "how do plants make food?"


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def pipeline(served_index):
    return RetrieveRerankPipeline.open(served_index)


def without(hits):
    """Hits as the pipeline prints them; logits of another batch differ in the last digits."""
    return [
        {
            key: pytest.approx(value, abs=1e-3) if isinstance(value, float) else value
            for key, value in hit.items()
            if key != "highlight"
        }
        for hit in hits
    ]


def events(response):
    parts = response.text.strip().split("\n\n")
    return [
        (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
        for lines in (part.split("\n") for part in parts)
    ]


def test_an_answer_is_that_of_the_pipeline(client, pipeline):
    found = client.post("/api/search", json={"q": QUESTION, "top_k": 7, "depth": 12}).json()
    hits = pipeline.search(QUESTION, top_k=7, depth=12)
    expected = [hit.as_json() for hit in hits]
    assert found["answered"] is pipeline.is_answered(hits)
    assert hits[0].relevance is not None
    assert json.loads(json.dumps(expected)) == without(found["hits"])
    assert (found["final"], found["reranked"], found["q"]) == (True, True, QUESTION)
    assert set(found["ms"]) == {"wait", "encode", "retrieve", "rerank", "total"}
    by_address = client.get("/api/search", params={"q": QUESTION, "top_k": 7, "depth": 12}).json()
    assert by_address["hits"] == found["hits"]


def test_the_highlight_is_a_sentence_of_the_passage(client):
    question = "Payload number 3 is a danger"
    for hit in client.get("/api/search", params={"q": question, "top_k": 20}).json()["hits"]:
        start, end = hit["highlight"]
        assert hit["text"][start:end] == hit["text"][start:end].strip() != ""
    best = client.get("/api/search", params={"q": question, "top_k": 1}).json()["hits"][0]
    assert best["id"] == "x3<b>"


def test_the_first_stage_comes_before_the_second(client, pipeline):
    wanted = {"q": QUESTION, "top_k": 4, "depth": 9}
    (one, first), (two, last) = events(client.get("/api/stream", params=wanted))
    assert (one, two) == ("first", "last")
    assert (first["final"], last["final"]) == (False, True)
    assert first["answered"] is None
    retrieval = [h.as_json() for h in pipeline.search(QUESTION, top_k=4, rerank=False)]
    both = [h.as_json() for h in pipeline.search(QUESTION, top_k=4, depth=9)]
    assert json.loads(json.dumps(retrieval)) == without(first["hits"])
    assert json.loads(json.dumps(both)) == without(last["hits"])
    ((only, answer),) = events(client.get("/api/stream", params={**wanted, "rerank": False}))
    assert (only, answer["final"], answer["reranked"]) == ("last", True, False)


def test_options_mean_what_they_mean_everywhere(client, pipeline):
    options = {"where": "year < 2000", "top_k": 3, "depth": 5, "fold_duplicates": True}
    found = client.post("/api/search", json={"q": "danger", **options}).json()["hits"]
    assert [hit["id"] for hit in found] == [h.id for h in pipeline.search("danger", **options)]
    grouped = client.post("/api/search", json={"q": "danger", "group_by": "document"}).json()
    assert len({hit["document_id"] or hit["id"] for hit in grouped["hits"]}) == 5


def test_questions_of_many_clients_are_answered_as_those_of_one(client, pipeline):
    questions = [f"{QUESTION} {number}" for number in range(12)] + PAYLOADS
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(
                lambda q: client.post("/api/search", json={"q": q, "depth": 4, "top_k": 3}).json(),
                questions,
            )
        )
    for question, answer in zip(questions, answers, strict=True):
        expected = [hit.as_json() for hit in pipeline.search(question, top_k=3, depth=4)]
        assert json.loads(json.dumps(expected)) == without(answer["hits"])


def test_info_and_health(client):
    info = client.get("/api/info").json()
    assert (info["name"], info["passages"]) == ("web.idx", len(passages()))
    assert info["fields"] == ["url", "year"]
    assert info["samples"] == [QUESTION, "<b>what</b> is a danger?"]
    assert client.get("/healthz").json()["status"] == "ok"
    api = client.get("/api/openapi.json").json()
    assert {"/api/search", "/api/stream", "/api/info", "/healthz"} <= set(api["paths"])
    page = client.get("/api/docs").text
    assert all(name in page for name in (*api["paths"], *api["components"]["schemas"]))


@pytest.mark.parametrize(
    ("status", "said", "asked"),
    [
        (422, "q", {}),
        (422, "q", {"q": "  "}),
        (422, "q", {"q": "x" * 1001}),
        (422, "q", {"q": 7}),
        (422, "top_k", {"q": "a", "top_k": 0}),
        (422, "top_k", {"q": "a", "top_k": 101}),
        (422, "depth", {"q": "a", "depth": 1e9}),
        (422, "where", {"q": "a", "where": "y" * 501}),
        (422, "group_by", {"q": "a", "group_by": "moon"}),
        (422, "deep", {"q": "a", "deep": 3}),
        (400, "web.idx has a field 'nothing'", {"q": "a", "where": "nothing == 1"}),
        (400, "not allowed", {"q": "a", "where": "__import__('os').getcwd() == 1"}),
        (400, "where", {"q": "a", "where": "year >"}),
    ],
)
def test_what_is_asked_wrongly_is_said(client, status, said, asked):
    response = client.post("/api/search", json=asked)
    assert response.status_code == status
    assert said in response.json()["error"]
    assert "secret-folder" not in response.text
    if status == 400:
        assert client.get("/api/stream", params=asked).status_code == 400


def test_requests_that_are_none(client):
    post = client.post("/api/search", content=b"{", headers={"content-type": "application/json"})
    assert post.status_code == 422
    assert client.post("/api/search", content=b"x" * 70_000).status_code == 413
    assert client.get("/api/search?q=" + "x" * 9_000).status_code == 414
    assert client.put("/api/search").status_code == 405
    for path in (
        "/../../etc/passwd",
        "/static/app.js",
        "/app.js/..%2f..%2fapp.py",
        "/manifest.json",
    ):
        assert client.get(path).status_code == 404


def test_other_names_and_other_sites_are_refused(client):
    def status(**headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get("/api/info", headers=named).status_code

    assert status(host="evil.example") == status(host="127.0.0.1.evil.example") == 421
    assert status(host="evil.example:80") == status(host="") == 421
    assert (
        status(host="localhost:1234") == status(host="LOCALHOST") == status(host="[::1]:9") == 200
    )
    assert status(sec_fetch_site="cross-site") == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    policy = client.get("/").headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_a_client_that_leaves_is_not_answered(client, server):
    host, port = server.address.removeprefix("http://").split(":")
    for _ in range(8):
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(
                b"GET /api/search?q=plants&depth=200 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
    deadline = time.monotonic() + 30
    while client.get("/healthz").json()["waiting"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.get("/api/search", params={"q": QUESTION}).status_code == 200


def test_what_is_added_is_found_without_a_restart(bi_encoder, notes_index, tmp_path):
    path = tmp_path / "grows.idx"
    built = RetrieveRerankPipeline.build(passages()[:4], path, bi_encoder=bi_encoder)
    with serving(path) as server, httpx.Client(base_url=server.address, timeout=60) as client:
        assert client.get("/api/info").json()["passages"] == 4
        built.add([passages()[9]])
        deadline = time.monotonic() + 20
        while True:
            found = client.get("/api/search", params={"q": passages()[9].text, "top_k": 1}).json()
            if found["hits"][0]["id"] == passages()[9].id:
                break
            assert time.monotonic() < deadline
            time.sleep(0.3)
        assert client.get("/healthz").json()["passages"] == 5


def test_a_token_a_full_queue_and_the_end(served_index):
    options = ("--most-waiting", "2")
    with serving(served_index, *options, SHORTLIST_TOKEN="s3cret") as server:  # noqa: S106, SIM117
        with httpx.Client(base_url=server.address, timeout=60) as client:
            for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
                assert client.get("/api/info", headers=given).status_code == 401
            assert client.get("/healthz").status_code == client.get("/").status_code == 200
            client.headers["authorization"] = "Bearer s3cret"
            assert client.get("/api/info").json()["token"] is True

            def ask(number):
                return client.post("/api/search", json={"q": f"{QUESTION} {number}", "depth": 28})

            with ThreadPoolExecutor(10) as pool:
                answers = list(pool.map(ask, range(30)))
                statuses = {answer.status_code for answer in answers}
                assert statuses == {200, 503}
                busy = next(answer for answer in answers if answer.status_code == 503)
                assert int(busy.headers["retry-after"]) >= 1
                assert "try again" in busy.json()["error"]
                late = [pool.submit(ask, number) for number in range(2)]
                time.sleep(0.15)
                assert server.end() == 0
                assert all(one.result().status_code == 200 for one in late)  # accepted: answered


def test_what_cannot_be_served(served_index, server):
    def said(*options):
        command = [sys.executable, "-m", "shortlist.cli", "serve", served_index, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    port = server.address.rpartition(":")[2]
    code, error = said("--port", port)
    assert (code, f"cannot listen on 127.0.0.1 port {port}" in error) == (2, True)
    code, error = said("--budget", "0")
    assert (code, "--budget must be above 0" in error) == (2, True)


def test_clients_that_say_nothing_do_not_take_the_places(server, client):
    host, port = server.address.removeprefix("http://").split(":")
    silent = socket.create_connection((host, int(port)))
    slow = socket.create_connection((host, int(port)))
    again = socket.create_connection((host, int(port)))
    again.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    said = b""
    while not said.endswith(b"}"):
        said += again.recv(4096)
    assert said.startswith(b"HTTP/1.1 200")
    again.sendall(b"GET /heal")
    for _ in range(3):
        slow.sendall(b"X")
        time.sleep(0.1)
    assert client.get("/healthz").status_code == 200  # kept alive beyond that all the same
    for one in (silent, slow, again):
        one.settimeout(15)
        assert one.recv(100) == b""
        one.close()
    assert client.get("/healthz").status_code == 200
