#!/usr/bin/env python3
"""A scripted stand-in for OpenAI's Responses API, for runs of the real `codex` without any network.

    python3 fake_responses_api.py SCENARIOS        prints: LISTENING http://127.0.0.1:40123

SCENARIOS is JSON: {"name": [STEP, ...], ...}. A client chooses one by its base URL, http://127.0.0.1:40123/name/v1. Each
request for a response takes the next step; the last one answers all further ones. A STEP has any of

    "thinking": "..."  "text": "..."  "command": "shell command"   parts of one answer, in this order
    "usage": [100, 40, 7]                                          input, of it cached, output tokens
    "status": 429, "error": {...}                                  an HTTP error instead

Standard library only; binds 127.0.0.1 and nothing else.
"""

import http.server
import json
import sys
import threading

SCENARIOS = json.loads(sys.argv[1])
TAKEN = {}
LOCK = threading.Lock()


def next_step(name):
    steps = SCENARIOS.get(name)
    if not steps:
        return {"status": 404, "error": {"message": f"there is no scenario {name}"}}
    with LOCK:
        taken = TAKEN.get(name, 0)
        TAKEN[name] = taken + 1
    return steps[min(taken, len(steps) - 1)] | {"number": taken}


def events(step):
    number = step["number"]
    item = lambda value: {"type": "response.output_item.done", "item": value}
    yield {"type": "response.created", "response": {"id": f"r{number}"}}
    if "thinking" in step:
        summary = [{"type": "summary_text", "text": step["thinking"]}]
        yield item({"type": "reasoning", "id": f"t{number}", "summary": summary})
    if "text" in step:
        content = [{"type": "output_text", "text": step["text"]}]
        yield item({"type": "message", "role": "assistant", "id": f"m{number}", "content": content})
    if "command" in step:
        arguments = json.dumps({"cmd": step["command"], "yield_time_ms": 30000})
        call = {"id": f"f{number}", "call_id": f"c{number}", "name": "exec_command", "arguments": arguments}
        yield item({"type": "function_call"} | call)
    put, cached, out = step.get("usage", [10, 0, 5])
    usage = {"input_tokens": put, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": out,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": put + out}
    yield {"type": "response.completed", "response": {"id": f"r{number}", "usage": usage}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(200, {"models": [], "data": []})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        step = next_step(self.path.strip("/").split("/")[0])
        if "status" in step:
            return self.answer(step["status"], {"error": step.get("error", {"message": "no"})})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events(step):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
        self.close_connection = True

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"LISTENING http://127.0.0.1:{SERVER.server_address[1]}", flush=True)
SERVER.serve_forever()
