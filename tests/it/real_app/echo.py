"""A WebSocket server: echoes every message, and tells on demand with which fields it was asked."""

import json

from websockets.sync.server import serve


def answer(socket):
    for message in socket:
        headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}
        socket.send(json.dumps(headers) if message == "headers" else message)


def page(connection, request):
    return None if "upgrade" in request.headers else connection.respond(200, "a page")


with serve(answer, "127.0.0.1", 0, subprotocols=["chat.v2"], process_request=page, max_size=1 << 24) as server:
    print(f"listening at http://127.0.0.1:{server.socket.getsockname()[1]}/", flush=True)
    server.serve_forever()
