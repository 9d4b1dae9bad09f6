"""The steps that Python clients take at the fixture, and what came of each.

`Client` of the official SDK and of fastmcp have the same methods under names of their own; `ask`
takes the official name.
"""

from __future__ import annotations

import asyncio

import mcp_types as types
from mcp.shared.exceptions import MCPError

STEPS = 17


def told(result) -> object:
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


async def walk(client, ask, progress_name: str, seconds: float) -> dict:
    """`seconds` is how long the session's own stream may take to open, where there is one."""
    transcript: dict[str, object] = {"revision": client.protocol_version}

    async def step(name: str, method: str, *args, **more) -> None:
        try:
            transcript[name] = told(await ask(method)(*args, **more))
        except MCPError as refused:
            transcript[name] = {"code": refused.error.code, "message": refused.error.message}

    for method in ("list_tools", "list_resources", "list_resource_templates", "list_prompts"):
        await step(method, method)
    await step("a text", "read_resource", "test://static-text")
    await step("a picture", "read_resource", "test://static-binary")
    await step("no such resource", "read_resource", "test://nowhere")
    await step("a prompt", "get_prompt", "test_prompt_with_arguments", {"arg1": "a", "arg2": "ü"})
    prompt = types.PromptReference(name="test_prompt_with_arguments")
    await step("a completion", "complete", prompt, {"name": "arg1", "value": "par"})
    await step("whoami", "call_tool", "whoami", {})
    await step("a failing tool", "call_tool", "test_error_handling", {})
    await step("no such tool", "call_tool", "nonesuch", {})

    heard: list[tuple] = []

    async def hear(*report) -> None:
        heard.append(report)

    await step("count", "call_tool", "count", {"steps": 3, "pause_ms": 200}, **{progress_name: hear})
    assert len(heard) == 3, f"progress: {heard}"
    await step("elicitation", "call_tool", "test_elicitation", {"message": "who"})
    await step("sampling", "call_tool", "test_sampling", {"prompt": "stressed"})
    await asyncio.sleep(seconds)
    await step("roots", "call_tool", "ask_for_roots", {})
    return transcript


def content(transcript: dict, step: str) -> str:
    return transcript[step]["content"][0]["text"]


def pinned(transcript: dict, revision: str, fingerprint: str) -> None:
    """What must be in it, so that two equal failures are not taken for a success."""
    assert transcript["revision"] == revision, transcript["revision"]
    assert len(transcript["list_tools"]["tools"]) > 30, transcript["list_tools"]
    assert len(transcript["list_prompts"]["prompts"]) == 5, transcript["list_prompts"]
    assert transcript["a text"]["contents"][0]["text"].startswith("This is"), transcript["a text"]
    assert transcript["no such resource"]["code"] == types.INVALID_PARAMS, transcript["no such resource"]
    assert content(transcript, "whoami") == fingerprint, content(transcript, "whoami")
    assert transcript["a failing tool"]["isError"], transcript["a failing tool"]
    assert content(transcript, "count") == "counted to 3", transcript["count"]
    assert "action=accept" in content(transcript, "elicitation"), transcript["elicitation"]
    assert content(transcript, "sampling") == "LLM response: desserts", transcript["sampling"]
    assert content(transcript, "roots") == "roots: file:///home/alice", transcript["roots"]


async def official_elicit(context, params) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"username": params.message, "email": "a@example.com"})


async def official_sample(context, params) -> types.CreateMessageResult:
    spoken = types.TextContent(type="text", text=params.messages[0].content.text[::-1])
    return types.CreateMessageResult(role="assistant", content=spoken, model="test")


async def official_roots(context) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///home/alice")])


OFFICIAL = {
    "elicitation_callback": official_elicit,
    "sampling_callback": official_sample,
    "list_roots_callback": official_roots,
}
