"""A mitmproxy addon: between Spark and the S3 server, it spoils the requests that it is told to spoil.

It runs in an environment that holds mitmproxy and nothing else. `PUT /-faults` takes the faults, a JSON list; `GET /-faults` gives
`{"hits": how often each was met, "requests": [[method, path], ...]}` since then. A fault is

    {"method": regex, "path": regex, "do": what, "skip": requests to let pass first, "times": at most so often, null for ever}

and what it does is one of

    answer     `status` and `code`, the S3 error, in place of the server's answer
    delay      wait `seconds` before the request goes on
    hold       wait until there are other faults before the request goes on
    refuse     cut the connection before the server has seen the request
    lose       let the server do it, and cut the connection in place of its answer
    cut        cut the connection after `bytes` of the body
    shorten    leave out what is behind `bytes` of the body, and say that this was all
    remove     answer, and from then on as if the object was never there
"""

import asyncio
import json
import re

from mitmproxy import http

CONTROL = "/-faults"


def error(method: str, status: int, code: str) -> http.Response:
    """What S3 says when something is wrong; to a HEAD it says no more than the status."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>' if method != "HEAD" else ""
    return http.Response.make(status, body, {"Content-Type": "application/xml"})


class Faults:
    """The faults, and what they met."""

    def __init__(self):
        self.faults, self.requests = [], []

    def control(self, flow: http.HTTPFlow) -> http.Response:
        """Take new faults, or tell what the present ones met."""
        if flow.request.method == "PUT":
            self.faults, self.requests = [fault | {"seen": 0, "hits": 0} for fault in flow.request.json()], []
        told = {"hits": [fault["hits"] for fault in self.faults], "requests": self.requests}
        return http.Response.make(200, json.dumps(told), {"Content-Type": "application/json"})

    def fault(self, flow: http.HTTPFlow) -> dict:
        """The fault that this request meets; empty if none."""
        method, path = flow.request.method, flow.request.path
        self.requests.append([method, path])
        for fault in self.faults:
            if re.fullmatch(fault["method"], method) and re.search(fault["path"], path):
                fault["seen"] += 1
                if fault["seen"] > fault["skip"] and (fault["times"] is None or fault["hits"] < fault["times"]):
                    fault["hits"] += 1
                    return fault
        return {}

    async def request(self, flow: http.HTTPFlow):
        """What happens before the server sees the request."""
        if flow.request.path == CONTROL:
            flow.response = self.control(flow)
            return
        match self.fault(flow):
            case {"do": "answer", "status": status, "code": code}:
                flow.response = error(flow.request.method, status, code)
            case {"do": "delay", "seconds": seconds}:
                await asyncio.sleep(seconds)
            case {"do": "hold"}:
                held_by = self.faults
                while self.faults is held_by:
                    await asyncio.sleep(0.1)
            case {"do": "refuse"}:
                flow.kill()
            case fault:
                flow.metadata["fault"] = fault

    def responseheaders(self, flow: http.HTTPFlow):
        """What happens before the client sees anything of the answer."""
        match flow.metadata.get("fault"):
            case {"do": "cut", "bytes": size}:
                flow.response.stream = at_most(size)
                flow.response.headers["Connection"] = "close"

    def response(self, flow: http.HTTPFlow):
        """What happens when the server has answered."""
        match flow.metadata.get("fault"):
            case {"do": "lose"}:
                flow.kill()
            case {"do": "shorten", "bytes": size}:
                flow.response.content = flow.response.content[:size]


def at_most(size: int):
    """A function that passes on so many bytes of a body that comes in pieces."""
    left = size

    def some(data: bytes) -> bytes:
        nonlocal left
        data, left = data[:left], max(0, left - len(data))
        return data

    return some


addons = [Faults()]
