"""A server of the kind of Blender's MCP add-on, without Blender: a thread for
each connection collects bytes until they are a JSON object; the main thread
carries the commands out, one at a time. It prints its port, then a line for each
connection, and ends with its standard input."""

import json
import queue
import socket
import sys
import threading
import time

SCENE = {
    "Camera": {"name": "Camera", "type": "CAMERA", "location": [7.36, -6.93, 4.96]},
    "Cube": {"name": "Cube", "type": "MESH", "location": [0.0, 0.0, 0.0]},
}
commands = queue.Queue()  # of (command, where its answer goes), for the main thread


def execute(command):
    kind, params = command.get("type"), command.get("params", {})
    if kind == "get_scene_info":
        return {"name": "Scene", "object_count": len(SCENE), "objects": list(SCENE)}
    if kind == "get_object_info":
        if params.get("name") not in SCENE:
            raise ValueError(f"Object not found: {params.get('name')}")
        return SCENE[params["name"]]
    if kind == "sleep":
        time.sleep(params["seconds"])
        return {}
    if kind == "echo":
        return params
    raise ValueError(f"Unknown command type: {kind}")


def answer(command):
    try:
        return {"status": "success", "result": execute(command)}
    except Exception as error:
        return {"status": "error", "message": str(error)}


def serve(conn):
    received = b""
    answers = queue.Queue()
    while data := conn.recv(8192):
        received += data
        try:
            command = json.loads(received.decode("utf-8"))
        except ValueError:
            continue  # not all of it yet
        received = b""
        commands.put((command, answers))
        conn.sendall(json.dumps(answers.get()).encode("utf-8"))


def attend(conn):
    with conn:
        try:
            serve(conn)
        except ConnectionError:
            pass  # who asked has left


def accept(listener):
    while True:
        conn, _ = listener.accept()
        print("connection", flush=True)
        threading.Thread(target=attend, args=(conn,), daemon=True).start()


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    threading.Thread(target=lambda: (sys.stdin.read(), commands.put(None)), daemon=True).start()
    while item := commands.get():
        command, answers = item
        answers.put(answer(command))


main()
