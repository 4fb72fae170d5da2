"""Uses a relay through the client that openapi-python-client generated into the package `client`.

    python use_client.py URL TOKEN
"""

from __future__ import annotations

import sys

from client import AuthenticatedClient, Client
from client.api.health import health
from client.api.streams import bulk_create, bulk_delete, change, create, list_, put, remove, show
from client.models import BulkCreate, BulkDelete, Change, ErrorBody, NewStream, NewStreamLabels, State, Stream


def main() -> None:
    url, token = sys.argv[1:]
    client = AuthenticatedClient(base_url=url, token=token)
    assert health.sync(client=Client(base_url=url)).status == "ok"
    denied = list_.sync(client=AuthenticatedClient(base_url=url, token="wrong"))
    assert isinstance(denied, ErrorBody) and "Bearer" in denied.error

    labels = NewStreamLabels.from_dict({"call": "42"})
    created = create.sync(client=client, body=NewStream(send_to="127.0.0.1:9", id="a", labels=labels))
    assert isinstance(created, Stream) and created.state == State.IDLE
    assert created.packets.dropped.late == 0 and created.levels is None
    again = put.sync("a", client=client, body=NewStream(send_to="127.0.0.1:9", labels=labels))
    assert isinstance(again, Stream) and again.listen == created.listen
    changed = change.sync("a", client=client, body=Change(on=False, attenuation_db="unlimited"))
    assert isinstance(changed, Stream) and not changed.on and changed.attenuation_db is None
    wrong = create.sync(client=client, body=NewStream(send_to="here"))
    assert isinstance(wrong, ErrorBody) and "send_to" in wrong.error
    streams = [NewStream(send_to="127.0.0.1:9", id=f"b{n}") for n in range(3)]
    results = bulk_create.sync(client=client, body=BulkCreate(streams=streams)).results
    assert [result.status for result in results] == [201] * 3
    page = list_.sync(client=client, limit=2, after="a")
    assert [stream.id for stream in page.streams] == ["b0", "b1"] and page.next_ == "b1"
    assert [s.id for s in list_.sync(client=client, labels="call:42").streams] == ["a"]
    results = bulk_delete.sync(client=client, body=BulkDelete(ids=["b0", "b1", "b2"])).results
    assert [result.status for result in results] == [204] * 3
    assert remove.sync_detailed("a", client=client).status_code == 204
    assert isinstance(show.sync("a", client=client), ErrorBody)
    print("the generated client works")


if __name__ == "__main__":
    main()
