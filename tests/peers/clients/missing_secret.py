"""A missing secret with the official Python SDK."""

import asyncio

import httpx2
from mcp import Client, MCPError, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from say import bearer, check, peers, said, same

PEERS = peers()
URL_ELICITATION_REQUIRED = -32042


def person(name: str):
    return getattr(PEERS.users, name)


async def set_secret(user, server: str = "fixture") -> None:
    """What the user does on the page, done by the command an administrator has."""
    program, *options = PEERS.cloakroom
    command = [program, "secret", "set", user.name, server, "TOKEN", *options]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    await process.communicate(user.token.encode())
    same(process.returncode, 0, "secret set")


def client(user, url: str, mode: str, **callbacks) -> Client:
    transport = streamable_http_client(url, http_client=httpx2.AsyncClient(headers=bearer(user), timeout=40))
    return Client(transport, mode=mode, **callbacks)


async def asked(name: str, mode: str) -> None:
    """2026-07-28: the client is asked, its user sets the secret, and it asks again by itself."""
    user, pages = person(name), []

    async def elicit(context, params):
        pages.append(params.url)
        # The page takes a while, and the client asks again at once: the call has to wait for it.
        asyncio.get_running_loop().create_task(later(user))
        return types.ElicitResult(action="accept")

    async def later(user) -> None:
        await asyncio.sleep(0.5)
        await set_secret(user)

    async with client(user, PEERS.url, mode, elicitation_callback=elicit) as mcp:
        assert len((await mcp.list_tools()).tools) > 10, "the lists go without the secret"
        same(said(await mcp.call_tool("whoami")), user.fingerprint, "once it is set")
    same(pages, [PEERS.page], "pages")


async def refused(make, user, server: str = "fixture") -> None:
    """2025-11-25: the client is refused with the page, and asks again when it likes."""

    async def elicit(context, params):
        raise AssertionError("the server asked, instead of refusing")

    async with make(elicit) as mcp:
        try:
            await mcp.call_tool("whoami")
        except MCPError as error:
            same(error.error.code, URL_ELICITATION_REQUIRED, "code")
            page = error.error.data["elicitations"][0]
            same((page["mode"], page["url"]), ("url", PEERS.page.replace("fixture", server)), "page")
        else:
            raise AssertionError("answered without the secret")
        await set_secret(user, server)
        same(said(await mcp.call_tool("whoami")), user.fingerprint, "once it is set")


async def unable(user) -> None:
    """A client that can send nobody anywhere: its model is told."""
    async with client(user, PEERS.url, "legacy") as mcp:
        result = await mcp.call_tool("whoami")
        assert result.is_error and PEERS.page in said(result), said(result)
        await set_secret(user)
        same(said(await mcp.call_tool("whoami")), user.fingerprint, "once it is set")


async def main() -> None:
    legacy, stream = person("py-legacy"), person("py-sse")
    at = lambda user: lambda elicit: client(user, PEERS.url, "legacy", elicitation_callback=elicit)
    on_stream = lambda elicit: Client(
        sse_client(PEERS.stream, headers=bearer(stream)), mode="legacy", elicitation_callback=elicit
    )
    await check("auto: asked for the secret, set it, answered", asked("py-auto", "auto"), 40)
    await check("2026-07-28: asked for the secret, set it, answered", asked("py-modern", "2026-07-28"), 40)
    await check("legacy: refused with the page, set it, answered", refused(at(legacy), legacy))
    await check("SSE: refused with the page, set it, answered", refused(on_stream, stream, "stream"))
    await check("no elicitation: the tool's result says where to go", unable(person("py-unable")))


asyncio.run(main())
