// The official TypeScript SDK of the session era as a client.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { check, checkArrivals, keyed, pause, peers, said, same } from './say.mjs';

const { resolve } = createRequire(`${process.env.PEER_MODULES}/`);
const load = (path) => import(pathToFileURL(resolve(`@modelcontextprotocol/sdk/${path}`)));
const { Client } = await load('client/index.js');
const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
const types = await load('types.js');

async function connect(key, setUp = () => {}, capabilities = {}) {
  const transport = new StreamableHTTPClientTransport(new URL(peers.url), keyed(key));
  const client = new Client({ name: 'peer', version: '1' }, { capabilities });
  setUp(client);
  await client.connect(transport);
  return { client, transport };
}

await check('connects, lists, calls with the own secret', async () => {
  for (const user of [peers.alice, peers.bob]) {
    const { client } = await connect(user.key);
    const { tools } = await client.listTools();
    if (!tools.some((tool) => tool.name === 'whoami')) throw new Error('whoami is not listed');
    same(said(await client.callTool({ name: 'whoami' })), user.fingerprint, user.name);
    await client.close();
  }
});

await check('progress arrives as it is made', async () => {
  const { client } = await connect(peers.alice.key);
  const arrived = [];
  const started = Date.now();
  const call = { name: 'count', arguments: { steps: 5, pause_ms: 500 } };
  await client.callTool(call, undefined, { onprogress: () => arrived.push(Date.now()) });
  checkArrivals(started, arrived, Date.now());
  await client.close();
});

await check("the server's questions are answered", async () => {
  const answer = (client) => {
    client.setRequestHandler(types.ElicitRequestSchema, async (request) => ({
      action: 'accept',
      content: { username: request.params.message, email: 'a@example.com' },
    }));
    client.setRequestHandler(types.CreateMessageRequestSchema, async () => ({
      role: 'assistant',
      content: { type: 'text', text: 'said' },
      model: 'test',
    }));
    client.setRequestHandler(types.ListRootsRequestSchema, async () => ({ roots: [{ uri: 'file:///home/alice' }] }));
  };
  const { client } = await connect(peers.alice.key, answer, { elicitation: {}, sampling: {}, roots: {} });
  const elicited = said(await client.callTool({ name: 'test_elicitation', arguments: { message: 'who' } }));
  if (!elicited.includes('"username": "who"')) throw new Error(elicited);
  same(said(await client.callTool({ name: 'test_sampling', arguments: { prompt: 'x' } })), 'LLM response: said');
  await pause(2000);
  same(said(await client.callTool({ name: 'ask_for_roots' })), 'roots: file:///home/alice');
  await client.close();
});

await check('a notification on the GET stream arrives', async () => {
  let heard;
  const arrived = new Promise((done) => (heard = done));
  const { client } = await connect(peers.alice.key, (one) =>
    one.setNotificationHandler(types.ResourceUpdatedNotificationSchema, heard),
  );
  await pause(2000);
  await client.callTool({ name: 'announce' });
  same((await arrived).params.uri, 'test://watched-resource');
  await client.close();
});

await check('an answer cut off is resumed', async () => {
  const { client } = await connect(peers.alice.key);
  const text = said(await client.callTool({ name: 'test_reconnection', arguments: { label: 'resumed' } }));
  if (!text.includes('label=resumed')) throw new Error(text);
  await client.close();
});

await check('DELETE ends the session', async () => {
  const { client, transport } = await connect(peers.alice.key);
  const ended = transport.sessionId;
  if (!ended) throw new Error('no session id');
  await transport.terminateSession();
  const headers = {
    Authorization: `Bearer ${peers.alice.key}`,
    Accept: 'application/json, text/event-stream',
    'Content-Type': 'application/json',
    'Mcp-Session-Id': ended,
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  same((await fetch(peers.url, { method: 'POST', headers, body })).status, 404, 'after the end');
  await client.close();
});

for (const [what, key] of [['a key of nobody', peers.wrong_key], ['what is no key', 'not-a-key']]) {
  await check(`${what} is refused with 401`, async () => {
    let error;
    await connect(key).catch((caught) => (error = caught));
    if (!error) throw new Error('the client was let in');
    if (error.code !== 401 && !/401|Unauthorized/.test(String(error))) throw error;
  });
}
process.exit(0);
