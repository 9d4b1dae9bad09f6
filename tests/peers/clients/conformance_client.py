"""As conformance_client.mjs, with the official Python SDK."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

SCENARIO = os.environ["MCP_CONFORMANCE_SCENARIO"]
REVISION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
CONTEXT = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))


async def told(what):
    try:
        result = await what
    except Exception as error:  # What a client makes of an answer is part of what it was told.
        print(json.dumps({"failed": type(error).__name__, "message": str(error)}))
        return None
    print(json.dumps(result.model_dump(by_alias=True, mode="json"), sort_keys=True))
    return result


async def tools(client) -> list:
    return (await told(client.list_tools())).tools


async def call(client, name: str, arguments: dict | None = None):
    return await told(client.call_tool(name, arguments or {}))


async def run(client) -> None:
    listed = await tools(client)
    match SCENARIO:
        case "tools_call":
            await call(client, "add_numbers", {"a": 5, "b": 3})
        case "elicitation-sep1034-client-defaults":
            await call(client, "test_client_elicitation_defaults")
        case "sse-retry":
            await call(client, "test_reconnection")
        case "sep-2322-client-request-state":
            for name in ("echo_state", "unrelated", "no_state", "no_result_type"):
                await call(client, f"test_mrtr_{name}")
        case "http-standard-headers":
            for tool in listed:
                await call(client, tool.name)
            for resource in (await told(client.list_resources())).resources:
                await told(client.read_resource(str(resource.uri)))
            for prompt in (await told(client.list_prompts())).prompts:
                await told(client.get_prompt(prompt.name))
        case "http-custom-headers":
            for one in CONTEXT["toolCalls"]:
                await call(client, one["name"], one["arguments"])
        case "http-invalid-tool-headers":
            for tool in listed:
                await call(client, tool.name, {"region": "eu"})
        case "json-schema-2020-12-preservation":
            schema = next(tool.input_schema for tool in listed if tool.name == "json_schema_2020_12_tool")
            await call(client, "json_schema_echo", {"schema": schema})


async def elicit(context, params):
    fields = params.requested_schema.get("properties", {})
    content = {name: field.get("default", True) for name, field in fields.items()}
    return types.ElicitResult(action="accept", content=content)


async def roots(context):
    return types.ListRootsResult(roots=[])


async def sample(context, params):
    raise NotImplementedError


async def main() -> None:
    # One scenario refuses the first version it is offered: there the client is to find out by itself.
    mode = "legacy" if REVISION < "2026" else "auto" if SCENARIO == "request-metadata" else REVISION
    key = os.environ.get("PEER_BEARER")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    handlers = {"elicitation_callback": elicit, "list_roots_callback": roots, "sampling_callback": sample}
    async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
        transport = streamable_http_client(sys.argv[-1], http_client=http)
        async with Client(transport, mode=mode, **handlers) as client:
            await run(client)


asyncio.run(main())
