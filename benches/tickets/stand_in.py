#!/usr/bin/env python3
"""Stands in for the `claude` CLI where that is not installed: the same lines in and out, the same model server.

    claude -p --input-format stream-json --output-format stream-json …

It speaks the part of the CLI's protocol that gcluster reads, asks the server in ANTHROPIC_BASE_URL, and does what the
tools Bash, Read, Write and Edit would do in the present directory. Costs are the list price of the model that is asked for.
"""

import json
import os
import subprocess
import sys
import urllib.request
import uuid

# US dollars for a million tokens: input, written to the cache, read from it, output.
PRICE = {"input_tokens": 3.0, "cache_creation_input_tokens": 3.75, "cache_read_input_tokens": 0.3, "output_tokens": 15.0}
TOOLS = [{"name": name} for name in ("Bash", "Read", "Write", "Edit")]


def argument(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


SESSION = argument("--session-id", str(uuid.uuid4()))
MODEL = argument("--model", "claude-sonnet-4-5")


def say(kind, **fields):
    print(json.dumps({"type": kind, "session_id": SESSION, "uuid": str(uuid.uuid4()), **fields}), flush=True)


def ask(messages):
    body = {"model": MODEL, "max_tokens": 8192, "stream": False, "tools": TOOLS, "messages": messages}
    headers = {"content-type": "application/json", "x-claude-code-session-id": SESSION}
    url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
        return json.load(answer)


def use(name, given):
    """What the tool says, and whether it failed."""
    try:
        if name == "Bash":
            ran = subprocess.run(["sh", "-c", given["command"]], capture_output=True, text=True)
            return (ran.stdout + ran.stderr).strip("\n"), ran.returncode != 0
        path = given["file_path"]
        if name == "Write":
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(given["content"])
            return f"File created successfully at: {path}", False
        with open(path) as file:
            text = file.read()
        if name == "Read":
            return text, False
        if text.count(given["old_string"]) != 1:
            return "String to replace not found in file.", True
        with open(path, "w") as file:
            file.write(text.replace(given["old_string"], given["new_string"]))
        return f"The file {path} has been updated.", False
    except (OSError, KeyError) as error:
        return repr(error), True


def turn(messages):
    """From what the user said to the end of the model's answer: its text, what it used, and how many requests it took."""
    used = dict.fromkeys(PRICE, 0)
    for requests in range(1, 1000):
        message = ask(messages)
        for name in used:
            used[name] += message["usage"].get(name, 0)
        messages.append({"role": "assistant", "content": message["content"]})
        say("assistant", message=message, parent_tool_use_id=None)
        calls = [block for block in message["content"] if block["type"] == "tool_use"]
        if not calls:
            return "".join(block.get("text", "") for block in message["content"]), used, requests
        results = []
        for call in calls:
            text, failed = use(call["name"], call["input"])
            results.append({"type": "tool_result", "tool_use_id": call["id"], "is_error": failed,
                            "content": [{"type": "text", "text": text}]})
        messages.append({"role": "user", "content": results})
        say("user", message=messages[-1], parent_tool_use_id=None)


def main():
    messages, cost = [], 0.0
    for line in sys.stdin:
        said = json.loads(line)
        if said.get("type") != "user":
            continue
        print(json.dumps({**said, "isReplay": True, "session_id": SESSION}), flush=True)
        say("system", subtype="init", cwd=os.getcwd(), model=MODEL, tools=[tool["name"] for tool in TOOLS])
        messages.append(said["message"])
        text, used, requests = turn(messages)
        cost += sum(PRICE[name] * count / 1e6 for name, count in used.items())
        model = {"inputTokens": used["input_tokens"], "outputTokens": used["output_tokens"], "costUSD": cost,
                 "cacheReadInputTokens": used["cache_read_input_tokens"],
                 "cacheCreationInputTokens": used["cache_creation_input_tokens"]}
        say("result", subtype="success", is_error=False, result=text, num_turns=requests, total_cost_usd=cost,
            usage=used, modelUsage={MODEL: model})


if __name__ == "__main__":
    main()
